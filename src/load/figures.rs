//! Histograms that calls are counted in, and what comes out of them.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::wire::{Counts, Run, Spread};

/// What was measured in a run so far.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) counts: Counts,
    pub(super) connected: Times,
    pub(super) first_audio: Times,
    pub(super) uplink: Times,
    pub(super) late: Times,
    pub(super) downlink: Times,
    pub(super) barge_in: Times,
    pub(super) truncation: Times,
    pub(super) gap: Times,
    pub(super) worst_gap: Times,
    pub(super) drift: Times,
    /// Of each call, in percent.
    pub(super) coverage: Vec<f64>,
    pub(super) failures: Vec<String>,
}

impl Figures {
    /// A call has failed, for this reason.
    pub(super) fn fail(&mut self, reason: String) {
        self.counts.failed += 1;
        if self.failures.len() < FAILURES_MAX && !self.failures.contains(&reason) {
            self.failures.push(reason);
        }
    }

    /// All that is known, but for what processes cost.
    pub(super) fn into_run(mut self, calls: u32, seconds: f64) -> Run {
        Run {
            calls,
            seconds,
            counts: self.counts,
            connected_ms: self.connected.spread(),
            first_audio_ms: self.first_audio.spread(),
            uplink_ms: self.uplink.spread(),
            caller_late_ms: self.late.spread(),
            downlink_ms: self.downlink.spread(),
            barge_in_ms: self.barge_in.spread(),
            truncation_error_ms: self.truncation.spread(),
            gap_ms: self.gap.spread(),
            worst_gap_ms: self.worst_gap.spread(),
            coverage_percent: spread(&mut self.coverage),
            drift_ms: self.drift.spread(),
            gateway: None,
            generator: None,
            bare_ms_per_call_second: None,
            failures: self.failures,
        }
    }
}

/// Durations by their number, to a thousandth of each.
#[derive(Debug)]
pub(super) struct Times(Option<Histogram<u64>>);

impl Times {
    pub(super) fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(times) = &mut self.0 {
            times.saturating_record(us.max(1));
        }
    }

    pub(super) fn spread(&self) -> Spread {
        let Some(times) = self.0.as_ref().filter(|times| !times.is_empty()) else {
            return Spread::default();
        };
        let at = |quantile| ms(times.value_at_quantile(quantile));
        Spread {
            count: times.len(),
            min: ms(times.min()),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(times.max()),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        // The bounds are sound, so there is always one.
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).ok())
    }
}

/// The spread of a few values, exactly. Where much is good, the bad ones are the first.
fn spread(values: &mut [f64]) -> Spread {
    values.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (values.first(), values.last()) else {
        return Spread::default();
    };
    let at = |permille: usize| {
        let place = (values.len() * permille).div_ceil(1_000).max(1) - 1;
        values[place]
    };
    Spread {
        count: values.len() as u64,
        min: *min,
        p50: at(500),
        p95: at(950),
        p99: at(990),
        p999: at(999),
        max: *max,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a minute in microseconds fits")]
fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// What takes longer is counted as this long: a minute.
const LONGEST_US: u64 = 60_000_000;
/// So many reasons are enough to see what is wrong.
const FAILURES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_durations() {
        let mut times = Times::default();
        for ms in 1..=1_000 {
            times.add(Duration::from_millis(ms));
        }
        let spread = times.spread();
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 500.0;
        assert_eq!(spread.count, 1_000);
        assert!(near(spread.min, 1.0) && near(spread.p50, 500.0), "{spread:?}");
        assert!(near(spread.p99, 990.0) && near(spread.p999, 999.0), "{spread:?}");
        assert!(near(spread.max, 1_000.0), "{spread:?}");
        assert_eq!(Times::default().spread(), Spread::default());
    }

    #[test]
    fn few_values_are_spread_exactly() {
        let got = spread(&mut [99.0, 100.0, 98.0, 97.0]);
        assert_eq!((got.count, got.min, got.p50, got.max), (4, 97.0, 98.0, 100.0));
        assert_eq!(spread(&mut []), Spread::default());
    }

    #[test]
    fn the_same_failure_is_told_once_and_counted_each_time() {
        let mut figures = Figures::default();
        figures.fail("late".to_owned());
        figures.fail("late".to_owned());
        let run = figures.into_run(2, 1.0);
        assert_eq!((run.counts.failed, run.failures.len()), (2, 1));
    }
}
