//! The agent's speech that has not left yet, by utterance, and how much of each was heard.

use std::collections::VecDeque;

use thiserror::Error;

use super::frame::{Frame24k, ms_of_24k};
use crate::ids::UtteranceId;

/// Queues speech by utterance and gives it out frame by frame.
///
/// Utterances play in the order in which they began. One that begins ends the one before: what
/// comes late for an utterance that has ended, played out or was flushed is dropped and counted.
#[derive(Debug)]
pub struct Playout {
    utterances: VecDeque<Utterance>,
    samples: VecDeque<i16>,
    closed: VecDeque<UtteranceId>,
    late_samples: u64,
}

/// A frame on its way out.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayoutFrame {
    /// The utterance it is part of.
    pub utterance: UtteranceId,
    /// Whether the utterance begins with it.
    pub is_first: bool,
    /// The sound; the last frame of an utterance may end in silence.
    pub frame: Frame24k,
}

/// An utterance that was cut off, or dropped before it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The utterance.
    pub utterance: UtteranceId,
    /// How many of its samples left, at 24 kHz.
    pub heard_samples: u64,
    /// How many of its samples had come, at 24 kHz.
    pub received_samples: u64,
}

impl Flushed {
    /// How much of it was heard, in milliseconds.
    #[must_use]
    pub const fn heard_ms(&self) -> u64 {
        ms_of_24k(self.heard_samples)
    }

    /// How much of it had come, in milliseconds.
    #[must_use]
    pub const fn received_ms(&self) -> u64 {
        ms_of_24k(self.received_samples)
    }
}

/// More speech waits than is taken: [`UNHEARD_MAX_SECONDS`] of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than {UNHEARD_MAX_SECONDS} seconds of speech wait to be heard")]
pub struct Flooded;

#[derive(Debug)]
struct Utterance {
    id: UtteranceId,
    received: u64,
    heard: u64,
    ended: bool,
}

impl Playout {
    /// A queue without speech.
    #[must_use]
    pub fn new() -> Self {
        Self {
            utterances: VecDeque::new(),
            samples: VecDeque::new(),
            closed: VecDeque::with_capacity(CLOSED_CAPACITY),
            late_samples: 0,
        }
    }

    /// Takes more of an utterance, any number of samples at 24 kHz. If they are too many, none
    /// is taken.
    pub fn push(&mut self, utterance: &UtteranceId, samples: &[i16]) -> Result<(), Flooded> {
        if samples.is_empty() {
            return Ok(());
        }
        if self.has_ended(utterance) {
            self.late_samples += samples.len() as u64;
            return Ok(());
        }
        if self.samples.len() + samples.len() > PLAYOUT_CAPACITY {
            return Err(Flooded);
        }
        if self.utterances.back().is_none_or(|last| last.id != *utterance) {
            self.begin(utterance);
        }
        if let Some(last) = self.utterances.back_mut() {
            last.received += samples.len() as u64;
            self.samples.extend(samples);
        }
        Ok(())
    }

    /// No more will come of this utterance. Unknown utterances have nothing to end.
    pub fn finish(&mut self, utterance: &UtteranceId) {
        if let Some(last) = self.utterances.back_mut().filter(|last| last.id == *utterance) {
            last.ended = true;
        }
    }

    /// Whether a frame can be pulled. An utterance that has not ended gives only whole frames.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.playing().is_some()
    }

    /// Takes the next frame out: from here on it counts as heard.
    pub fn pull(&mut self) -> Option<PlayoutFrame> {
        let index = self.playing()?;
        let playing = &mut self.utterances[index];
        let count = playing.unheard().min(Frame24k::SAMPLES);
        let is_first = playing.heard == 0;
        playing.heard += count as u64;
        let mut frame = Frame24k::SILENCE;
        for (place, sample) in frame.iter_mut().zip(self.samples.drain(..count)) {
            *place = sample;
        }
        Some(PlayoutFrame { utterance: playing.id.clone(), is_first, frame })
    }

    /// Tells of the next utterance that has been heard to its end, and how many samples it had.
    pub fn poll_finished(&mut self) -> Option<(UtteranceId, u64)> {
        let first = self.utterances.front()?;
        if !first.ended || first.unheard() > 0 {
            return None;
        }
        let first = self.utterances.pop_front()?;
        self.close(first.id.clone());
        self.give_back_memory();
        Some((first.id, first.heard))
    }

    /// Drops all that waits at once; tells of each utterance what became of it, in their order.
    pub fn flush(&mut self) -> impl Iterator<Item = Flushed> {
        self.samples.clear();
        self.give_back_memory();
        for index in 0..self.utterances.len() {
            self.close(self.utterances[index].id.clone());
        }
        self.utterances.drain(..).map(|utterance| Flushed {
            utterance: utterance.id,
            heard_samples: utterance.heard,
            received_samples: utterance.received,
        })
    }

    /// How many samples came too late for their utterance.
    #[must_use]
    pub const fn late_samples(&self) -> u64 {
        self.late_samples
    }

    fn begin(&mut self, utterance: &UtteranceId) {
        if let Some(last) = self.utterances.back_mut() {
            last.ended = true;
        }
        let id = utterance.clone();
        self.utterances.push_back(Utterance { id, received: 0, heard: 0, ended: false });
    }

    fn has_ended(&self, utterance: &UtteranceId) -> bool {
        self.closed.contains(utterance)
            || self.utterances.iter().any(|known| known.id == *utterance && known.ended)
    }

    /// The first utterance with something unheard, if a frame of it can go out.
    fn playing(&self) -> Option<usize> {
        let index = self.utterances.iter().position(|utterance| utterance.unheard() > 0)?;
        let first = &self.utterances[index];
        (first.ended || first.unheard() >= Frame24k::SAMPLES).then_some(index)
    }

    fn close(&mut self, utterance: UtteranceId) {
        if self.closed.len() == CLOSED_CAPACITY {
            self.closed.pop_front();
        }
        self.closed.push_back(utterance);
    }

    fn give_back_memory(&mut self) {
        if self.samples.is_empty() && self.samples.capacity() > KEPT_SAMPLES {
            self.samples.shrink_to(KEPT_SAMPLES);
        }
    }
}

impl Default for Playout {
    fn default() -> Self {
        Self::new()
    }
}

impl Utterance {
    fn unheard(&self) -> usize {
        usize::try_from(self.received - self.heard).unwrap_or(usize::MAX)
    }
}

/// How much unheard speech is taken, in seconds.
pub const UNHEARD_MAX_SECONDS: usize = 60;

/// Samples that may wait: [`UNHEARD_MAX_SECONDS`] at 24 kHz.
///
/// When full: what comes is refused as [`Flooded`], and the model has failed.
const PLAYOUT_CAPACITY: usize = UNHEARD_MAX_SECONDS * 24_000;

/// Utterances remembered after their end, to know what comes late.
///
/// When full: the oldest is forgotten; no model speaks so many past one another.
const CLOSED_CAPACITY: usize = 16;

/// Memory kept between utterances: room for ten seconds.
const KEPT_SAMPLES: usize = 10 * 24_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_of_any_size_comes_out_in_whole_frames() {
        let mut playout = Playout::new();
        let spoken: Vec<i16> = (0..2400).collect();
        let mut heard = Vec::new();
        for piece in spoken.chunks(77) {
            playout.push(&id("a"), piece).unwrap();
            heard.extend(std::iter::from_fn(|| playout.pull()).flat_map(|out| *out.frame));
        }
        assert_eq!(heard, spoken);
    }

    #[test]
    fn an_utterance_that_has_not_ended_waits_for_a_whole_frame() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[5; 479]).unwrap();
        assert!(!playout.has_frame());
        assert_eq!(playout.pull(), None);
        playout.push(&id("a"), &[6]).unwrap();
        assert!(playout.pull().is_some_and(|out| out.is_first && out.frame[479] == 6));
    }

    #[test]
    fn the_last_frame_is_padded_and_the_padding_is_not_heard() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[5; 500]).unwrap();
        playout.finish(&id("a"));
        playout.pull().expect("a whole frame");
        assert_eq!(playout.poll_finished(), None);
        let last = playout.pull().expect("a part of a frame");
        assert!(!last.is_first);
        assert_eq!((last.frame[19], last.frame[20]), (5, 0));
        assert_eq!(playout.poll_finished(), Some((id("a"), 500)));
    }

    #[test]
    fn utterances_play_in_order_and_each_begins_with_a_frame() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[1; 500]).unwrap();
        playout.push(&id("b"), &[2; 480]).unwrap();
        let frames: Vec<_> = std::iter::from_fn(|| playout.pull())
            .map(|out| (out.utterance, out.is_first, out.frame[0]))
            .collect();
        assert_eq!(frames, [(id("a"), true, 1), (id("a"), false, 1), (id("b"), true, 2)]);
        assert_eq!(playout.poll_finished(), Some((id("a"), 500)));
        assert_eq!(playout.poll_finished(), None);
    }

    #[test]
    fn a_flush_in_mid_utterance_knows_what_was_heard_to_the_sample() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![1; 12_345]).unwrap();
        playout.push(&id("b"), &[2; 100]).unwrap();
        for _ in 0..7 {
            playout.pull().expect("speech waits");
        }
        let flushed: Vec<_> = playout.flush().collect();
        let expected = |name, heard_samples, received_samples| Flushed {
            utterance: id(name),
            heard_samples,
            received_samples,
        };
        assert_eq!(flushed, [expected("a", 7 * 480, 12_345), expected("b", 0, 100)]);
        assert_eq!((flushed[0].heard_ms(), flushed[0].received_ms()), (140, 514));
        assert_eq!(playout.pull(), None);
        assert_eq!(playout.flush().count(), 0);
    }

    #[test]
    fn what_comes_late_for_a_flushed_or_finished_utterance_is_dropped() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[1; 960]).unwrap();
        drop(playout.flush());
        playout.push(&id("a"), &[1; 960]).unwrap();
        assert!(!playout.has_frame());
        playout.push(&id("b"), &[2; 480]).unwrap();
        playout.finish(&id("b"));
        playout.push(&id("b"), &[2; 480]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 1);
        assert_eq!(playout.late_samples(), 960 + 480);
    }

    #[test]
    fn sixty_seconds_are_taken_and_not_a_sample_more() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![1; 60 * 24_000]).unwrap();
        assert_eq!(playout.push(&id("a"), &[1]), Err(Flooded));
        playout.pull().expect("speech waits");
        playout.push(&id("a"), &[1; 480]).unwrap();
    }

    #[test]
    fn memory_of_a_long_answer_is_given_back() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![1; 60 * 24_000]).unwrap();
        drop(playout.flush());
        assert!(playout.samples.capacity() < 2 * KEPT_SAMPLES);
    }

    fn id(name: &str) -> UtteranceId {
        UtteranceId::new(name)
    }
}
