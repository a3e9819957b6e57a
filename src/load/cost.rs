//! What the gateway and the generator cost over a run.

use super::process::{Process, Usage};
use super::tally::Window;
use super::wire::Cost;

/// Looks taken at the processes of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    gateway: Option<Account>,
    generator: Account,
}

/// One process.
#[derive(Debug)]
struct Account {
    process: Process,
    looks: Vec<Look>,
}

/// What it had used, and how many calls had come and gone.
#[derive(Clone, Copy, Debug)]
struct Look {
    usage: Usage,
    calls: u32,
}

impl Ledger {
    pub(super) fn new(gateway: Option<u32>) -> Self {
        let gateway = gateway.map(|id| Account::new(Process::new(id)));
        Self { gateway, generator: Account::new(Process::own()) }
    }

    /// Looks, after so many calls.
    pub(super) fn look(&mut self, calls: u32) {
        for account in self.gateway.iter_mut().chain([&mut self.generator]) {
            account.look(calls);
        }
    }

    /// What so many calls at once have cost within the window: gateway and generator.
    pub(super) fn costs(
        &self,
        window: Window,
        calls: u32,
        is_series: bool,
    ) -> (Option<Cost>, Option<Cost>) {
        let gateway = self.gateway.as_ref().and_then(|it| it.cost(window, calls, is_series));
        (gateway, self.generator.cost(window, calls, is_series))
    }
}

impl Account {
    fn new(process: Process) -> Self {
        let mut new = Self { process, looks: Vec::new() };
        new.look(0);
        new
    }

    fn look(&mut self, calls: u32) {
        match self.process.look() {
            Ok(usage) => self.looks.push(Look { usage, calls }),
            Err(error) => tracing::debug!(%error, "no look at a process"),
        }
    }

    fn cost(&self, window: Window, calls: u32, is_series: bool) -> Option<Cost> {
        let (idle, after) = (self.looks.first()?.usage, self.looks.last()?.usage);
        let inside = |look: &&Look| window.from <= look.usage.at && look.usage.at <= window.to;
        let first = self.looks.iter().find(inside)?.usage;
        let last = self.looks.iter().rfind(inside)?.usage;
        let seconds = (last.at - first.at).as_secs_f64();
        if seconds <= 0.0 || calls == 0 {
            return None;
        }
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64() / seconds;
        let (idle_mib, busy_mib) = (mib(idle.rss_bytes), mib(last.rss_bytes));
        Some(Cost {
            cpu_ms_per_call_second: cpu * 1_000.0 / f64::from(calls),
            cpu_percent: cpu * 100.0,
            idle_mib,
            busy_mib,
            peak_mib: mib(after.peak_bytes),
            kib_per_call: (busy_mib - idle_mib) * 1_024.0 / f64::from(calls),
            slope_kib_per_call: is_series.then(|| slope(&self.looks)).flatten(),
            threads: last.threads,
            files: [idle.files, last.files, after.files],
        })
    }
}

/// How memory grows by the number of calls: the line of least squares through all looks but those
/// of the first fifth, in which a process takes what it keeps.
fn slope(looks: &[Look]) -> Option<f64> {
    let all = looks.last()?.calls;
    let late = looks.iter().filter(|look| look.calls > all / 5);
    let points: Vec<(f64, f64)> =
        late.map(|look| (f64::from(look.calls), mib(look.usage.rss_bytes) * 1_024.0)).collect();
    let count = f64::from(u32::try_from(points.len()).ok()?);
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (calls, kib) = (mean(|point| point.0), mean(|point| point.1));
    let over: f64 = points.iter().map(|point| (point.0 - calls) * (point.1 - kib)).sum();
    let under: f64 = points.iter().map(|point| (point.0 - calls).powi(2)).sum();
    (under > 0.0).then(|| over / under)
}

#[expect(clippy::cast_precision_loss, reason = "no process has that much memory")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn cpu_is_shared_among_calls_and_memory_is_counted_from_idle() {
        let start = clock::now();
        let look = |seconds: u64, cpu_ms: u64, mib: u64| Look {
            usage: Usage {
                at: start + Duration::from_secs(seconds),
                cpu: Duration::from_millis(cpu_ms),
                rss_bytes: mib << 20,
                peak_bytes: mib << 20,
                threads: 3,
                files: 10 + seconds,
            },
            calls: 0,
        };
        let looks =
            vec![look(0, 0, 20), look(5, 500, 40), look(15, 1_500, 40), look(20, 9_000, 30)];
        let account = Account { process: Process::own(), looks };
        let (from, to) = (start + Duration::from_secs(5), start + Duration::from_secs(15));
        let cost = account.cost(Window { from, to }, 10, false).unwrap();
        assert!((cost.cpu_ms_per_call_second - 10.0).abs() < 1e-9, "{cost:?}");
        assert!((cost.kib_per_call - 2_048.0).abs() < 1e-9, "{cost:?}");
        assert_eq!((cost.files, cost.slope_kib_per_call), ([10, 25, 30], None));
        assert_eq!(account.cost(Window { from, to }, 0, false), None);
    }

    #[test]
    fn the_slope_is_that_of_the_late_calls() {
        let start = clock::now();
        let look = |calls: u32, kib: u64| Look {
            usage: Usage {
                at: start,
                cpu: Duration::ZERO,
                rss_bytes: kib << 10,
                peak_bytes: 0,
                threads: 1,
                files: 1,
            },
            calls,
        };
        let looks = [look(0, 0), look(10, 50_000), look(50, 50_100), look(100, 50_200)];
        let slope = slope(&looks).unwrap();
        assert!((slope - 2.0).abs() < 1e-6, "{slope}");
    }
}
