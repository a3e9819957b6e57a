//! A session's input buffer: sound in, turns out.

use super::endpoint::{Detection, Endpoint, TURN_MAX_MS, TurnEdge};
use crate::media::{Downsampler, FRAME_MS, Frame16k, Frame24k, Vad};

/// What the sound that came in tells.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Somebody began to speak.
    Started {
        /// On the session's clock of sound.
        at_ms: u64,
    },
    /// The turn is over: what was said, at 16 kHz.
    Stopped {
        /// On the session's clock of sound.
        at_ms: u64,
        /// The turn's sound.
        sound: Vec<i16>,
    },
}

/// There is too little in the buffer to commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooShort {
    /// How much there is.
    pub(super) buffered_ms: u64,
}

/// The buffer and its clock, which shows all sound ever appended.
#[derive(Debug)]
pub(super) struct Ear {
    /// Made when there is something to hear: most sessions hear nothing.
    senses: Option<Box<Senses>>,
    endpoint: Option<Endpoint>,
    detection: Option<Detection>,
    /// The sound since the last turn, at 16 kHz.
    buffer: Vec<i16>,
    clock_ms: u64,
    guessed_ms: u64,
}

/// What it takes to hear.
#[derive(Debug)]
struct Senses {
    downsampler: Downsampler,
    vad: Vad,
    /// Samples at 24 kHz that are no frame yet.
    partial: Vec<i16>,
}

impl Senses {
    fn new() -> Box<Self> {
        let partial = Vec::with_capacity(Frame24k::SAMPLES);
        Box::new(Self { downsampler: Downsampler::new(), vad: Vad::new(), partial })
    }
}

impl Ear {
    /// An ear that has heard nothing; without `detection`, turns are ended by hand.
    pub(super) fn new(detection: Option<Detection>) -> Self {
        Self {
            senses: None,
            endpoint: detection.map(|detection| Endpoint::new(detection, 0)),
            detection,
            buffer: Vec::new(),
            clock_ms: 0,
            guessed_ms: 0,
        }
    }

    /// How turns end at present.
    pub(super) fn detection(&self) -> Option<&Detection> {
        self.detection.as_ref()
    }

    /// Changes how turns end. The sound there is stays; a turn under way begins anew.
    pub(super) fn set_detection(&mut self, detection: Option<Detection>) {
        if self.detection != detection {
            self.endpoint = detection.map(|detection| Endpoint::new(detection, self.clock_ms));
            self.detection = detection;
        }
    }

    /// Takes samples at 24 kHz and says what they tell, in order.
    pub(super) fn push(&mut self, samples: &[i16]) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut senses = self.senses.take().unwrap_or_else(Senses::new);
        for sample in samples {
            senses.partial.push(*sample);
            if let Some(frame) = senses.partial.first_chunk() {
                let frame = senses.downsampler.convert(&Frame24k::new(*frame));
                senses.partial.clear();
                let is_voice = self.endpoint.is_some() && senses.vad.is_voice(&frame);
                heard.extend(self.push_frame(&frame, is_voice));
            }
        }
        self.senses = Some(senses);
        heard
    }

    /// All that is in the buffer, as a turn ended by hand.
    pub(super) fn commit(&mut self) -> Result<Vec<i16>, TooShort> {
        let buffered_ms = ms_of(self.buffer.len());
        if buffered_ms < COMMIT_MIN_MS {
            return Err(TooShort { buffered_ms });
        }
        self.forget_turn();
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Throws away what is in the buffer.
    pub(super) fn clear(&mut self) {
        self.forget_turn();
        if let Some(senses) = &mut self.senses {
            senses.partial.clear();
        }
        self.buffer.clear();
    }

    /// The unfinished turn so far, whenever it is worth another guess at its words.
    pub(super) fn unfinished(&mut self) -> Option<&[i16]> {
        let is_speaking = self.endpoint.as_ref().is_some_and(Endpoint::is_speaking);
        if !is_speaking || self.clock_ms < self.guessed_ms + GUESS_EVERY_MS {
            return None;
        }
        self.guessed_ms = self.clock_ms;
        Some(&self.buffer)
    }

    fn push_frame(&mut self, frame: &Frame16k, is_voice: bool) -> Option<Heard> {
        self.clock_ms += FRAME_MS;
        self.buffer.extend_from_slice(&frame[..]);
        let Some(endpoint) = &mut self.endpoint else {
            self.keep_last(TURN_MAX_MS);
            return None;
        };
        let edge = endpoint.push(is_voice, self.clock_ms);
        match edge {
            Some(TurnEdge::Started { at_ms }) => {
                self.guessed_ms = self.clock_ms;
                self.keep_last(self.clock_ms - at_ms);
                Some(Heard::Started { at_ms })
            }
            Some(TurnEdge::Stopped { at_ms }) => {
                let sound = std::mem::take(&mut self.buffer);
                Some(Heard::Stopped { at_ms, sound })
            }
            None => {
                self.keep_last(TURN_MAX_MS);
                None
            }
        }
    }

    fn keep_last(&mut self, ms: u64) {
        let kept = samples_of(ms);
        // Moving the buffer once a second is cheaper than at every frame.
        if self.buffer.len() > kept && (ms < TURN_MAX_MS || self.buffer.len() > kept + SECOND) {
            self.buffer.drain(..self.buffer.len() - kept);
        }
    }

    fn forget_turn(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.reset(self.clock_ms);
        }
    }
}

fn ms_of(samples: usize) -> u64 {
    samples as u64 * 1000 / SECOND as u64
}

fn samples_of(ms: u64) -> usize {
    usize::try_from(ms).unwrap_or(usize::MAX).saturating_mul(SECOND / 1000)
}

/// The rate of what was heard, in samples a second.
pub(super) const RATE: u32 = 16_000;
const SECOND: usize = RATE as usize;
/// The protocol's own bound.
const COMMIT_MIN_MS: u64 = 100;
/// A guess costs a tenth of the speech it looks at, or less.
const GUESS_EVERY_MS: u64 = 700;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Converter;

    #[test]
    fn an_ear_costs_nothing_until_there_is_something_to_hear() {
        let mut ear = Ear::new(Some(Detection::default()));
        ear.clear();
        assert!(ear.senses.is_none() && ear.buffer.capacity() == 0);
    }

    #[test]
    fn a_recorded_question_is_one_turn() {
        let mut ear = Ear::new(Some(Detection::default()));
        let heard = ear.push(&with_silence("what-time-is-it"));
        let [Heard::Started { at_ms: start }, Heard::Stopped { at_ms: end, sound }] = &heard[..]
        else {
            panic!("{heard:?}");
        };
        assert!(*start <= 300 && (1900..2700).contains(end), "{start} to {end}");
        assert_eq!(ms_of(sound.len()), end - start);
    }

    #[test]
    fn silence_before_a_turn_is_forgotten() {
        let mut ear = Ear::new(Some(Detection::default()));
        assert_eq!(ear.push(&vec![0; 24_000 * 120]), []);
        assert!(ms_of(ear.buffer.len()) <= TURN_MAX_MS + 1000);
        let heard = ear.push(&with_silence("goodbye"));
        assert!(matches!(heard[0], Heard::Started { at_ms } if at_ms > 119_900), "{heard:?}");
    }

    #[test]
    fn without_detection_a_turn_is_what_is_committed() {
        let mut ear = Ear::new(None);
        assert_eq!(ear.push(&with_silence("goodbye")), []);
        assert!(ear.commit().unwrap().len() > SECOND);
        assert_eq!(ear.commit(), Err(TooShort { buffered_ms: 0 }));
    }

    #[test]
    fn clearing_takes_back_what_was_not_committed() {
        let mut ear = Ear::new(None);
        ear.push(&vec![7; 24_000]);
        ear.clear();
        ear.push(&[7; 2399]);
        assert_eq!(ear.commit(), Err(TooShort { buffered_ms: 80 }));
    }

    #[test]
    fn unfinished_speech_is_worth_a_guess_now_and_then() {
        let mut ear = Ear::new(Some(Detection::default()));
        let mut guesses = 0;
        for frame in with_silence("repeat-after-me").chunks(480) {
            ear.push(frame);
            guesses += usize::from(ear.unfinished().is_some());
        }
        assert!((3..=5).contains(&guesses), "{guesses}");
    }

    fn with_silence(name: &str) -> Vec<i16> {
        let path = format!("fixtures/audio/{name}-16000hz-16bit-mono.wav");
        let samples = hound::WavReader::open(path).unwrap().into_samples::<i16>();
        let samples: Vec<i16> = samples.map(Result::unwrap).collect();
        let mut converter = Converter::new(16_000, 24_000).unwrap();
        let mut sound = Vec::new();
        converter.convert(&samples, &mut sound);
        converter.flush(&mut sound);
        sound.extend(vec![0; 24_000]);
        sound
    }
}
