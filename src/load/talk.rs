//! What callers and the model say: recorded once, encoded once, shared by all calls.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::level::{AUDIBLE, FRAME_SAMPLES, level};
use crate::media::{
    CodecError, Converter, Decoder, Encoder, Frame24k, HOUSE_RATE, MalformedPayload, RateError,
};
use crate::models::wire::pcm_to_base64;

/// The recordings could not be made into speech; a build that works once works always.
#[derive(Debug, Error)]
pub enum TalkError {
    /// A recording is no WAV.
    #[error("a recording cannot be read: {0}")]
    Wav(#[from] hound::Error),
    /// Its rate cannot be converted.
    #[error("a recording cannot be resampled: {0}")]
    Rate(#[from] RateError),
    /// There is no codec.
    #[error("a recording cannot be encoded: {0}")]
    Codec(#[from] CodecError),
    /// The codec does not understand itself.
    #[error("a recording cannot be decoded again: {0}")]
    Payload(#[from] MalformedPayload),
}

/// Everything that callers say.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) sentences: Vec<Sentence>,
    /// A packet of silence, as browsers send between sentences.
    pub(super) silence: Arc<[u8]>,
}

/// One sentence, from just before its first sound to just after its last.
#[derive(Debug)]
pub(super) struct Sentence {
    /// Opus, 20 ms each.
    pub(super) packets: Vec<Arc<[u8]>>,
    /// How loud each packet is once decoded.
    pub(super) levels: Vec<u16>,
    /// The packet with which it becomes audible.
    pub(super) onset: usize,
}

impl Talk {
    /// Reads and encodes the recordings.
    pub(super) fn prepare() -> Result<Self, TalkError> {
        let sentences = RECORDINGS.iter().map(|wav| Sentence::of(&read(wav)?));
        let sentences = sentences.collect::<Result<_, _>>()?;
        let silence = encode(&[Frame24k::SILENCE; SETTLING])?.pop().unwrap_or_default();
        Ok(Self { sentences, silence: silence.as_ref().into() })
    }
}

impl Sentence {
    fn of(samples: &[i16]) -> Result<Self, TalkError> {
        // The codec is used to silence when speech begins, as on any line.
        let quiet = [Frame24k::SILENCE; SETTLING];
        let spoken: Vec<Frame24k> = frames(samples).collect();
        let frames: Vec<_> = quiet.iter().chain(&spoken).chain(&quiet[..TAIL]).copied().collect();
        let packets = encode(&frames)?;
        let levels = levels_of(&packets)?;
        let audible = |level: &u16| *level >= AUDIBLE;
        let first = levels.iter().position(audible).unwrap_or(SETTLING);
        let last = levels.iter().rposition(audible).unwrap_or(first);
        let start = first.saturating_sub(LEAD);
        let range = start..(last + 1 + TAIL).min(packets.len());
        Ok(Self {
            packets: packets[range.clone()].iter().map(|packet| packet.as_ref().into()).collect(),
            levels: levels[range].to_vec(),
            onset: first - start,
        })
    }
}

/// The model's answer: sound of a fixed length, cut into deltas.
#[derive(Debug)]
pub(super) struct Answer {
    /// Base64 of 100 ms each; the last may be shorter.
    pub(super) deltas: Vec<String>,
    /// How long it is in all, in samples at 24 kHz.
    pub(super) samples: usize,
}

/// How long each delta lasts.
pub(super) const DELTA_MS: u64 = 100;

impl Answer {
    /// Speech of `ms` milliseconds that begins at once, and is never quite silent: every packet of
    /// it must be worth sending. It runs backwards: callers who say the very sound that they hear
    /// are taken for its echo.
    pub(super) fn of(ms: u64) -> Result<Self, TalkError> {
        let mut speech = Vec::new();
        for wav in RECORDINGS {
            let samples = read(wav)?;
            let loud = |frame: &[i16]| level(frame) >= AUDIBLE;
            speech.extend(samples.chunks(FRAME_SAMPLES).filter(|frame| loud(frame)).flatten());
        }
        speech.reverse();
        let samples = usize::try_from(ms * u64::from(HOUSE_RATE) / 1_000).unwrap_or(usize::MAX);
        let sound: Vec<i16> = speech.iter().copied().cycle().take(samples).collect();
        let delta = usize::try_from(DELTA_MS).unwrap_or(1) * 24;
        let deltas = sound.chunks(delta).map(pcm_to_base64).collect();
        Ok(Self { deltas, samples })
    }
}

fn read(wav: &[u8]) -> Result<Vec<i16>, TalkError> {
    let mut wav = hound::WavReader::new(wav)?;
    let mut converter = Converter::new(wav.spec().sample_rate, HOUSE_RATE)?;
    let samples: Vec<i16> = wav.samples().collect::<Result<_, _>>()?;
    let mut converted = Vec::new();
    converter.convert(&samples, &mut converted);
    converter.flush(&mut converted);
    Ok(converted)
}

/// A sentence from its first loud sound on.
pub(super) fn speech() -> Result<Vec<Frame24k>, TalkError> {
    let samples = read(RECORDINGS[0])?;
    Ok(frames(&samples).skip_while(|frame| frame.level() < LOUD).collect())
}

fn frames(samples: &[i16]) -> impl Iterator<Item = Frame24k> {
    let (whole, _) = samples.as_chunks::<FRAME_SAMPLES>();
    whole.iter().copied().map(Frame24k::new)
}

fn encode(frames: &[Frame24k]) -> Result<Vec<Bytes>, TalkError> {
    let mut encoder = Encoder::new()?;
    Ok(frames.iter().map(|frame| encoder.encode(frame)).collect())
}

fn levels_of(packets: &[Bytes]) -> Result<Vec<u16>, TalkError> {
    let mut decoder = Decoder::new()?;
    let mut levels = Vec::with_capacity(packets.len());
    for packet in packets {
        decoder.decode(packet)?;
        levels.extend(std::iter::from_fn(|| decoder.pull()).map(|frame| level(&frame[..])));
    }
    Ok(levels)
}

/// What is said: one voice per caller would be no different for a gateway.
const RECORDINGS: [&[u8]; 4] = [
    include_bytes!("../../fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav"),
    include_bytes!("../../fixtures/audio/tell-me-the-weather-in-paris-16000hz-16bit-mono.wav"),
    include_bytes!("../../fixtures/audio/my-name-is-16000hz-16bit-mono.wav"),
    include_bytes!("../../fixtures/audio/what-is-my-name-16000hz-16bit-mono.wav"),
];

/// Speech has begun, by the mean of its samples.
const LOUD: u32 = 500;

/// Packets of silence before the codec is used to it.
const SETTLING: usize = 25;
/// Packets of a sentence before its first sound, and after its last.
const LEAD: usize = 2;
const TAIL: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_becomes_audible_at_its_onset_and_ends_in_silence() {
        let talk = Talk::prepare().unwrap();
        assert_eq!(talk.sentences.len(), RECORDINGS.len());
        for sentence in &talk.sentences {
            assert_eq!(sentence.packets.len(), sentence.levels.len());
            assert_eq!(sentence.onset, LEAD);
            assert!(sentence.levels[LEAD] >= AUDIBLE);
            assert!(sentence.levels[..LEAD].iter().all(|level| *level < AUDIBLE));
            assert!(sentence.levels.ends_with(&[]) && *sentence.levels.last().unwrap() < AUDIBLE);
        }
    }

    #[test]
    fn silence_is_a_packet_of_silence() {
        let talk = Talk::prepare().unwrap();
        let levels = levels_of(&[talk.silence.to_vec().into()]).unwrap();
        assert!(!talk.silence.is_empty() && levels[0] < 20, "{levels:?}");
    }

    #[test]
    fn an_answer_has_the_length_that_was_asked_for_and_is_loud_from_the_start() {
        let answer = Answer::of(1_250).unwrap();
        assert_eq!((answer.samples, answer.deltas.len()), (30_000, 13));
        let mut decoder = crate::models::wire::PcmDecoder::default();
        let first = decoder.decode(&answer.deltas[0]).unwrap();
        assert!(first.chunks(FRAME_SAMPLES).all(|frame| level(frame) > AUDIBLE / 2));
    }
}
