//! Is there a place to keep things?

use std::io;
use std::path::Path;
use std::time::Duration;

use super::finding::Finding;
use crate::config::Config;
use crate::store::{Condition, InspectError, Store};

/// Whether the database can be used, without bringing its tables up to date.
pub(super) async fn database(config: &Config) -> Finding {
    let rows = config.describe();
    let shown = rows.iter().find(|(key, _)| key == "database");
    let shown = shown.map_or("", |(_, value)| value.as_str());
    let looking = async { judge_database(shown, Store::inspect(&config.database, DEADLINE).await) };
    Finding::within(DATABASE, DEADLINE + DEADLINE, looking).await
}

fn judge_database(shown: &str, outcome: Result<Condition, InspectError>) -> Finding {
    match outcome {
        Ok(Condition::Passing) => {
            let seen = format!("{shown} forgets everything when the gateway ends");
            Finding::warning(DATABASE, seen, "set database to sqlite:PATH")
        }
        Ok(Condition::Absent) => {
            Finding::fine(DATABASE, format!("{shown} is not there, and can be made"))
        }
        Ok(Condition::Present { pending: 0 }) => {
            Finding::fine(DATABASE, format!("{shown} can be written and is up to date"))
        }
        Ok(Condition::Present { pending }) => {
            let seen = format!("{shown}: the next start makes {pending} migrations of its tables");
            Finding::warning(DATABASE, seen, "make a copy first: there is no way back")
        }
        Err(error) => Finding::failed(DATABASE, error.to_string(), remedy(&error)),
    }
}

const fn remedy(error: &InspectError) -> &'static str {
    match error {
        InspectError::NoFolder { .. } => "make the folder, and give it to the gateway's user",
        InspectError::Unusable { .. } => {
            "let the gateway's user read and write it, or name another in database"
        }
        InspectError::Later { .. } => "run that version, or go back to a copy from before it",
        InspectError::UnknownKind => "set database to sqlite:PATH or postgres://…",
    }
}

/// Whether journals can be written, if they are wanted.
pub(super) fn journals(config: &Config) -> Option<Finding> {
    let directory = &config.journal.as_ref()?.directory;
    let shown = directory.display();
    Some(match tempfile::tempfile_in(nearest(directory)) {
        Ok(_) => Finding::fine(JOURNALS, format!("{shown} can be written")),
        Err(error) => {
            let remedy = "let the gateway's user write there, or name another journal.directory";
            Finding::failed(JOURNALS, format!("{shown} cannot be written: {error}"), remedy)
        }
    })
}

/// Whether recordings can be written, if they are wanted, and whether an hour of them fits.
pub(super) fn recordings(config: &Config) -> Option<Finding> {
    let directory = &config.recordings.as_ref()?.directory;
    let existing = nearest(directory);
    let room = tempfile::tempfile_in(existing).and_then(|_file| {
        let disk = rustix::fs::statvfs(existing)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    });
    let calls = config.admission.calls_max.max(1);
    Some(judge_recordings(&directory.display().to_string(), room, calls.into()))
}

/// `room` is how many bytes the gateway's user may still write there.
fn judge_recordings(shown: &str, room: io::Result<u64>, calls: u64) -> Finding {
    let room = match room {
        Ok(room) => room,
        Err(error) => {
            let remedy = "let the gateway's user write there, or name another recordings.directory";
            return Finding::failed(
                RECORDINGS,
                format!("{shown} cannot be written: {error}"),
                remedy,
            );
        }
    };
    let needed = calls.saturating_mul(HOUR_OF_WAV);
    let free = format!("{shown} can be written, and has {} MB free", room / MEGABYTE);
    let remedy = "give it a larger disk, or keep recordings for fewer days \
                  (recordings.retention_days)";
    if room < HOUR_OF_OGG {
        let seen = format!("{free}: not even one call of an hour fits");
        return Finding::failed(RECORDINGS, seen, remedy);
    }
    if room < needed {
        let whose = if calls == 1 { "one call".to_owned() } else { format!("{calls} calls") };
        let seen = format!("{free}: an hour of {whose} as WAV takes {} MB", needed / MEGABYTE);
        return Finding::warning(RECORDINGS, seen, remedy);
    }
    Finding::fine(RECORDINGS, free)
}

/// The folder itself or, for the gateway makes it, the nearest one above that is there.
fn nearest(directory: &Path) -> &Path {
    directory.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}

const RECORDINGS: &str = "recordings";
const MEGABYTE: u64 = 1_000_000;

/// What an hour of a call takes at most, in either format, in bytes.
const HOUR_OF_WAV: u64 = 346 * MEGABYTE;
const HOUR_OF_OGG: u64 = 29 * MEGABYTE;

const DATABASE: &str = "database";
const JOURNALS: &str = "journals";

/// How long a database may take to answer, and another's write lock to be free.
const DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn migrations_that_wait_are_told_with_their_danger() {
        let finding = judge_database("sqlite:x.db", Ok(Condition::Present { pending: 2 }));
        assert!(finding.seen.contains("2 migrations"), "{finding:?}");
        assert!(matches!(finding.state, State::Warning { .. }), "{finding:?}");
        let current = judge_database("sqlite:x.db", Ok(Condition::Present { pending: 0 }));
        assert_eq!(current.state, State::Fine);
    }

    #[test]
    fn a_folder_that_is_missing_is_to_be_made() {
        let finding = judge_database("x", Err(InspectError::NoFolder { path: "/no/x.db".into() }));
        assert!(finding.is_failed() && finding.line().contains("make the folder"), "{finding:?}");
    }

    #[test]
    fn recordings_want_a_folder_and_room_for_an_hour_of_all_calls() {
        let of = |room, calls| judge_recordings("/r", Ok(room), calls);
        assert_eq!(of(HOUR_OF_WAV, 1).state, State::Fine);
        let tight = of(HOUR_OF_WAV, 10);
        assert!(matches!(tight.state, State::Warning { .. }), "{tight:?}");
        assert!(tight.line().contains("an hour of 10 calls as WAV takes 3460 MB"), "{tight:?}");
        assert!(of(HOUR_OF_OGG - 1, 1).is_failed());
        let refused = judge_recordings("/r", Err(io::ErrorKind::PermissionDenied.into()), 1);
        assert!(refused.is_failed() && refused.line().contains("recordings.directory"));
    }

    #[test]
    fn a_folder_that_the_gateway_will_make_is_judged_by_the_one_above() {
        assert_eq!(nearest(Path::new("/proc/no/such")), Path::new("/proc"));
        assert_eq!(nearest(Path::new("no-such-folder")), Path::new("."));
    }
}
