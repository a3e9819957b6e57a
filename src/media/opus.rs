//! Opus straight to and from the house rate: decode, rebuild or conceal; encode.

use std::fmt;

use ::opus::packet::get_samples_per_frame;
use ::opus::{Application, Bitrate, Channels};
use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::frame::Frame24k;
use super::packet::PAYLOAD_MAX;

/// libopus would not give a codec: it is out of memory, or refuses a setting.
#[derive(Debug, Error)]
#[error("libopus gives no codec: {0}")]
pub struct CodecError(#[from] ::opus::Error);

/// A payload is not Opus.
#[derive(Debug, Error)]
#[error("a payload is not Opus: {0}")]
pub struct MalformedPayload(#[from] ::opus::Error);

/// One participant's packets to frames: mono at the house rate, whatever the packets hold.
///
/// Packets of 2.5 to 120 ms go in, whole frames come out; what does not fill a frame waits for
/// the next packet. Pull all frames before the next packet goes in.
#[derive(Debug)]
pub struct Decoder {
    opus: ::opus::Decoder,
    waiting: Waiting,
}

impl Decoder {
    /// Makes a decoder (50 µs, 30 kB).
    pub fn new() -> Result<Self, CodecError> {
        let opus = ::opus::Decoder::new(RATE, Channels::Mono)?;
        Ok(Self { opus, waiting: Waiting::new() })
    }

    /// Decodes a packet, and tells how many samples it held.
    pub fn decode(&mut self, payload: &[u8]) -> Result<usize, MalformedPayload> {
        let room = self.waiting.room(PACKET_SAMPLES_MAX);
        let samples = self.opus.decode(payload, room, false)?;
        self.waiting.end += samples;
        Ok(samples)
    }

    /// Rebuilds the end of what was lost from the packet after it, by in-band FEC (RFC 6716,
    /// section 2.1.7), and tells how many samples that gave: as many as [`fec_samples`] said.
    pub fn recover(&mut self, next_payload: &[u8]) -> Result<usize, MalformedPayload> {
        let samples = fec_samples(next_payload);
        if samples > 0 {
            self.opus.decode(next_payload, self.waiting.room(samples), true)?;
            self.waiting.end += samples;
        }
        Ok(samples)
    }

    /// Makes up what was lost, so many samples of it, at most 120 ms; a guess that fades away.
    pub fn conceal(&mut self, samples: usize) {
        let samples = samples.min(PACKET_SAMPLES_MAX) / PLC_STEP * PLC_STEP;
        if samples > 0 {
            valid(self.opus.decode(&[], self.waiting.room(samples), false));
            self.waiting.end += samples;
        }
    }

    /// Adds silence up to the end of the frame that is being filled, or a whole frame of it.
    pub fn fill_with_silence(&mut self) {
        let samples = Frame24k::SAMPLES - self.waiting.len() % Frame24k::SAMPLES;
        self.waiting.room(samples).fill(0);
        self.waiting.end += samples;
    }

    /// Takes the next whole frame out.
    pub fn pull(&mut self) -> Option<Frame24k> {
        let waiting = &mut self.waiting;
        let (frame, _) = waiting.pcm[waiting.start..waiting.end].split_first_chunk()?;
        waiting.start += Frame24k::SAMPLES;
        Some(Frame24k::new(*frame))
    }

    /// How many whole frames can be pulled.
    #[must_use]
    pub const fn frames_ready(&self) -> usize {
        self.waiting.len() / Frame24k::SAMPLES
    }

    /// Forgets the stream so far, as a new stream begins.
    pub fn reset(&mut self) {
        (self.waiting.start, self.waiting.end) = (0, 0);
        valid(self.opus.reset_state());
    }
}

/// Samples between `start` and `end` wait to be pulled.
struct Waiting {
    pcm: Box<[i16]>,
    start: usize,
    end: usize,
}

impl Waiting {
    fn new() -> Self {
        Self { pcm: vec![0; PCM_SAMPLES].into(), start: 0, end: 0 }
    }

    const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Room for so many samples behind those that wait. If frames were not pulled and there is
    /// too little room, the oldest samples give way.
    fn room(&mut self, samples: usize) -> &mut [i16] {
        let start = self.start + (self.len() + samples).saturating_sub(PCM_SAMPLES);
        self.pcm.copy_within(start..self.end, 0);
        (self.start, self.end) = (0, self.end - start);
        &mut self.pcm[self.end..self.end + samples]
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.len())
    }
}

/// Frames to packets of 20 ms, made for speech.
#[derive(Debug)]
pub struct Encoder {
    opus: ::opus::Encoder,
    scratch: Box<[u8; PAYLOAD_MAX]>,
    payloads: PayloadPool,
}

impl Encoder {
    /// Makes an encoder (25 µs), with in-band FEC on.
    pub fn new() -> Result<Self, CodecError> {
        let mut opus = ::opus::Encoder::new(RATE, Channels::Mono, Application::Voip)?;
        opus.set_complexity(COMPLEXITY)?;
        opus.set_bitrate(Bitrate::Bits(BITS_PER_SECOND))?;
        opus.set_inband_fec(true)?;
        opus.set_packet_loss_perc(LOSS_PERCENT_START)?;
        Ok(Self { opus, scratch: Box::new([0; PAYLOAD_MAX]), payloads: PayloadPool::new() })
    }

    /// Prepares for so many percent of the packets being lost on the way (from receiver
    /// reports); it decides how much of each packet goes into FEC for the one before.
    pub fn set_loss_percent(&mut self, percent: u8) {
        valid(self.opus.set_packet_loss_perc(i32::from(percent.min(100))));
    }

    /// Encodes a frame. The packet is heard 6.5 ms later than its time says (lookahead).
    pub fn encode(&mut self, frame: &Frame24k) -> Bytes {
        let length = valid(self.opus.encode(&frame[..], &mut self.scratch[..]));
        self.payloads.put(&self.scratch[..length])
    }
}

/// Payloads cut from two blocks in turn, so that none is allocated one by one.
///
/// A block is used again when the last of its payloads is gone. Should one still be held when
/// its block's turn comes, half a second or more later, another block takes its place: one
/// allocation per [`BLOCK_BYTES`] at worst.
#[derive(Debug)]
struct PayloadPool {
    current: BytesMut,
    other: BytesMut,
}

impl PayloadPool {
    fn new() -> Self {
        let block = || BytesMut::with_capacity(BLOCK_BYTES);
        Self { current: block(), other: block() }
    }

    fn put(&mut self, payload: &[u8]) -> Bytes {
        if self.current.capacity() < payload.len() {
            std::mem::swap(&mut self.current, &mut self.other);
            if !self.current.try_reclaim(BLOCK_BYTES) {
                self.current = BytesMut::with_capacity(BLOCK_BYTES);
            }
        }
        self.current.extend_from_slice(payload);
        self.current.split().freeze()
    }
}

/// How much of the packet before it, in samples, a payload brings along by FEC: told by the LBRR
/// flag of its first frame (RFC 6716, sections 3.1, 3.2 and 4.2.3). A packet with a frame count
/// byte is taken to bring none.
#[must_use]
pub fn fec_samples(payload: &[u8]) -> usize {
    let [toc, rest @ ..] = payload else { return 0 };
    let celt_only = toc & 0x80 != 0;
    let stereo = toc & 0x04 != 0;
    let ((0 | 1, first_frame)
    | (2, [0..=251, first_frame @ ..] | [252..=255, _, first_frame @ ..])) = (toc & 0x03, rest)
    else {
        return 0;
    };
    let (false, Some(first), Ok(samples)) =
        (celt_only, first_frame.first(), get_samples_per_frame(payload, RATE))
    else {
        return 0;
    };
    let silk_frames = (samples / SILK_FRAME_SAMPLES).clamp(1, 3);
    let mid = first >> (7 - silk_frames) & 1 == 1;
    let side = stereo && first >> (6 - 2 * silk_frames) & 1 == 1;
    if mid || side { samples } else { 0 }
}

/// The outcome of a call that libopus refuses only for sizes or values out of range.
#[expect(clippy::expect_used, reason = "sizes are types and values are checked before")]
fn valid<T>(outcome: Result<T, ::opus::Error>) -> T {
    outcome.expect("libopus takes sizes and values that are in range")
}

/// The house rate, in hertz.
const RATE: u32 = 24_000;

/// The longest packet there is: 120 ms (RFC 6716, section 3.2.5).
const PACKET_SAMPLES_MAX: usize = 2880;

/// Room for what waits, a concealed stretch, what FEC brings back, and the packet itself.
const PCM_SAMPLES: usize = Frame24k::SAMPLES + 3 * PACKET_SAMPLES_MAX;

/// Concealment comes in steps of 2.5 ms.
const PLC_STEP: usize = 60;

/// A SILK frame lasts 20 ms; a shorter packet holds one short frame.
const SILK_FRAME_SAMPLES: usize = 480;

/// Good speech at two thirds of the effort of the best.
const COMPLEXITY: i32 = 5;

/// Wide enough for speech up to 12 kHz with FEC in it.
const BITS_PER_SECOND: i32 = 32_000;

/// The loss prepared for until receiver reports tell better.
const LOSS_PERCENT_START: i32 = 5;

/// At least half a second of payloads.
const BLOCK_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{energy, speech, tone};

    #[test]
    fn speech_survives_the_way_there_and_back() {
        let frames = speech();
        let heard = decode_all(&encode_all(&frames));
        assert_eq!(heard.len(), frames.len());
        let ratio = energy(&flat(&heard)) / energy(&flat(&frames));
        assert!((0.7..1.3).contains(&ratio), "energy ratio {ratio}");
    }

    #[test]
    fn packets_of_any_length_become_whole_frames() {
        for (packet_samples, packets) in [(240, 10), (480, 5), (960, 3), (1440, 2), (2880, 1)] {
            let mut encoder = raw_encoder(Channels::Mono);
            let mut decoder = Decoder::new().unwrap();
            let sound = tone(440.0, 8000.0, packet_samples * packets);
            let mut frames = 0;
            for samples in sound.chunks(packet_samples) {
                let payload = encoder.encode_vec(samples, PAYLOAD_MAX).unwrap();
                assert_eq!(decoder.decode(&payload).unwrap(), packet_samples);
                frames += std::iter::from_fn(|| decoder.pull()).count();
            }
            assert_eq!(frames, packet_samples * packets / Frame24k::SAMPLES);
        }
    }

    #[test]
    fn half_a_frame_waits_and_silence_completes_it() {
        let payload =
            raw_encoder(Channels::Mono).encode_vec(&tone(440.0, 8000.0, 240), 200).unwrap();
        let mut decoder = Decoder::new().unwrap();
        decoder.decode(&payload).unwrap();
        assert_eq!(decoder.pull(), None);
        decoder.fill_with_silence();
        assert_eq!(decoder.pull().expect("a whole frame")[240..], [0; 240]);
        decoder.fill_with_silence();
        assert_eq!(decoder.pull(), Some(Frame24k::SILENCE));
    }

    #[test]
    fn stereo_packets_decode_to_mono() {
        let mono = tone(440.0, 8000.0, 9600);
        let both: Vec<_> = mono.iter().flat_map(|sample| [*sample, *sample]).collect();
        let mut encoder = raw_encoder(Channels::Stereo);
        let mut decoder = Decoder::new().unwrap();
        let mut heard = Vec::new();
        for samples in both.chunks(960) {
            decoder.decode(&encoder.encode_vec(samples, PAYLOAD_MAX).unwrap()).unwrap();
            heard.extend(decoder.pull());
        }
        let ratio = energy(&flat(&heard[5..])) / energy(&mono);
        assert!((0.8..1.2).contains(&ratio), "energy ratio {ratio}");
    }

    #[test]
    fn a_payload_that_is_not_opus_is_an_error_and_harms_nothing() {
        let mut decoder = Decoder::new().unwrap();
        assert!(decoder.decode(&[0xff, 0xff, 0xff]).is_err());
        let payloads = encode_all(&speech()[..3]);
        assert_eq!(decoder.decode(&payloads[0]).unwrap(), 480);
    }

    #[test]
    fn fec_brings_a_lost_frame_back_better_than_concealment_does() {
        let payloads = encode_all(&speech());
        let whole = decode_all(&payloads);
        let (mut by_fec, mut by_concealment, mut lost_frames) = (0.0, 0.0, 0);
        for lost in 10..payloads.len() - 1 {
            if energy(&whole[lost][..]) < 1e5 || fec_samples(&payloads[lost + 1]) == 0 {
                continue;
            }
            lost_frames += 1;
            let mut decoder = decoder_after(&payloads[..lost]);
            assert_eq!(decoder.recover(&payloads[lost + 1]).unwrap(), 480);
            by_fec += difference(&decoder.pull().unwrap(), &whole[lost]);
            let mut decoder = decoder_after(&payloads[..lost]);
            decoder.conceal(480);
            by_concealment += difference(&decoder.pull().unwrap(), &whole[lost]);
        }
        assert!(lost_frames > 20, "FEC was there for {lost_frames} frames only");
        assert!(by_fec < by_concealment / 2.0, "FEC {by_fec}, concealment {by_concealment}");
    }

    #[test]
    fn concealment_goes_on_and_fades_away() {
        let payloads = encode_all(&speech());
        let whole = decode_all(&payloads);
        let loudest = (0..whole.len())
            .max_by(|a, b| energy(&whole[*a][..]).total_cmp(&energy(&whole[*b][..])))
            .unwrap();
        let mut decoder = decoder_after(&payloads[..=loudest]);
        decoder.conceal(480);
        let first = energy(&decoder.pull().unwrap()[..]);
        assert!(first > energy(&whole[loudest][..]) / 10.0);
        for _ in 0..5 {
            decoder.conceal(2880);
            while decoder.frames_ready() > 1 {
                decoder.pull();
            }
        }
        assert!(energy(&decoder.pull().unwrap()[..]) < first / 100.0);
    }

    #[test]
    fn a_payload_block_is_used_again_once_its_payloads_are_gone() {
        let mut pool = PayloadPool::new();
        let mut addresses = std::collections::BTreeSet::new();
        for n in 0..1000_usize {
            let payload = pool.put(&[7; 100]);
            assert_eq!(payload[..], [7; 100]);
            addresses.insert(payload.as_ptr());
            assert!(addresses.len() <= 2 * BLOCK_BYTES / 100, "after {n} payloads");
        }
    }

    #[test]
    fn a_payload_that_is_kept_never_changes() {
        let mut pool = PayloadPool::new();
        let kept: Vec<_> = (0..=255).map(|n| pool.put(&[n; 100])).collect();
        for (n, payload) in (0..=255).zip(kept) {
            assert_eq!(payload[..], [n; 100]);
        }
    }

    fn encode_all(frames: &[Frame24k]) -> Vec<Bytes> {
        let mut encoder = Encoder::new().unwrap();
        encoder.set_loss_percent(20);
        frames.iter().map(|frame| encoder.encode(frame)).collect()
    }

    fn decode_all(payloads: &[Bytes]) -> Vec<Frame24k> {
        let mut decoder = Decoder::new().unwrap();
        let mut decode = |payload: &Bytes| {
            decoder.decode(payload).unwrap();
            decoder.pull().unwrap()
        };
        payloads.iter().map(&mut decode).collect()
    }

    fn decoder_after(payloads: &[Bytes]) -> Decoder {
        let mut decoder = Decoder::new().unwrap();
        for payload in payloads {
            decoder.decode(payload).unwrap();
            decoder.pull().unwrap();
        }
        decoder
    }

    fn raw_encoder(channels: Channels) -> ::opus::Encoder {
        ::opus::Encoder::new(RATE, channels, Application::Voip).unwrap()
    }

    fn flat(frames: &[Frame24k]) -> Vec<i16> {
        frames.iter().flat_map(|frame| frame.to_vec()).collect()
    }

    fn difference(one: &Frame24k, other: &Frame24k) -> f64 {
        let apart: Vec<_> =
            one.iter().zip(other.iter()).map(|(a, b)| a.saturating_sub(*b)).collect();
        energy(&apart)
    }
}
