//! How far what a listener was given is ahead of the speaker's own time, and how it gets back.

use super::frame::Frame24k;

/// Keeps account of the samples that were given beyond the speaker's RTP time, or are missing.
///
/// Silence that stood in for packets which came after all has put the listener ahead: as much is
/// left out again. Where less silence was given than passed, as much is added. Both happen only
/// where nothing has been said for a while; so speech is never touched, and neither is the silence
/// by which a listener knows that a turn has ended.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// In samples; negative if the listener lacks some.
    ahead: i64,
    /// For how many frames nothing was said.
    quiet_frames: u32,
    /// What is as loud as nothing: a level that follows the quietest frames.
    floor: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is given on.
    Given,
    /// It is left out.
    LeftOut,
    /// It is given on, and a frame of silence after it.
    Doubled,
}

impl Timeline {
    /// How many samples the listener is ahead of the speaker.
    pub(super) const fn ahead(&self) -> i64 {
        self.ahead
    }

    /// The speaker's time has passed by so many samples, for which so many were given. What differs
    /// by more than a stall can explain is a jump of one of the clocks, and is let be.
    pub(super) fn account(&mut self, passed: usize, given: usize) {
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let given = i64::try_from(given).unwrap_or(i64::MAX);
        let apart = given.saturating_sub(passed);
        if apart.abs() <= STALL_MAX {
            self.ahead = (self.ahead + apart).clamp(-STALL_MAX, STALL_MAX);
        }
    }

    /// Judges the next frame: whether speech is under way, whether it is voiced, how loud it is.
    pub(super) fn judge(&mut self, speaking: bool, voiced: bool, level: u32) -> Fate {
        self.floor = level.min(self.floor + self.floor / FLOOR_RISE + 1);
        let is_quiet = !speaking && !voiced && level <= 2 * self.floor + LEVEL_NOTHING;
        self.quiet_frames = if is_quiet { self.quiet_frames.saturating_add(1) } else { 0 };
        // Every other frame is left as it is, so that the listener's time never stands still.
        if self.quiet_frames < QUIET_FRAMES || self.quiet_frames.is_multiple_of(2) {
            return Fate::Given;
        }
        if self.ahead >= FRAME_SAMPLES {
            self.ahead -= FRAME_SAMPLES;
            Fate::LeftOut
        } else if self.ahead <= -FRAME_SAMPLES {
            self.ahead += FRAME_SAMPLES;
            Fate::Doubled
        } else {
            Fate::Given
        }
    }
}

const FRAME_SAMPLES: i64 = 480;
const _: () = assert!(Frame24k::SAMPLES == 480);

/// After so many frames in which nothing was said, time may be set right: 300 ms after speech was
/// found to have ended, which itself takes as long.
const QUIET_FRAMES: u32 = 15;

/// The longest stall that is made up for: two seconds. Fewer packets are held anywhere on the way.
const STALL_MAX: i64 = 2 * 24_000;

/// The floor rises by this part of itself per frame, and falls at once.
const FLOOR_RISE: u32 = 64;

/// A level that is nothing whatever the floor: 60 dB below full scale.
const LEVEL_NOTHING: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_that_was_borrowed_is_left_out_where_nothing_is_said() {
        let mut timeline = Timeline::default();
        timeline.account(0, 10 * 480);
        assert_eq!(fates(&mut timeline, 100, Fate::LeftOut), 10);
        assert_eq!(timeline.ahead(), 0);
    }

    #[test]
    fn silence_that_is_owed_is_added_where_nothing_is_said() {
        let mut timeline = Timeline::default();
        timeline.account(10 * 480 + 7, 0);
        assert_eq!(fates(&mut timeline, 100, Fate::Doubled), 10);
        assert_eq!(timeline.ahead(), -7);
    }

    #[test]
    fn speech_and_the_pause_that_ends_it_are_never_touched() {
        let mut timeline = Timeline::default();
        timeline.account(0, 10 * 480);
        for _ in 0..200 {
            assert_eq!(timeline.judge(true, false, 0), Fate::Given);
            assert_eq!(timeline.judge(false, true, 2000), Fate::Given);
            assert_eq!(timeline.judge(false, false, 500), Fate::Given, "a soft beginning");
        }
        assert_eq!(fates(&mut timeline, 14, Fate::LeftOut), 0);
    }

    #[test]
    fn steady_noise_counts_as_nothing_after_a_while() {
        let mut timeline = Timeline::default();
        timeline.account(0, 480);
        let left_out = (0..200).filter(|_| timeline.judge(false, false, 300) == Fate::LeftOut);
        assert_eq!(left_out.count(), 1);
    }

    #[test]
    fn a_jump_of_a_clock_is_let_be() {
        let mut timeline = Timeline::default();
        timeline.account(0, 24_000 * 60);
        timeline.account(24_000 * 60, 0);
        assert_eq!(timeline.ahead(), 0);
    }

    fn fates(timeline: &mut Timeline, frames: usize, fate: Fate) -> usize {
        (0..frames).filter(|_| timeline.judge(false, false, 0) == fate).count()
    }
}
