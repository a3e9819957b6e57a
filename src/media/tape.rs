//! Where each frame of a call lies on the call's own clock, for its recording.

use std::collections::VecDeque;
use std::time::Instant;

use super::frame::Frame24k;
use super::packet::RTP_TICKS_PER_FRAME;
use super::track::AUDIBLE;
use crate::ids::ParticipantId;

/// Lays what is heard and what is said on one clock, that of the call.
///
/// A participant's frames follow each other without a gap, as their own clock has them. When
/// somebody begins to speak after a pause, they are laid anew to where their packets came in, so
/// clocks that run apart do not add up. Our own frames lie where their RTP time says, which is
/// what a listener plays them by. What is not said is not laid: silence is where nothing lies.
#[derive(Debug)]
pub struct Tape {
    began: Instant,
    is_on: bool,
    voices: Vec<Voice>,
    said: Option<Said>,
    laid: VecDeque<Taped>,
}

/// A frame with its place in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taped {
    /// The place of its first sample, counted at 24 kHz from the beginning of the call.
    pub at: u64,
    /// Whose it is.
    pub side: Side,
    /// The sound.
    pub frame: Frame24k,
}

/// The two channels of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What others say: left.
    Heard,
    /// What the agent says, as far as it is heard: right.
    Said,
}

/// Where a participant's next frame lies, and for how long they have been quiet.
#[derive(Debug)]
struct Voice {
    who: ParticipantId,
    next: u64,
    quiet: u64,
}

/// The RTP time of our last frame, and its place.
#[derive(Debug)]
struct Said {
    ticks: u32,
    at: u64,
}

impl Tape {
    /// A tape for a call that begins at this instant; it takes nothing until it is on.
    #[must_use]
    pub const fn new(began: Instant) -> Self {
        Self { began, is_on: false, voices: Vec::new(), said: None, laid: VecDeque::new() }
    }

    /// When the call began.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Whether frames are taken from here on. The clock runs on either way.
    pub const fn set_on(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    /// Takes a participant's next frame, the last of which came in at this instant.
    pub fn hear(&mut self, who: &ParticipantId, frame: &Frame24k, since: Instant) {
        if !self.is_on {
            return;
        }
        let came = self.place_of(since).saturating_sub(FRAME);
        let index = self.voices.iter().position(|voice| voice.who == *who).unwrap_or_else(|| {
            self.voices.push(Voice { who: who.clone(), next: came, quiet: 0 });
            self.voices.len() - 1
        });
        let is_audible = frame.level() >= AUDIBLE;
        if let Some(at) = self.voices[index].lay(came, is_audible) {
            self.laid.push_back(Taped { at, side: Side::Heard, frame: *frame });
        }
    }

    /// Takes a frame of ours with its RTP time, that leaves at this instant.
    pub fn say(&mut self, frame: &Frame24k, timestamp: u32, at: Instant) {
        if !self.is_on {
            return;
        }
        let at = match &self.said {
            None => self.place_of(at),
            Some(Said { ticks, at }) => {
                at + u64::from(timestamp.wrapping_sub(*ticks) / TICKS_PER_SAMPLE)
            }
        };
        self.said = Some(Said { ticks: timestamp, at });
        self.laid.push_back(Taped { at, side: Side::Said, frame: *frame });
    }

    /// A participant is gone; should they come back, they are laid anew.
    pub fn forget(&mut self, who: &ParticipantId) {
        self.voices.retain(|voice| voice.who != *who);
    }

    /// The next frame with its place.
    pub fn poll(&mut self) -> Option<Taped> {
        self.laid.pop_front()
    }

    fn place_of(&self, at: Instant) -> u64 {
        let ns = at.saturating_duration_since(self.began).as_nanos();
        u64::try_from(ns * 24 / 1_000_000).unwrap_or(u64::MAX)
    }
}

impl Voice {
    /// Where the next frame lies, which came in there; `None`, if there is no place for it.
    fn lay(&mut self, came: u64, is_audible: bool) -> Option<u64> {
        let apart = self.next.abs_diff(came);
        let is_ahead = self.next > came;
        let begins = is_audible && self.quiet >= PAUSE && apart >= FRAME;
        if begins && !(is_ahead && apart > self.quiet) || !is_ahead && apart > BEHIND_MAX {
            self.next = came;
        } else if is_ahead && apart > AHEAD_MAX {
            return None;
        }
        self.quiet = if is_audible { 0 } else { self.quiet + FRAME };
        self.next += FRAME;
        Some(self.next - FRAME)
    }
}

const FRAME: u64 = Frame24k::SAMPLES as u64;

/// RTP time counts at 48 kHz.
const TICKS_PER_SAMPLE: u32 = 2;
const _: () = assert!(RTP_TICKS_PER_FRAME as u64 == TICKS_PER_SAMPLE as u64 * FRAME);

/// So long a participant is quiet before their next sound is laid anew: 200 ms.
const PAUSE: u64 = 10 * FRAME;

/// A frame may come in so much later than it is laid: more than any gap is waited for, 400 ms.
const BEHIND_MAX: u64 = 20 * FRAME;

/// A frame may be laid so much later than it came in: a second, which is paid back in pauses.
pub(super) const AHEAD_MAX: u64 = 50 * FRAME;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{ms, start};

    const LOUD: Frame24k = Frame24k::new([2_000; 480]);

    #[test]
    fn a_caller_who_starts_late_lies_where_the_call_was_by_then() {
        let mut tape = tape();
        for n in 0..3 {
            tape.hear(&id("p_1"), &LOUD, start() + ms(5_020 + 20 * n));
        }
        assert_eq!(places(&mut tape), [120_000, 120_480, 120_960]);
    }

    #[test]
    fn uneven_arrival_moves_nothing_while_somebody_speaks() {
        let mut tape = tape();
        for (n, late) in [0, 60, 40, 90, 0, 20].into_iter().enumerate() {
            let came = start() + ms(1_020 + 20 * n as u64 + late);
            tape.hear(&id("p_1"), &LOUD, came);
        }
        let expected: Vec<u64> = (0..6).map(|n| 24_000 + 480 * n).collect();
        assert_eq!(places(&mut tape), expected);
    }

    #[test]
    fn who_speaks_after_a_pause_is_laid_anew() {
        for (drift, expected) in [(100, 24_000 + 2_400), (0, 24_000), (-100, 24_000 - 2_400)] {
            let mut tape = tape();
            for n in 0..50 {
                tape.hear(&id("p_1"), &Frame24k::SILENCE, start() + ms(20 + 20 * n));
            }
            let came = start() + ms(1_020_u64.saturating_add_signed(drift));
            tape.hear(&id("p_1"), &LOUD, came);
            assert_eq!(places(&mut tape).last(), Some(&expected), "{drift}");
        }
    }

    #[test]
    fn a_gap_in_what_comes_is_a_gap_in_the_recording() {
        let mut tape = tape();
        tape.hear(&id("p_1"), &LOUD, start() + ms(20));
        tape.hear(&id("p_1"), &LOUD, start() + ms(2_040));
        assert_eq!(places(&mut tape), [0, 48_480]);
    }

    #[test]
    fn a_burst_that_runs_too_far_ahead_is_left_out() {
        let mut tape = tape();
        for _ in 0..80 {
            tape.hear(&id("p_1"), &LOUD, start() + ms(20));
        }
        let laid = places(&mut tape);
        assert_eq!(laid.last(), Some(&AHEAD_MAX));
    }

    #[test]
    fn our_own_frames_lie_by_their_rtp_time_even_when_it_wraps() {
        let mut tape = tape();
        tape.say(&LOUD, u32::MAX - 959, start() + ms(500));
        // The packet that leads into silence leaves early; its place is still behind the other.
        tape.say(&LOUD, 0, start() + ms(503));
        tape.say(&LOUD, 960 * 50, start() + ms(1_530));
        assert_eq!(places(&mut tape), [12_000, 12_480, 12_480 + 24_000]);
    }

    #[test]
    fn a_tape_that_is_off_takes_nothing_and_its_clock_runs_on() {
        let mut tape = tape();
        tape.set_on(false);
        tape.hear(&id("p_1"), &LOUD, start() + ms(20));
        tape.say(&LOUD, 0, start());
        assert_eq!(tape.poll(), None);
        tape.set_on(true);
        tape.hear(&id("p_1"), &LOUD, start() + ms(60_020));
        assert_eq!(places(&mut tape), [60 * 24_000]);
    }

    #[test]
    fn two_callers_keep_clocks_of_their_own() {
        let mut tape = tape();
        tape.hear(&id("p_1"), &LOUD, start() + ms(20));
        tape.hear(&id("p_2"), &LOUD, start() + ms(27));
        tape.hear(&id("p_1"), &LOUD, start() + ms(40));
        assert_eq!(places(&mut tape), [0, 168, 480]);
        tape.forget(&id("p_1"));
        tape.hear(&id("p_1"), &LOUD, start() + ms(120));
        assert_eq!(places(&mut tape), [2_400]);
    }

    fn tape() -> Tape {
        let mut tape = Tape::new(start());
        tape.set_on(true);
        tape
    }

    fn places(tape: &mut Tape) -> Vec<u64> {
        std::iter::from_fn(|| tape.poll()).map(|taped| taped.at).collect()
    }

    fn id(name: &str) -> ParticipantId {
        ParticipantId::new(name)
    }
}
