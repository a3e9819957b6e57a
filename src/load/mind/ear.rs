//! What the model hears: frames out of events, and turns out of their levels.

use std::time::Instant;

use base64_simd::STANDARD;

use super::FrameSeen;
use crate::load::level::{AUDIBLE, FRAME_SAMPLES, level_of_pcm};
use crate::media::FRAME_MS;

/// Takes a caller's sound, and notices when somebody begins and ends to speak.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Bytes that are no whole frame yet.
    pcm: Vec<u8>,
    pub(super) frames: Vec<FrameSeen>,
    is_speech: bool,
    /// So many frames in a row that speak against what it is taken for.
    against: usize,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Somebody speaks, since so many milliseconds of the session's sound.
    Begun(u64),
    /// Nobody does.
    Over(u64),
}

impl Ear {
    /// Takes the sound of one event.
    pub(super) fn hear(&mut self, base64: &str, now: Instant) -> Option<Turn> {
        if STANDARD.decode_append(base64, &mut self.pcm).is_err() {
            tracing::warn!("the gateway has sent sound that is no base64");
            return None;
        }
        let mut turn = None;
        let whole = self.pcm.len() / FRAME_BYTES * FRAME_BYTES;
        for at in (0..whole).step_by(FRAME_BYTES) {
            let level = level_of_pcm(&self.pcm[at..at + FRAME_BYTES]);
            self.frames.push(FrameSeen { at: now, level });
            turn = self.notice(level).or(turn);
        }
        self.pcm.drain(..whole);
        turn
    }

    fn notice(&mut self, level: u16) -> Option<Turn> {
        if (level >= AUDIBLE) == self.is_speech {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.is_speech { QUIET_FRAMES } else { LOUD_FRAMES };
        if self.against < enough {
            return None;
        }
        let since = (self.frames.len() - self.against) as u64 * FRAME_MS;
        self.is_speech = !self.is_speech;
        self.against = 0;
        Some(if self.is_speech { Turn::Begun(since) } else { Turn::Over(since) })
    }
}

const FRAME_BYTES: usize = 2 * FRAME_SAMPLES;
/// So many loud frames are speech.
const LOUD_FRAMES: usize = 2;
/// So many quiet frames end it: 400 ms, longer than any pause in what callers say.
const QUIET_FRAMES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::wire::pcm_to_base64;
    use crate::sys::clock;

    #[test]
    fn sound_in_any_pieces_becomes_frames() {
        let mut ear = Ear::default();
        let now = clock::now();
        ear.hear(&pcm_to_base64(&[0; 500]), now);
        assert_eq!(ear.frames.len(), 1);
        ear.hear(&pcm_to_base64(&[0; 940]), now);
        assert_eq!(ear.frames, [FrameSeen { at: now, level: 0 }; 3]);
    }

    #[test]
    fn a_turn_begins_with_its_first_loud_frame_and_ends_with_its_last() {
        let mut ear = Ear::default();
        let mut said = Vec::new();
        for (count, height) in [(10, 0), (1, 9_000), (5, 0), (50, 900), (10, 0), (9, 900), (30, 0)]
        {
            for _ in 0..count {
                said.extend(ear.hear(&pcm_to_base64(&[height; 480]), clock::now()));
            }
        }
        assert_eq!(said, [Turn::Begun(320), Turn::Over(1_700)]);
    }
}
