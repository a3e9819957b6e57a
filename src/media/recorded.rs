//! A caller who was recorded before: when they begin, what they say, and when they hang up.

use std::time::{Duration, Instant};

use super::frame::Frame24k;
use super::track::AUDIBLE;

/// How a recorded caller behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// When they begin to speak.
    pub wait: Wait,
    /// How long it must have been silent after an answer until they hang up.
    pub quiet: Duration,
    /// How long they wait for an answer.
    pub patience: Duration,
}

/// When a recorded caller begins to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// So long after the call has begun.
    For(Duration),
    /// When they have been greeted; or when no greeting has come for [`GREETING_PATIENCE`], or
    /// none has ended after [`GREETING_MAX`].
    Greeting,
}

/// A recorded caller in a call, on whatever clock the call has.
#[derive(Debug)]
pub struct RecordedCaller {
    recording: Vec<i16>,
    manners: Manners,
    stage: Stage,
    /// When the other side was heard last.
    heard: Option<Instant>,
    /// When the last audible sound of the recording was said.
    said: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Waiting {
        since: Instant,
    },
    /// The next sample to say.
    Speaking {
        next: usize,
    },
    Listening {
        since: Instant,
    },
}

impl Default for Manners {
    fn default() -> Self {
        let wait = Wait::For(Duration::from_millis(500));
        Self { wait, quiet: Duration::from_secs(3), patience: Duration::from_secs(60) }
    }
}

impl RecordedCaller {
    /// A caller who says these samples (24 kHz) in a call that begins at this instant.
    #[must_use]
    pub const fn new(recording: Vec<i16>, manners: Manners, now: Instant) -> Self {
        let stage = Stage::Waiting { since: now };
        Self { recording, manners, stage, heard: None, said: None }
    }

    /// The next 20 ms of them; to be asked every 20 ms.
    pub fn frame(&mut self, now: Instant) -> Frame24k {
        if let Stage::Waiting { since } = self.stage
            && self.begins(since, now)
        {
            self.stage = Stage::Speaking { next: 0 };
        }
        let mut frame = Frame24k::SILENCE;
        let Stage::Speaking { next } = self.stage else { return frame };
        let end = (next + Frame24k::SAMPLES).min(self.recording.len());
        frame[..end - next].copy_from_slice(&self.recording[next..end]);
        if frame.level() >= AUDIBLE {
            self.said = Some(now);
        }
        self.stage = if end < self.recording.len() {
            Stage::Speaking { next: end }
        } else {
            Stage::Listening { since: now }
        };
        frame
    }

    /// The other side is audible at this instant.
    pub const fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Whether the call is over for them: all is said, and it has been silent for long enough
    /// after the answer, or none has come; in any case after [`LISTENING_MAX`].
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        let Stage::Listening { since } = self.stage else { return false };
        let Manners { quiet, patience, .. } = self.manners;
        let passed = |from: Instant| now.saturating_duration_since(from);
        let silence = passed(self.heard.map_or(since, |heard| heard.max(since)));
        let is_answered = self.said.is_none() || self.heard > self.said;
        silence >= if is_answered { quiet } else { patience } || passed(since) >= LISTENING_MAX
    }

    fn begins(&self, since: Instant, now: Instant) -> bool {
        let passed = |from: Instant| now.saturating_duration_since(from);
        match (self.manners.wait, self.heard) {
            (Wait::For(wait), _) => passed(since) >= wait,
            (Wait::Greeting, None) => passed(since) >= GREETING_PATIENCE,
            (Wait::Greeting, Some(heard)) => {
                passed(heard) >= BREATH || passed(since) >= GREETING_MAX
            }
        }
    }
}

/// How long a recorded caller waits for a greeting that does not come.
pub const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// The longest greeting that a recorded caller listens to before speaking all the same.
pub const GREETING_MAX: Duration = Duration::from_secs(60);

/// The longest that a recorded caller listens once all is said.
pub const LISTENING_MAX: Duration = Duration::from_secs(600);

/// Silence by which a greeting is known to be over.
const BREATH: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use super::super::testing::{ms, start};
    use super::*;

    #[test]
    fn the_recording_is_said_after_the_wait_and_once() {
        let mut scene = Scene::new(Wait::For(ms(100)));
        assert_eq!(scene.spoken(0..1_000), [100, 120, 140], "50 ms fill three frames");
    }

    #[test]
    fn a_greeting_is_waited_for_to_its_end() {
        let mut scene = Scene::new(Wait::Greeting);
        scene.hears(1_000..2_000);
        assert_eq!(scene.spoken(2_000..4_000)[0], 2_000 - 20 + 700);
    }

    #[test]
    fn a_greeting_that_does_not_come_is_not_waited_for_forever() {
        let mut scene = Scene::new(Wait::Greeting);
        assert_eq!(scene.spoken(0..11_000)[0], 10_000);
    }

    #[test]
    fn a_greeting_without_end_is_interrupted() {
        let mut scene = Scene::new(Wait::Greeting);
        scene.hears(1_000..59_000);
        scene.caller.hear(start() + ms(59_980));
        assert_eq!(scene.spoken(59_980..61_000)[0], 60_000);
    }

    #[test]
    fn the_call_is_over_when_it_was_silent_after_the_answer() {
        let mut scene = Scene::new(Wait::For(ms(0)));
        scene.spoken(0..100);
        scene.hears(2_000..5_000);
        assert_eq!(scene.over_at(5_000), 5_000 - 20 + 3_000);
    }

    #[test]
    fn an_answer_is_waited_for_longer_than_silence_after_it() {
        let mut scene = Scene::new(Wait::For(ms(0)));
        scene.spoken(0..100);
        assert_eq!(scene.over_at(100), 40 + 60_000);
    }

    #[test]
    fn an_answer_before_the_end_of_the_recording_counts() {
        let mut scene = Scene::new(Wait::For(ms(0)));
        scene.caller.recording.extend([0; 24_000]);
        scene.hears(0..100);
        scene.caller.hear(start() + ms(200));
        scene.spoken(100..2_000);
        assert_eq!(scene.over_at(2_000), 1_040 + 3_000, "from the recording's end");
    }

    #[test]
    fn who_says_nothing_waits_for_no_answer() {
        let mut scene = Scene::new(Wait::For(ms(0)));
        scene.caller.recording = vec![0; 480];
        scene.spoken(0..20);
        assert_eq!(scene.over_at(20), 3_000);
    }

    #[test]
    fn an_agent_that_never_falls_silent_is_left() {
        let mut scene = Scene::new(Wait::For(ms(0)));
        scene.spoken(0..100);
        scene.hears(100..601_000);
        assert!(scene.caller.is_over(start() + ms(601_000)));
    }

    struct Scene {
        caller: RecordedCaller,
    }

    impl Scene {
        /// A caller with 50 ms of sound.
        fn new(wait: Wait) -> Self {
            let manners = Manners { wait, ..Manners::default() };
            Self { caller: RecordedCaller::new(vec![9_000; 1_200], manners, start()) }
        }

        /// When there was sound, in milliseconds.
        fn spoken(&mut self, span: std::ops::Range<u64>) -> Vec<u64> {
            let times = span.step_by(20);
            times.filter(|at| self.caller.frame(start() + ms(*at)).level() > 0).collect()
        }

        fn hears(&mut self, span: std::ops::Range<u64>) {
            for at in span.step_by(20) {
                self.caller.frame(start() + ms(at));
                self.caller.hear(start() + ms(at));
            }
        }

        fn over_at(&self, from: u64) -> u64 {
            let mut times = (from..).step_by(20);
            times.find(|at| self.caller.is_over(start() + ms(*at))).unwrap()
        }
    }
}
