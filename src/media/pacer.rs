//! The clock of our own voice: one frame every 20 ms, on time however late we are woken.

use std::time::{Duration, Instant};

use super::frame::FRAME_MS;
use super::packet::RTP_TICKS_PER_FRAME;

/// Says when the next frame is due, and which RTP time it has.
///
/// Frames come in stretches. The first frame of a stretch is due at once, and the others every
/// 20 ms from it, counted from its instant and not from when they really left, so nothing drifts.
/// Woken too late, it lets at most [`CATCH_UP_FRAMES`] frames go together; what is later than that
/// is heard later. RTP time goes on over silence, in whole frames.
#[derive(Debug)]
pub struct Pacer {
    state: State,
    /// The instant of the very first frame, and the number of the last: RTP time in frames.
    counted: Option<(Instant, u64)>,
    skipped: u64,
}

/// A frame's leave to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The frame's RTP time, 48 kHz, counted from the first frame of all.
    pub timestamp: u32,
    /// Whether silence of a frame or more lies before it.
    pub starts_stretch: bool,
    /// How long after its due instant it was let go. The first of a stretch is due at once.
    pub late: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No frame was there when the last had gone; the next may go at this instant or later.
    Resting {
        earliest: Instant,
    },
    Running {
        next: Instant,
    },
}

impl Pacer {
    /// A clock that waits for its first frame.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { state: State::Resting { earliest: now }, counted: None, skipped: 0 }
    }

    /// When the next frame is due, provided there is one; an instant in the past means at once.
    #[must_use]
    pub const fn due(&self) -> Instant {
        match self.state {
            State::Resting { earliest } => earliest,
            State::Running { next } => next,
        }
    }

    /// Lets a frame go, if one is due. To be asked only while there is a frame.
    pub fn take(&mut self, now: Instant) -> Option<Tick> {
        if now < self.due() {
            return None;
        }
        let (at, pause, late) = match self.state {
            State::Resting { earliest } => (now, now - earliest, Duration::ZERO),
            State::Running { next } => (self.catch_up(next, now), Duration::ZERO, now - next),
        };
        let starts_stretch = self.counted.is_none() || pause >= FRAME;
        self.state = State::Running { next: at + FRAME };
        Some(Tick { timestamp: self.count(at), starts_stretch, late })
    }

    /// Lets the frame behind the last go without waiting for its turn, so that a sound that is
    /// cut off can end well; then it rests. `None` if the last has been over for a frame or more.
    pub fn close(&mut self, now: Instant) -> Option<Tick> {
        let due = self.due();
        let (_, last) = self.counted.as_mut().filter(|_| now < due + FRAME)?;
        *last += 1;
        let timestamp = rtp_time(*last);
        self.state = State::Resting { earliest: due.max(now) + FRAME };
        Some(Tick { timestamp, starts_stretch: false, late: Duration::ZERO })
    }

    /// There is no further frame: the next one begins a stretch, unless it comes in time.
    pub const fn rest(&mut self) {
        self.state = State::Resting { earliest: self.due() };
    }

    /// How often the clock was moved on by a frame because it lay too far back.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Moves the clock on by whole frames if it lies too far back.
    fn catch_up(&mut self, next: Instant, now: Instant) -> Instant {
        let missed = frames_between(next, now);
        let skipped = missed.saturating_sub(CATCH_UP_FRAMES - 1);
        self.skipped += skipped;
        next + duration_of(skipped)
    }

    /// The RTP time of a frame at this instant.
    fn count(&mut self, at: Instant) -> u32 {
        let (first, number) = match self.counted {
            None => (at, 0),
            Some((first, last)) => (first, frames_between(first, at).max(last + 1)),
        };
        self.counted = Some((first, number));
        rtp_time(number)
    }
}

fn frames_between(from: Instant, to: Instant) -> u64 {
    let frames = to.saturating_duration_since(from).as_nanos() / FRAME.as_nanos();
    u64::try_from(frames).unwrap_or(u64::MAX)
}

/// RTP time wraps at 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "RTP time is the lower half of the count")]
const fn rtp_time(frames: u64) -> u32 {
    (frames as u32).wrapping_mul(RTP_TICKS_PER_FRAME)
}

const fn duration_of(frames: u64) -> Duration {
    Duration::from_millis(frames * FRAME_MS)
}

/// The most frames that leave together after a stall: a listener's jitter buffer holds them.
pub const CATCH_UP_FRAMES: u64 = 3;

const FRAME: Duration = Duration::from_millis(FRAME_MS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{ms, noise, start};

    #[test]
    fn the_first_frame_leaves_at_once_and_sets_the_phase() {
        let mut pacer = Pacer::new(start());
        let first = start() + ms(1007);
        assert_eq!(pacer.take(first), Some(on_time(0, true)));
        assert_eq!(pacer.due(), first + ms(20));
        assert_eq!(pacer.take(first + ms(19)), None);
        let second = on_time(960, false);
        assert_eq!(pacer.take(first + ms(20)), Some(second));
    }

    #[test]
    fn an_hour_of_late_wake_ups_does_not_drift() {
        let mut pacer = Pacer::new(start());
        let frames = 3600 * 50_u64;
        for frame in 0..frames {
            let late = Duration::from_micros(frame * 7919 % 15_000);
            let tick = pacer.take(start() + ms(20 * frame) + late).expect("a frame is due");
            let expected = u32::try_from(frame).unwrap().wrapping_mul(960);
            assert_eq!(tick.timestamp, expected);
        }
        assert_eq!(pacer.due(), start() + ms(frames * 20));
    }

    #[test]
    fn a_short_stall_is_caught_up_and_the_phase_stays() {
        let mut pacer = Pacer::new(start());
        assert_eq!(timestamps(&mut pacer, start()), [0]);
        assert_eq!(timestamps(&mut pacer, start() + ms(65)), [960, 1920, 2880]);
        assert_eq!(pacer.due(), start() + ms(80));
    }

    #[test]
    fn a_long_stall_moves_the_clock_by_whole_frames() {
        let mut pacer = Pacer::new(start());
        assert_eq!(timestamps(&mut pacer, start()), [0]);
        let now = start() + ms(1005);
        assert_eq!(timestamps(&mut pacer, now), [48 * 960, 49 * 960, 50 * 960]);
        assert_eq!(pacer.due(), start() + ms(1020));
    }

    #[test]
    fn rtp_time_goes_on_over_silence() {
        let mut pacer = Pacer::new(start());
        pacer.take(start());
        pacer.rest();
        let tick = pacer.take(start() + ms(1007)).expect("a stretch begins at once");
        assert_eq!(tick, on_time(50 * 960, true));
        assert_eq!(pacer.due(), start() + ms(1027));
    }

    #[test]
    fn a_frame_that_comes_in_time_goes_on_with_the_stretch() {
        let mut pacer = Pacer::new(start());
        pacer.take(start());
        pacer.rest();
        assert_eq!(pacer.take(start() + ms(5)), None);
        let tick = pacer.take(start() + ms(20)).expect("its turn has come");
        assert_eq!(tick, on_time(960, false));
    }

    /// An hour in which we are woken up to 75 ms late.
    #[test]
    fn an_hour_of_bad_wake_ups_loses_no_time_and_gains_none() {
        let mut pacer = Pacer::new(start());
        let mut jitter = noise(7);
        let (mut frames, mut at, mut last) = (0_u64, Duration::ZERO, None);
        while at < Duration::from_secs(3600) {
            let now = start() + at;
            let mut together = 0;
            while let Some(tick) = pacer.take(now) {
                together += 1;
                frames += 1;
                let sound_time = Duration::from_millis(u64::from(tick.timestamp / 48));
                assert!(sound_time <= at, "RTP time is ahead at {at:?}");
                assert!(at <= sound_time + ms(75), "RTP time is behind at {at:?}");
                assert!(tick.late <= ms(75), "{:?} late at {at:?}", tick.late);
                assert!(last.is_none_or(|last| tick.timestamp > last));
                last = Some(tick.timestamp);
            }
            assert!(together <= CATCH_UP_FRAMES);
            let late = ms(75).mul_f32(jitter.next().unwrap().abs().powi(4));
            at = (pacer.due() - start()) + late;
        }
        assert_eq!(frames + pacer.skipped(), 3600 * 50);
        assert!((1..frames / 20).contains(&pacer.skipped()), "{}", pacer.skipped());
    }

    #[test]
    fn what_closes_a_stretch_goes_early_and_takes_the_next_turn() {
        let mut pacer = Pacer::new(start());
        assert_eq!(pacer.close(start()), None, "there is nothing to close");
        pacer.take(start());
        assert_eq!(pacer.close(start() + ms(3)), Some(on_time(960, false)));
        assert_eq!(pacer.due(), start() + ms(40));
        assert_eq!(pacer.take(start() + ms(39)), None);
        assert_eq!(pacer.take(start() + ms(40)), Some(on_time(1920, false)));
        assert_eq!(pacer.close(start() + ms(80)), None, "it has been over for a frame");
    }

    const fn on_time(timestamp: u32, starts_stretch: bool) -> Tick {
        Tick { timestamp, starts_stretch, late: Duration::ZERO }
    }

    fn timestamps(pacer: &mut Pacer, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| pacer.take(now)).map(|tick| tick.timestamp).collect()
    }
}
