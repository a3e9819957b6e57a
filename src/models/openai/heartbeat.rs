//! Whether the other end of a socket is alive: asked by pings, because TCP takes long to notice.

use std::time::{Duration, Instant};

/// The machine.
#[derive(Debug)]
pub(super) struct Heartbeat {
    every: Duration,
    limit: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// All is well until it is time to ask.
    Resting { until: Instant },
    /// Asked, and not answered.
    Waiting { until: Instant },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Ask.
    Ping,
    /// Give up.
    Dead,
}

impl Heartbeat {
    /// Asks `every` so often, and waits no longer than `limit`.
    pub(super) fn new(every: Duration, limit: Duration, now: Instant) -> Self {
        Self { every, limit, state: State::Resting { until: now + every } }
    }

    /// Something came: the other end is alive.
    pub(super) fn on_message(&mut self, now: Instant) {
        self.state = State::Resting { until: now + self.every };
    }

    /// When there is something to be done.
    pub(super) const fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Resting { until } | State::Waiting { until } => until,
        }
    }

    /// What is to be done, if it is time.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Beat> {
        if now < self.poll_timeout() {
            return None;
        }
        let was_asked = matches!(self.state, State::Waiting { .. });
        self.state = State::Waiting { until: now + self.limit };
        Some(if was_asked { Beat::Dead } else { Beat::Ping })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_silent_end_is_asked_and_then_given_up() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(secs(5), secs(10), start);
        assert_eq!(heartbeat.handle_timeout(start + secs(4)), None);
        assert_eq!(heartbeat.handle_timeout(start + secs(5)), Some(Beat::Ping));
        assert_eq!(heartbeat.handle_timeout(start + secs(14)), None);
        assert_eq!(heartbeat.handle_timeout(start + secs(15)), Some(Beat::Dead));
    }

    #[test]
    fn anything_that_comes_is_a_sign_of_life() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(secs(5), secs(10), start);
        heartbeat.handle_timeout(start + secs(5));
        heartbeat.on_message(start + secs(6));
        assert_eq!(heartbeat.poll_timeout(), start + secs(11));
        assert_eq!(heartbeat.handle_timeout(start + secs(11)), Some(Beat::Ping));
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
