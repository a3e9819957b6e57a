//! How often, and for how long, a server is asked for another socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Attempts at one socket, with longer and longer waits between them and an end.
#[derive(Debug)]
pub(super) struct Retry {
    failures: usize,
    attempts_max: usize,
    until: Instant,
}

impl Retry {
    /// No attempt has failed yet; none begins after `until`.
    pub(super) const fn new(until: Instant) -> Self {
        Self { failures: 0, attempts_max: usize::MAX, until }
    }

    /// The attempts at a first socket. Nothing is lost yet if there is none, and whoever has asked
    /// for the call should hear soon that it cannot be.
    pub(super) const fn first(until: Instant) -> Self {
        Self { failures: 0, attempts_max: FIRST_ATTEMPTS_MAX, until }
    }

    /// When the last attempt must have come to something.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// An attempt has failed: when the next one may begin, if there is time for one.
    pub(super) fn next(&mut self, retry_after: Option<Duration>, now: Instant) -> Option<Instant> {
        let wait = WAITS_MS.get(self.failures).or(WAITS_MS.last()).copied().unwrap_or_default();
        self.failures += 1;
        if self.failures >= self.attempts_max {
            return None;
        }
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let at = now + Duration::from_millis(wait).max(asked);
        (at < self.until).then_some(at)
    }
}

/// The sessions that were lost of late.
#[derive(Debug, Default)]
pub(super) struct Losses(VecDeque<Instant>);

impl Losses {
    /// One more is lost. True if that makes too many: the next one would be lost, too.
    pub(super) fn on_loss(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.saturating_duration_since(*at) < LOSSES_WINDOW);
        self.0.push_back(now);
        self.0.len() >= LOSSES_MAX
    }
}

/// A first attempt may have hit a server that just then went away: the second comes at once.
const WAITS_MS: [u64; 6] = [0, 250, 500, 1_000, 2_000, 4_000];

/// Two seconds of attempts.
const FIRST_ATTEMPTS_MAX: usize = 5;

/// However long the server wants to be left alone, somebody is in a call and waits.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// So many losses within the window are one loss for good.
const LOSSES_MAX: usize = 5;
const LOSSES_WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn waits_grow_until_there_is_no_time_left() {
        let start = clock::now();
        let mut retry = Retry::new(start + Duration::from_secs(15));
        let mut now = start;
        let mut waits = Vec::new();
        while let Some(at) = retry.next(None, now) {
            waits.push((at - now).as_millis());
            now = at;
        }
        assert_eq!(waits, [0, 250, 500, 1_000, 2_000, 4_000, 4_000]);
    }

    #[test]
    fn a_first_socket_is_given_up_soon() {
        let now = clock::now();
        let mut retry = Retry::first(now + Duration::from_secs(15));
        let attempts = std::iter::from_fn(|| retry.next(None, now)).count();
        assert_eq!(attempts + 1, FIRST_ATTEMPTS_MAX);
    }

    #[test]
    fn a_server_may_ask_for_more_time_within_reason() {
        let now = clock::now();
        let mut retry = Retry::new(now + Duration::from_secs(60));
        let secs = Duration::from_secs;
        assert_eq!(retry.next(Some(secs(2)), now), Some(now + secs(2)));
        assert_eq!(retry.next(Some(secs(600)), now), Some(now + secs(5)));
    }

    #[test]
    fn five_losses_within_a_minute_are_too_many() {
        let start = clock::now();
        let mut losses = Losses::default();
        let told: Vec<bool> =
            (0..6).map(|n| losses.on_loss(start + Duration::from_secs(14 * n))).collect();
        assert_eq!(told, [false, false, false, false, true, true]);
        assert!(!losses.on_loss(start + Duration::from_secs(200)));
    }
}
