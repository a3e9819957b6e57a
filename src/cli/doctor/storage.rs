//! Is there a place to keep things?

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
    // The gateway makes the folder itself, so its nearest parent has to do.
    let existing = directory.ancestors().find(|folder| folder.is_dir());
    let tried = tempfile::tempfile_in(existing.unwrap_or(directory));
    Some(match tried {
        Ok(_) => Finding::fine(JOURNALS, format!("{shown} can be written")),
        Err(error) => {
            let remedy = "let the gateway's user write there, or name another journal.directory";
            Finding::failed(JOURNALS, format!("{shown} cannot be written: {error}"), remedy)
        }
    })
}

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
}
