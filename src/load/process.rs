//! What a process costs, as the system counts it: Linux, from `/proc`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::sys::clock;

/// The system tells nothing of the process.
#[derive(Debug, Error)]
#[error("the process {0} cannot be looked at")]
pub(super) struct Unseen(u32);

/// A process that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(u32);

/// What a process had used at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) at: Instant,
    /// Of all threads, in user space and in the kernel.
    pub(super) cpu: Duration,
    /// Resident memory.
    pub(super) rss_bytes: u64,
    /// The most resident memory ever.
    pub(super) peak_bytes: u64,
    pub(super) threads: u64,
    /// Open files and sockets.
    pub(super) files: u64,
}

impl Process {
    pub(super) const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The process that we are.
    pub(super) fn own() -> Self {
        Self(std::process::id())
    }

    /// Looks at it.
    pub(super) fn look(self) -> Result<Usage, Unseen> {
        self.try_look().ok_or(Unseen(self.0))
    }

    fn try_look(self) -> Option<Usage> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        Some(Usage {
            at: clock::now(),
            cpu: cpu_of(&fs::read_to_string(self.path("stat")).ok()?)?,
            rss_bytes: 1_024 * field(&status, "VmRSS:")?,
            peak_bytes: 1_024 * field(&status, "VmHWM:")?,
            threads: field(&status, "Threads:")?,
            files: fs::read_dir(self.path("fd")).ok()?.count() as u64,
        })
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// Fields 14 and 15 of `stat`, counted after the name, which may hold anything (proc(5)).
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * TICK_MS))
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The kernel's USER_HZ is 100 on every platform that it runs on today.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_used_is_found_whatever_the_process_is_called() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 9 1 2";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of("nonsense"), None);
    }

    #[test]
    fn a_process_sees_itself() {
        let usage = Process::own().look().unwrap();
        assert!(usage.rss_bytes > 1 << 20 && usage.peak_bytes >= usage.rss_bytes);
        assert!(usage.threads >= 1 && usage.files >= 3);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Process::new(u32::MAX).look().unwrap_err();
        assert!(error.to_string().contains("4294967295"));
    }
}
