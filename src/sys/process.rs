//! What the process takes of its machine, as the kernel counts it.

use std::io;

/// What the process takes, at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Memory that is there, in bytes.
    pub resident_bytes: u64,
    /// Processor time since the start, in seconds.
    pub cpu_seconds: f64,
    /// File descriptors that are open.
    pub open_files: u64,
    /// File descriptors that may be open.
    pub open_files_max: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Reads what the kernel shows of this process; it may take a millisecond where many files
    /// are open. Not every system shows it.
    pub fn read() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let limits = std::fs::read_to_string("/proc/self/limits")?;
        // Reading the folder takes a descriptor of its own.
        let open_files = std::fs::read_dir("/proc/self/fd")?.count().saturating_sub(1);
        Ok(Self {
            resident_bytes: 1024 * number_after(&status, "VmRSS:")?,
            cpu_seconds: cpu_seconds(&stat).ok_or_else(unreadable)?,
            open_files: open_files as u64,
            open_files_max: number_after(&limits, "Max open files")?,
            threads: number_after(&status, "Threads:")?,
        })
    }
}

/// User and system time, which are the 14th and the 15th field of `/proc/self/stat`. The second one
/// is the program's name, which may hold anything, in brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// The number that stands behind `name`, at the beginning of a line.
fn number_after(text: &str, name: &str) -> io::Result<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next());
    match number {
        Some("unlimited") => Ok(u64::MAX),
        number => number.and_then(|number| number.parse().ok()).ok_or_else(unreadable),
    }
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel shows it in an unknown form")
}

/// In which Linux tells time to programs, whatever it counts in (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_files_and_takes_time() {
        let usage = Usage::read().expect("Linux shows it");
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
        assert!(usage.open_files > 2 && usage.open_files <= usage.open_files_max, "{usage:?}");
        assert!(usage.cpu_seconds >= 0.0 && usage.threads > 0, "{usage:?}");
    }

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }
}
