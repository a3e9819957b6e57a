//! The agent's speech that has not left yet, by utterance, and how much of each was heard.

use std::collections::VecDeque;

use thiserror::Error;

use super::frame::{Frame24k, ms_of_24k};
use crate::ids::UtteranceId;

/// Queues speech by utterance and gives it out frame by frame.
///
/// Utterances play in the order in which they began. One that begins ends the one before: what
/// comes late for an utterance that has ended, played out or was flushed is dropped and counted.
///
/// An utterance that begins when nothing waits begins with its first sound: silence before it is
/// left out, up to [`TRIMMED_MAX_SECONDS`] of it and but for the last [`LEAD_IN_MS`]. One that
/// begins while another waits follows it directly, with the pause that the model has put there.
///
/// This is the ledger of what was heard. Of each utterance, at any time, the first `trimmed`
/// samples that the model has sent were left out, the next `heard` samples have left, and the rest
/// of those `received` waits.
#[derive(Debug)]
pub struct Playout {
    utterances: VecDeque<Utterance>,
    samples: VecDeque<i16>,
    closed: VecDeque<UtteranceId>,
    late_samples: u64,
    trims_silence: bool,
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
    /// How many samples of it are the utterance's; the others are that silence.
    pub samples: usize,
}

/// An utterance that was cut off, or dropped before it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The utterance.
    pub utterance: UtteranceId,
    /// How many of its samples left, at 24 kHz.
    pub heard_samples: u64,
    /// How many samples of silence before them were left out, at 24 kHz.
    pub trimmed_samples: u64,
    /// How many of its samples had come, at 24 kHz.
    pub received_samples: u64,
    /// Whether all of it had come.
    pub is_complete: bool,
}

impl Flushed {
    /// How much of it was heard, in milliseconds.
    #[must_use]
    pub const fn heard_ms(&self) -> u64 {
        ms_of_24k(self.heard_samples)
    }

    /// Where it was cut, in milliseconds of the sound as it had come.
    #[must_use]
    pub const fn end_ms(&self) -> u64 {
        ms_of_24k(self.trimmed_samples + self.heard_samples)
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
    trimmed: u64,
    heard: u64,
    /// It has not come to its first sound, and gives no frame until it has.
    is_leading: bool,
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
            trims_silence: true,
        }
    }

    /// Whether utterances that begin from here on begin with their first sound.
    pub const fn set_trims_silence(&mut self, trims_silence: bool) {
        self.trims_silence = trims_silence;
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
            last.trim(&mut self.samples, samples.len());
        }
        Ok(())
    }

    /// No more will come of this utterance. Unknown utterances have nothing to end.
    pub fn finish(&mut self, utterance: &UtteranceId) {
        if let Some(last) = self.utterances.back_mut().filter(|last| last.id == *utterance) {
            last.end();
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
        Some(PlayoutFrame { utterance: playing.id.clone(), is_first, frame, samples: count })
    }

    /// How many samples wait to be heard.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.samples.len()
    }

    /// Whether all is there of the utterance that is to be heard next.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let next = self.utterances.iter().find(|utterance| utterance.unheard() > 0);
        next.is_some_and(|utterance| utterance.ended)
    }

    /// Whether an utterance was heard in part and goes on, but too little of it is there.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        let last = self.utterances.back();
        last.is_some_and(|last| last.heard > 0 && !last.ended) && !self.has_frame()
    }

    /// The next samples of the utterance that is heard, without taking them out; so many as are
    /// there.
    pub fn peek<const N: usize>(&self, into: &mut [i16; N]) -> usize {
        let Some(heard) = self.utterances.iter().find(|utterance| utterance.unheard() > 0) else {
            return 0;
        };
        let count = if heard.heard > 0 { heard.unheard().min(N) } else { 0 };
        for (place, sample) in into.iter_mut().zip(self.samples.range(..count)) {
            *place = *sample;
        }
        count
    }

    /// Whether an utterance has been heard to its end, and that is not told yet.
    #[must_use]
    pub fn has_finished(&self) -> bool {
        self.utterances.front().is_some_and(|first| first.ended && first.unheard() == 0)
    }

    /// Tells of the next utterance that has been heard to its end, and how many samples of it were
    /// heard.
    pub fn poll_finished(&mut self) -> Option<(UtteranceId, u64)> {
        if !self.has_finished() {
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
            trimmed_samples: utterance.trimmed,
            received_samples: utterance.received,
            is_complete: utterance.ended,
        })
    }

    /// How many samples came too late for their utterance.
    #[must_use]
    pub const fn late_samples(&self) -> u64 {
        self.late_samples
    }

    fn begin(&mut self, utterance: &UtteranceId) {
        if let Some(last) = self.utterances.back_mut() {
            last.end();
        }
        self.utterances.push_back(Utterance {
            id: utterance.clone(),
            received: 0,
            trimmed: 0,
            heard: 0,
            is_leading: self.trims_silence && self.samples.is_empty(),
            ended: false,
        });
    }

    fn has_ended(&self, utterance: &UtteranceId) -> bool {
        self.closed.contains(utterance)
            || self.utterances.iter().any(|known| known.id == *utterance && known.ended)
    }

    /// The first utterance with something unheard, if a frame of it can go out.
    fn playing(&self) -> Option<usize> {
        let index = self.utterances.iter().position(|utterance| utterance.unheard() > 0)?;
        let first = &self.utterances[index];
        let has_frame = first.ended || first.unheard() >= Frame24k::SAMPLES;
        (has_frame && !first.is_leading).then_some(index)
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
        usize::try_from(self.received - self.trimmed - self.heard).unwrap_or(usize::MAX)
    }

    /// No more comes. What had no sound until here is short now, and is played: so whatever
    /// finishes has also started.
    const fn end(&mut self) {
        self.ended = true;
        self.is_leading = false;
    }

    /// Looks for the first sound in what has just come, the last `count` of those that wait, and
    /// leaves out what lies before it. All that waits is of this utterance while it is leading.
    fn trim(&mut self, waiting: &mut VecDeque<i16>, count: usize) {
        if !self.is_leading {
            return;
        }
        let new = waiting.len() - count;
        let is_sound = |sample: &i16| sample.unsigned_abs() >= SOUND_PEAK;
        let sound = waiting.range(new..).position(is_sound).map(|at| new + at);
        let silent = sound.unwrap_or(waiting.len());
        let most = TRIMMED_MAX_SAMPLES - usize::try_from(self.trimmed).unwrap_or(0);
        let out = silent.saturating_sub(LEAD_IN_SAMPLES).min(most);
        waiting.drain(..out);
        self.trimmed += out as u64;
        self.is_leading = sound.is_none() && out < most;
    }
}

/// The most silence that is left out before an utterance. A model that is silent for longer means
/// it, and what follows is played as it is.
pub const TRIMMED_MAX_SECONDS: usize = 2;

/// So much of the silence stays, for the soft beginning of the first sound. Voices that begin with
/// a breath or an `f` are quieter than `SOUND_PEAK` for 20 to 40 ms.
pub const LEAD_IN_MS: usize = 40;

const TRIMMED_MAX_SAMPLES: usize = TRIMMED_MAX_SECONDS * 24_000;

const LEAD_IN_SAMPLES: usize = LEAD_IN_MS * 24;

/// A sample of this height is sound: 42 dB below full scale. The noise that synthetic voices have
/// in their silence stays below 48 dB, and their speech peaks above 10 dB.
const SOUND_PEAK: u16 = 260;

/// How much unheard speech is taken, in seconds: the longest answer that models give (4,096 tokens
/// of 50 ms), all at once.
pub const UNHEARD_MAX_SECONDS: usize = 240;

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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn speech_of_any_size_comes_out_in_whole_frames() {
        let mut playout = Playout::new();
        let spoken: Vec<i16> = (1000..3400).collect();
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
        playout.push(&id("a"), &[905; 479]).unwrap();
        assert!(!playout.has_frame());
        assert_eq!(playout.pull(), None);
        playout.push(&id("a"), &[906]).unwrap();
        assert!(playout.pull().is_some_and(|out| out.is_first && out.frame[479] == 906));
    }

    #[test]
    fn the_last_frame_is_padded_and_the_padding_is_not_heard() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[905; 500]).unwrap();
        playout.finish(&id("a"));
        playout.pull().expect("a whole frame");
        assert_eq!(playout.poll_finished(), None);
        let last = playout.pull().expect("a part of a frame");
        assert!(!last.is_first);
        assert_eq!((last.frame[19], last.frame[20]), (905, 0));
        assert_eq!(playout.poll_finished(), Some((id("a"), 500)));
    }

    #[test]
    fn utterances_play_in_order_and_each_begins_with_a_frame() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[901; 500]).unwrap();
        playout.push(&id("b"), &[902; 480]).unwrap();
        let frames: Vec<_> = std::iter::from_fn(|| playout.pull())
            .map(|out| (out.utterance, out.is_first, out.frame[0]))
            .collect();
        assert_eq!(frames, [(id("a"), true, 901), (id("a"), false, 901), (id("b"), true, 902)]);
        assert_eq!(playout.poll_finished(), Some((id("a"), 500)));
        assert_eq!(playout.poll_finished(), None);
    }

    #[test]
    fn a_flush_in_mid_utterance_knows_what_was_heard_to_the_sample() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![901; 12_345]).unwrap();
        playout.push(&id("b"), &[902; 100]).unwrap();
        for _ in 0..7 {
            playout.pull().expect("speech waits");
        }
        let flushed: Vec<_> = playout.flush().collect();
        let expected = |name, heard_samples, received_samples, is_complete| Flushed {
            utterance: id(name),
            heard_samples,
            trimmed_samples: 0,
            received_samples,
            is_complete,
        };
        let expected = [expected("a", 7 * 480, 12_345, true), expected("b", 0, 100, false)];
        assert_eq!(flushed, expected);
        assert_eq!((flushed[0].heard_ms(), flushed[0].received_ms()), (140, 514));
        assert_eq!(playout.pull(), None);
        assert_eq!(playout.flush().count(), 0);
    }

    #[test]
    fn what_comes_late_for_a_flushed_or_finished_utterance_is_dropped() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[901; 960]).unwrap();
        drop(playout.flush());
        playout.push(&id("a"), &[901; 960]).unwrap();
        assert!(!playout.has_frame());
        playout.push(&id("b"), &[902; 480]).unwrap();
        playout.finish(&id("b"));
        playout.push(&id("b"), &[902; 480]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 1);
        assert_eq!(playout.late_samples(), 960 + 480);
    }

    #[test]
    fn what_follows_can_be_seen_and_stays() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &(1000..1500).collect::<Vec<_>>()).unwrap();
        let mut seen = [0; 60];
        assert_eq!(playout.peek(&mut seen), 0, "it has not begun");
        playout.pull().expect("a whole frame");
        assert_eq!((playout.peek(&mut seen), seen[19], seen[20]), (20, 1499, 0));
        assert_eq!((playout.waiting(), playout.is_complete()), (20, false));
        assert!(playout.is_waited_for());
        playout.finish(&id("a"));
        assert!(playout.is_complete() && !playout.is_waited_for());
        playout.push(&id("b"), &[900; 480]).unwrap();
        assert_eq!(playout.peek(&mut seen), 20, "the next is another's");
    }

    #[test]
    fn four_minutes_are_taken_and_not_a_sample_more() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![901; UNHEARD_MAX_SECONDS * 24_000]).unwrap();
        assert_eq!(playout.push(&id("a"), &[901]), Err(Flooded));
        playout.pull().expect("speech waits");
        playout.push(&id("a"), &[901; 480]).unwrap();
    }

    #[test]
    fn silence_before_an_answer_is_left_out_but_for_its_end() {
        let mut playout = Playout::new();
        for _ in 0..50 {
            playout.push(&id("a"), &[9; 240]).unwrap();
            assert!(!playout.has_frame());
        }
        playout.push(&id("a"), &[9, 9, 3000, 9]).unwrap();
        let first = playout.pull().expect("the first sound leaves at once");
        assert!(first.is_first);
        playout.pull().expect("the rest of the lead-in");
        playout.push(&id("a"), &[7; 480]).unwrap();
        let third = playout.pull().expect("a whole frame");
        assert_eq!(third.frame[..3], [3000, 9, 7]);
        let flushed = playout.flush().next().expect("it had not ended");
        assert_eq!((flushed.trimmed_samples, flushed.heard_samples), (12_002 - 960, 3 * 480));
        assert_eq!((flushed.heard_ms(), flushed.end_ms()), (60, 520));
        assert_eq!(flushed.received_ms(), 520);
    }

    #[test]
    fn a_pause_between_utterances_stays() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[900; 480]).unwrap();
        playout.push(&id("b"), &[0; 4800]).unwrap();
        playout.push(&id("b"), &[900; 480]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 12);
        playout.push(&id("c"), &[0; 4800]).unwrap();
        playout.push(&id("c"), &[900; 480]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 3);
    }

    #[test]
    fn what_is_said_in_one_answer_counts_apart() {
        let mut playout = Playout::new();
        let said: Vec<i16> = [vec![0; 2999], vec![900; 961]].concat();
        for name in ["a", "b"] {
            playout.push(&id(name), &said).unwrap();
            playout.finish(&id(name));
        }
        let heard = loop {
            if let Some((_, heard)) = playout.poll_finished() {
                break heard;
            }
            playout.pull().expect("speech waits");
        };
        assert_eq!(heard, 960 + 961);
        playout.pull().expect("the second begins");
        let flushed = playout.flush().next().expect("the second is cut");
        assert_eq!((flushed.trimmed_samples, flushed.heard_samples), (0, 480));
        assert_eq!((flushed.end_ms(), flushed.received_samples), (20, 3960));
        assert!(flushed.is_complete);
    }

    #[test]
    fn two_seconds_of_silence_are_left_out_and_the_rest_is_meant() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![0; 60_000]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 12_000 / 480);
        let flushed = playout.flush().next().expect("it had not ended");
        assert_eq!((flushed.end_ms(), flushed.heard_ms(), flushed.is_complete), (2500, 500, false));
    }

    #[test]
    fn an_utterance_of_silence_is_short_and_still_starts_and_finishes() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &[0; 9600]).unwrap();
        assert!(!playout.has_frame());
        playout.finish(&id("a"));
        assert!(playout.pull().is_some_and(|out| out.is_first));
        assert!(playout.pull().is_some());
        assert_eq!(playout.poll_finished(), Some((id("a"), 960)));
    }

    #[test]
    fn silence_stays_where_that_is_wanted() {
        let mut playout = Playout::new();
        playout.set_trims_silence(false);
        playout.push(&id("a"), &[0; 4800]).unwrap();
        assert_eq!(std::iter::from_fn(|| playout.pull()).count(), 10);
    }

    #[test]
    fn a_minute_in_three_seconds_is_taken_while_it_is_heard() {
        let mut playout = Playout::new();
        let mut heard = 0;
        for _ in 0..150 {
            playout.push(&id("a"), &[900; 20 * 480]).unwrap();
            heard += usize::from(playout.pull().is_some());
        }
        assert_eq!(heard, 150);
        let flushed = playout.flush().next().expect("it had not ended");
        assert_eq!((flushed.received_ms(), flushed.heard_ms()), (60_000, 3_000));
    }

    proptest! {
        /// Whatever comes in whatever pieces, what is heard of an utterance is what was sent of it,
        /// to the sample, from the end of what was left out on.
        #[test]
        #[expect(clippy::cast_possible_truncation, reason = "the sounds are short")]
        fn nothing_is_lost_or_heard_twice(steps in proptest::collection::vec(step(), 1..60)) {
            let mut playout = Playout::new();
            let mut sent: Vec<Vec<i16>> = vec![Vec::new()];
            let mut heard: Vec<Vec<i16>> = vec![Vec::new()];
            let mut told = Vec::new();
            for step in steps {
                let last = sent.len() - 1;
                match step {
                    Step::Push(length, level) => {
                        let samples: Vec<i16> = sound(sent[last].len(), length, level);
                        playout.push(&number(last), &samples).unwrap();
                        sent[last].extend(samples);
                    }
                    Step::Next => {
                        playout.finish(&number(last));
                        sent.push(Vec::new());
                        heard.push(Vec::new());
                    }
                    Step::Pull(frames) => for _ in 0..frames {
                        let Some(out) = playout.pull() else { break };
                        let of: usize = out.utterance.as_str().parse().unwrap();
                        prop_assert_eq!(out.is_first, heard[of].is_empty());
                        heard[of].extend(&out.frame[..]);
                    },
                    Step::Flush => {
                        told.extend(playout.flush());
                        sent.push(Vec::new());
                        heard.push(Vec::new());
                    }
                }
                while let Some((of, count)) = playout.poll_finished() {
                    let of: usize = of.as_str().parse().unwrap();
                    prop_assert!(heard[of].len() as u64 - count < 480);
                    prop_assert!(sent[of].ends_with(&heard[of][..count as usize]));
                }
            }
            for flushed in told.into_iter().chain(playout.flush()) {
                let of: usize = flushed.utterance.as_str().parse().unwrap();
                let (trimmed, count) = (flushed.trimmed_samples, flushed.heard_samples);
                prop_assert!(trimmed + count <= flushed.received_samples);
                prop_assert_eq!(flushed.received_samples, sent[of].len() as u64);
                let part = trimmed as usize..(trimmed + count) as usize;
                prop_assert_eq!(&sent[of][part], &heard[of][..count as usize]);
                let mut out = sent[of][..trimmed as usize].iter();
                prop_assert!(out.all(|sample| sample.unsigned_abs() < SOUND_PEAK));
            }
        }
    }

    #[test]
    fn memory_of_a_long_answer_is_given_back() {
        let mut playout = Playout::new();
        playout.push(&id("a"), &vec![901; 60 * 24_000]).unwrap();
        drop(playout.flush());
        assert!(playout.samples.capacity() < 2 * KEPT_SAMPLES);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize, i16),
        Next,
        Pull(usize),
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3000_usize, prop_oneof![Just(0_i16), Just(0), Just(1000)])
                .prop_map(|(length, level)| Step::Push(length, level)),
            2 => Just(Step::Next),
            4 => (0..8_usize).prop_map(Step::Pull),
            1 => Just(Step::Flush),
        ]
    }

    /// Samples that tell their place, above this level.
    fn sound(from: usize, length: usize, level: i16) -> Vec<i16> {
        (from..from + length).map(|n| level + i16::try_from(n % 251).unwrap()).collect()
    }

    fn number(n: usize) -> UtteranceId {
        UtteranceId::new(n.to_string())
    }

    fn id(name: &str) -> UtteranceId {
        UtteranceId::new(name)
    }
}
