//! What the machine gives: the time of day, files, buffers, processors.

use std::io;
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::Client;
use reqwest::header::DATE;
use rlimit::Resource;
use socket2::{Domain, Protocol, Socket, Type};

use super::finding::Finding;
use crate::config::ModelsConfig;
use crate::rooms::MEDIA_BUFFER_BYTES;
use crate::sys::{clock, tls};

/// Whether the time of day is right, as far as that can be seen from here.
pub(super) async fn clock(models: &ModelsConfig) -> Finding {
    let (began, began_unix_ms) = (clock::now(), clock::unix_ms());
    tokio::time::sleep(PACE).await;
    let monotonic_ms = clock::now().duration_since(began).as_millis();
    let unix_ms = clock::unix_ms();
    let drift_ms = (i128::from(unix_ms) - i128::from(began_unix_ms))
        - i128::try_from(monotonic_ms).unwrap_or(i128::MAX);
    let mut offset = None;
    for profile in &models.profiles {
        if let Some(theirs_ms) = date_of(&profile.url).await {
            offset = Some((profile.name.as_str(), clock::unix_ms().cast_signed() - theirs_ms));
            break;
        }
    }
    judge_clock(unix_ms, drift_ms, offset)
}

/// `drift_ms` is by how much the time of day went faster than the monotonic clock within
/// [`PACE`]; `offset`, by how many ms we are ahead of whom.
fn judge_clock(unix_ms: u64, drift_ms: i128, offset: Option<(&str, i64)>) -> Finding {
    let remedy = "have the time kept by NTP (`timedatectl set-ntp true`)";
    if unix_ms < PAST_UNIX_MS {
        return Finding::failed(CLOCK, "the time of day is years behind", remedy);
    }
    if drift_ms.unsigned_abs() > DRIFT_MAX_MS {
        let seen = format!("the time of day was moved by {drift_ms} ms while this was checked");
        return Finding::warning(CLOCK, seen, remedy);
    }
    match offset {
        None => Finding::fine(CLOCK, "goes evenly; no server was there to compare it with"),
        Some((server, ahead)) if ahead.abs() > OFFSET_MAX_MS => {
            let seen = format!("is {} s off from that of {server}", ahead / 1000);
            Finding::warning(CLOCK, seen, remedy)
        }
        Some((server, _)) => Finding::fine(CLOCK, format!("is that of {server}, and goes evenly")),
    }
}

/// The time of day at a model's server, in ms since the Unix epoch, if it tells. Whatever it
/// answers, HTTP has it say when (RFC 9110, section 6.6.1).
async fn date_of(url: &str) -> Option<i64> {
    tls::choose_cryptography();
    let url = format!("http{}", url.split('?').next()?.strip_prefix("ws")?);
    let http = Client::builder().timeout(DATE_LIMIT).no_proxy().build().ok()?;
    let answer = http.get(url).send().await.ok()?;
    date_in(answer.headers().get(DATE)?.to_str().ok()?)
}

fn date_in(text: &str) -> Option<i64> {
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.as_millisecond())
}

/// Whether enough files and sockets may be open.
pub(super) fn open_files() -> Finding {
    judge_open_files(rlimit::getrlimit(Resource::NOFILE))
}

fn judge_open_files(limits: io::Result<(u64, u64)>) -> Finding {
    let remedy = "set LimitNOFILE= in its systemd unit, or ulimits.nofile in a compose file";
    match limits {
        Ok((_, hard)) if hard < OPEN_FILES_MIN => {
            let seen = format!("{hard} may be open, and an agent at work takes three");
            Finding::warning(OPEN_FILES, seen, remedy)
        }
        Ok((_, hard)) => Finding::fine(OPEN_FILES, format!("{hard} may be open")),
        Err(error) => {
            Finding::warning(OPEN_FILES, format!("the system does not say: {error}"), remedy)
        }
    }
}

/// Whether the kernel keeps as much of what comes in as a busy gateway needs.
pub(super) fn receive_buffer() -> Finding {
    judge_receive_buffer(granted())
}

fn granted() -> io::Result<usize> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(MEDIA_BUFFER_BYTES)?;
    // Linux tells twice what it gives to use (socket(7)).
    Ok(socket.recv_buffer_size()? / 2)
}

fn judge_receive_buffer(granted: io::Result<usize>) -> Finding {
    let remedy = format!(
        "only many calls at once need it: sysctl -w net.core.rmem_max={MEDIA_BUFFER_BYTES} \
         net.core.wmem_max={MEDIA_BUFFER_BYTES}"
    );
    match granted {
        Ok(bytes) if bytes < MEDIA_BUFFER_BYTES => {
            let (has, wants) = (bytes / 1024, MEDIA_BUFFER_BYTES / 1024);
            let seen = format!("the kernel gives {has} KiB of the {wants} KiB that are asked for");
            Finding::warning(BUFFER, seen, remedy)
        }
        Ok(bytes) => Finding::fine(BUFFER, format!("the kernel gives {} KiB", bytes / 1024)),
        Err(error) => Finding::warning(BUFFER, format!("the kernel does not say: {error}"), remedy),
    }
}

/// How many processors there are.
pub(super) fn processors() -> Finding {
    judge_processors(std::thread::available_parallelism().map_or(1, usize::from))
}

fn judge_processors(count: usize) -> Finding {
    if count < 2 {
        let remedy = "give it two: with one, whatever else runs delays sound";
        return Finding::warning(PROCESSORS, "there is one", remedy);
    }
    let seen = format!("{count}; `callbridge load` measures how many calls they take");
    Finding::fine(PROCESSORS, seen)
}

const CLOCK: &str = "clock";
const OPEN_FILES: &str = "open files";
const BUFFER: &str = "receive buffer";
const PROCESSORS: &str = "processors";

/// For how long the two clocks are compared.
const PACE: Duration = Duration::from_millis(200);

/// What two readings of two clocks may differ by on a busy machine.
const DRIFT_MAX_MS: u128 = 500;

/// `Date` has whole seconds, and its way takes time.
const OFFSET_MAX_MS: i64 = 10_000;

/// How long a server may take to tell the time.
const DATE_LIMIT: Duration = Duration::from_secs(5);

/// The beginning of 2026. No clock that is right is behind it.
const PAST_UNIX_MS: u64 = 1_767_225_600_000;

/// A thousand agents at work, and some more.
const OPEN_FILES_MIN: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const MORNING: u64 = PAST_UNIX_MS + 1;

    #[test]
    fn a_clock_is_judged_by_the_year_its_pace_and_that_of_a_server() {
        assert_eq!(judge_clock(MORNING, 1, None).state, State::Fine);
        assert_eq!(judge_clock(MORNING, 1, Some(("openai", -900))).state, State::Fine);
        assert!(judge_clock(0, 0, None).is_failed());
        let moved = judge_clock(MORNING, -3_600_000, None);
        assert!(moved.line().contains("moved by -3600000 ms"), "{moved:?}");
        let late = judge_clock(MORNING, 0, Some(("openai", -60_000)));
        assert!(late.line().contains("-60 s off from that of openai"), "{late:?}");
    }

    #[test]
    fn the_date_of_a_server_is_understood() {
        assert_eq!(date_in("Thu, 01 Jan 2026 00:00:00 GMT"), Some(1_767_225_600_000));
        assert_eq!(date_in("yesterday"), None);
    }

    #[test]
    fn few_files_small_buffers_and_one_processor_are_warned_of() {
        let state = |finding: Finding| matches!(finding.state, State::Warning { .. });
        assert!(state(judge_open_files(Ok((1024, 1024)))));
        assert!(!state(judge_open_files(Ok((1024, 1 << 20)))));
        assert!(state(judge_receive_buffer(Ok(212_992))));
        assert!(!state(judge_receive_buffer(Ok(MEDIA_BUFFER_BYTES))));
        assert!(state(judge_processors(1)) && !state(judge_processors(2)));
    }
}
