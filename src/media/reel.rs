//! The two channels of a recording, put together from frames that come in any order.

use std::collections::VecDeque;

use super::frame::Frame24k;
use super::tape::{AHEAD_MAX, Side, Taped};

/// Sums frames where they lie, and gives them out in order when nothing more comes before them.
///
/// It holds [`REEL_LAG`] samples, however long nobody speaks: before a frame is added, say where
/// it lies by [`Reel::reach`], and take out all that [`Reel::pull`] gives.
#[derive(Debug)]
pub struct Reel {
    /// The place of the first sample that was not given out.
    start: u64,
    /// The place after the last sample that is known of.
    end: u64,
    /// How far behind that a frame may still come.
    lag: u64,
    /// What lies from `start` on; behind its end lies silence.
    sums: VecDeque<[i32; 2]>,
}

/// 20 ms of a recording: what was heard, and what was said.
pub type StereoFrame = [Frame24k; 2];

impl Reel {
    /// A reel with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self { start: 0, end: 0, lag: REEL_LAG, sums: VecDeque::new() }
    }

    /// The recording goes on up to this place at least.
    pub fn reach(&mut self, place: u64) {
        self.end = self.end.max(place);
    }

    /// Adds a frame; false if what lies there was given out before, and nothing of it is kept.
    pub fn add(&mut self, taped: &Taped) -> bool {
        self.reach(taped.at + FRAME);
        let late = usize::try_from(self.start.saturating_sub(taped.at)).unwrap_or(usize::MAX);
        let offset = usize::try_from(taped.at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let Some(samples) = taped.frame.get(late..) else { return false };
        if samples.is_empty() {
            return false;
        }
        if self.sums.len() < offset + samples.len() {
            self.sums.resize(offset + samples.len(), [0; 2]);
        }
        let channel = channel(taped.side);
        for (sum, sample) in self.sums.range_mut(offset..).zip(samples) {
            sum[channel] += i32::from(*sample);
        }
        true
    }

    /// Nothing more comes, and this is where the recording ends, if nothing lies behind it.
    pub fn finish(&mut self, end: u64) {
        self.reach(end);
        self.lag = 0;
    }

    /// The next 20 ms, if nothing more comes in them. The last of all is filled up with silence.
    pub fn pull(&mut self) -> Option<StereoFrame> {
        let is_last = self.lag == 0 && self.start < self.end;
        if !is_last && self.start + FRAME + self.lag > self.end {
            return None;
        }
        let mut frames = [Frame24k::SILENCE; 2];
        let [heard, said] = &mut frames;
        for (left, right) in heard.iter_mut().zip(said.iter_mut()) {
            let [sum_left, sum_right] = self.sums.pop_front().unwrap_or_default();
            (*left, *right) = (saturate(sum_left), saturate(sum_right));
        }
        self.start += FRAME;
        Some(frames)
    }

    /// The place after the last sample that is known of.
    #[must_use]
    pub const fn reached(&self) -> u64 {
        self.end
    }

    /// How many samples of each channel were given out.
    #[must_use]
    pub const fn given(&self) -> u64 {
        self.start
    }
}

impl Default for Reel {
    fn default() -> Self {
        Self::new()
    }
}

const fn channel(side: Side) -> usize {
    match side {
        Side::Heard => 0,
        Side::Said => 1,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the value is clamped to what fits")]
fn saturate(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

const FRAME: u64 = Frame24k::SAMPLES as u64;

/// How many samples behind the newest a frame may still come: more than any voice is laid ahead.
pub const REEL_LAG: u64 = AHEAD_MAX + AHEAD_MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_one_place_is_summed_by_side() {
        let mut reel = Reel::new();
        assert!(reel.add(&taped(0, Side::Heard, 1_000)));
        assert!(reel.add(&taped(240, Side::Heard, 10)));
        assert!(reel.add(&taped(0, Side::Said, -7)));
        reel.finish(0);
        let [heard, said] = reel.pull().unwrap();
        assert_eq!((heard[239], heard[240], said[479]), (1_000, 1_010, -7));
        let [heard, said] = reel.pull().unwrap();
        assert_eq!((heard[239], heard[240], said[0]), (10, 0, 0));
        assert_eq!(reel.pull(), None);
    }

    #[test]
    fn an_hour_of_silence_is_given_out_and_never_held() {
        let mut reel = Reel::new();
        let at = 3_600 * 24_000;
        reel.reach(at + 480);
        let mut frames = 0;
        while let Some(frame) = reel.pull() {
            assert_eq!(frame, [Frame24k::SILENCE; 2]);
            frames += 1;
        }
        assert_eq!(frames * 480, at + 480 - REEL_LAG);
        assert!(reel.add(&taped(at, Side::Said, 3)));
        assert!(reel.sums.len() as u64 <= REEL_LAG);
    }

    #[test]
    fn what_comes_too_late_is_left_out() {
        let mut reel = Reel::new();
        reel.reach(REEL_LAG + 960);
        while reel.pull().is_some() {}
        assert_eq!(reel.given(), 960);
        assert!(!reel.add(&taped(480, Side::Heard, 5)));
        assert!(reel.add(&taped(720, Side::Heard, 5)), "half of it is in time");
        assert_eq!((reel.sums[0], reel.sums.len()), ([5, 0], 240));
    }

    #[test]
    fn the_end_is_filled_up_to_a_whole_frame() {
        let mut reel = Reel::new();
        reel.finish(481);
        assert!(reel.pull().is_some() && reel.pull().is_some());
        assert_eq!(reel.pull(), None);
    }

    #[test]
    fn loud_voices_together_do_not_wrap() {
        let mut reel = Reel::new();
        reel.add(&taped(0, Side::Heard, 30_000));
        reel.add(&taped(0, Side::Heard, 30_000));
        reel.finish(0);
        assert_eq!(reel.pull().unwrap()[0][0], i16::MAX);
    }

    fn taped(at: u64, side: Side, sample: i16) -> Taped {
        Taped { at, side, frame: Frame24k::new([sample; 480]) }
    }
}
