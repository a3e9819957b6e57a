//! How much of an answer is gathered before it is let go: nothing, until a model has run dry.

use std::time::{Duration, Instant};

/// What a call has learnt about the pace of its model.
///
/// A model that sends faster than it speaks needs no cushion, and none is taken: the first frame
/// of an answer leaves at once. One that has run dry in the middle of an answer is given
/// [`CUSHION_MIN_MS`] of sound in hand before it goes on, twice as much with each further time, up
/// to [`CUSHION_MAX_MS`]. The next answers begin with as much; each that comes through whole halves
/// it.
#[derive(Debug)]
pub(super) struct Cushion {
    depth_ms: u32,
    stage: Stage,
    /// The answer has not run dry so far.
    is_whole: bool,
    underruns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No answer is under way.
    Idle,
    /// Frames leave as they are due.
    Flowing,
    /// An answer has run dry; whether more of it comes is not known.
    Dry,
    /// Sound is gathered, until this instant at the latest: what is slower still would only be
    /// waited for in vain.
    Gathering { until: Instant },
}

/// What waits to be heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// How long it lasts, in milliseconds.
    pub(super) ms: u64,
    /// Whether nothing more of the same answer comes.
    pub(super) is_complete: bool,
}

impl Cushion {
    pub(super) const fn new() -> Self {
        Self { depth_ms: 0, stage: Stage::Idle, is_whole: true, underruns: 0 }
    }

    /// Whether a frame that is there may leave.
    pub(super) fn lets_go(&mut self, waiting: Waiting, now: Instant) -> bool {
        match self.stage {
            Stage::Flowing => return true,
            Stage::Idle if self.depth_ms == 0 => self.stage = Stage::Flowing,
            Stage::Idle => self.gather(now),
            Stage::Dry => {
                self.is_whole = false;
                self.underruns += 1;
                self.depth_ms = (2 * self.depth_ms).clamp(CUSHION_MIN_MS, CUSHION_MAX_MS);
                self.gather(now);
            }
            Stage::Gathering { .. } => {}
        }
        if let Stage::Gathering { until } = self.stage {
            let is_enough = waiting.is_complete || waiting.ms >= u64::from(self.depth_ms);
            if !is_enough && now < until {
                return false;
            }
            self.stage = Stage::Flowing;
        }
        true
    }

    /// The next frame is late: the answer may have run dry.
    pub(super) fn run_dry(&mut self) {
        if self.stage == Stage::Flowing {
            self.stage = Stage::Dry;
        }
    }

    /// An answer was heard to its end, and none waits behind it if it `is_last`.
    pub(super) const fn finish(&mut self, is_last: bool) {
        if self.is_whole {
            self.depth_ms /= 2;
            if self.depth_ms < CUSHION_MIN_MS {
                self.depth_ms = 0;
            }
        }
        self.is_whole = true;
        if is_last {
            self.stage = Stage::Idle;
        }
    }

    /// The answer was cut off, which says nothing about its pace.
    pub(super) const fn cut(&mut self) {
        self.is_whole = true;
        self.stage = Stage::Idle;
    }

    pub(super) fn is_flowing(&self) -> bool {
        self.stage == Stage::Flowing
    }

    /// When what is gathered leaves although it is little.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Gathering { until } => Some(until),
            Stage::Idle | Stage::Flowing | Stage::Dry => None,
        }
    }

    /// How much is gathered, in milliseconds.
    pub(super) const fn depth_ms(&self) -> u32 {
        self.depth_ms
    }

    /// How often an answer ran dry before its end.
    pub(super) const fn underruns(&self) -> u64 {
        self.underruns
    }

    fn gather(&mut self, now: Instant) {
        let longest = Duration::from_millis(u64::from(self.depth_ms)) * PATIENCE;
        self.stage = Stage::Gathering { until: now + longest };
    }
}

/// The least that is gathered, once anything is: three frames.
pub const CUSHION_MIN_MS: u32 = 60;

/// The most that is gathered. A longer wait would be taken for the end.
pub const CUSHION_MAX_MS: u32 = 400;

/// Gathering takes at most so many times as long as what is to be gathered lasts: a model that
/// is slower than this runs dry whatever is gathered.
const PATIENCE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{ms, start};

    #[test]
    fn nothing_is_gathered_until_a_model_has_run_dry() {
        let mut cushion = Cushion::new();
        assert!(cushion.lets_go(little(), start()));
        cushion.run_dry();
        assert!(!cushion.lets_go(little(), start()));
        assert!(cushion.lets_go(enough(60), start()));
        assert_eq!((cushion.depth_ms(), cushion.underruns()), (60, 1));
    }

    #[test]
    fn each_time_makes_it_deeper_up_to_a_bound() {
        let mut cushion = Cushion::new();
        assert!(cushion.lets_go(little(), start()));
        let depths: Vec<_> = (0..6).map(|_| run_dry(&mut cushion)).collect();
        assert_eq!(depths, [60, 120, 240, 400, 400, 400]);
    }

    #[test]
    fn the_next_answer_begins_with_it_and_each_whole_one_halves_it() {
        let mut cushion = Cushion::new();
        assert!(cushion.lets_go(little(), start()));
        run_dry(&mut cushion);
        run_dry(&mut cushion);
        cushion.finish(true);
        let mut depths = Vec::new();
        while cushion.depth_ms() > 0 {
            assert!(!cushion.lets_go(little(), start()));
            assert!(cushion.lets_go(enough(cushion.depth_ms()), start()));
            depths.push(cushion.depth_ms());
            cushion.finish(true);
        }
        assert_eq!(depths, [120, 60]);
        assert!(cushion.lets_go(little(), start()));
    }

    #[test]
    fn an_answer_whose_end_is_only_told_late_has_not_run_dry() {
        let mut cushion = Cushion::new();
        assert!(cushion.lets_go(little(), start()));
        cushion.run_dry();
        cushion.finish(true);
        assert_eq!((cushion.depth_ms(), cushion.underruns()), (0, 0));
    }

    #[test]
    fn what_is_complete_or_too_slow_is_not_waited_for() {
        for (waiting, at, expected) in
            [(little(), 119, false), (little(), 120, true), (complete(), 0, true)]
        {
            let mut cushion = Cushion::new();
            assert!(cushion.lets_go(little(), start()));
            cushion.run_dry();
            assert!(!cushion.lets_go(little(), start()));
            assert_eq!(cushion.poll_timeout(), Some(start() + ms(120)));
            assert_eq!(cushion.lets_go(waiting, start() + ms(at)), expected);
        }
    }

    #[test]
    fn a_cut_answer_teaches_nothing() {
        let mut cushion = Cushion::new();
        assert!(cushion.lets_go(little(), start()));
        run_dry(&mut cushion);
        cushion.cut();
        assert_eq!(cushion.depth_ms(), 60);
        assert!(!cushion.lets_go(little(), start()));
    }

    fn run_dry(cushion: &mut Cushion) -> u32 {
        cushion.run_dry();
        assert!(!cushion.lets_go(little(), start()));
        assert!(cushion.lets_go(enough(cushion.depth_ms()), start()));
        cushion.depth_ms()
    }

    fn little() -> Waiting {
        Waiting { ms: 20, is_complete: false }
    }

    fn enough(ms: u32) -> Waiting {
        Waiting { ms: ms.into(), is_complete: false }
    }

    fn complete() -> Waiting {
        Waiting { ms: 1, is_complete: true }
    }
}
