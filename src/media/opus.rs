//! Opus straight to and from the house rate: decode, rebuild or conceal; encode.

use std::fmt;

use ::opus::packet::get_samples_per_frame;
use ::opus::{Application, Bitrate, Channels, Signal};
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
    /// Tells how many it has made: whole steps of 2.5 ms.
    pub fn conceal(&mut self, samples: usize) -> usize {
        let samples = samples.min(PACKET_SAMPLES_MAX) / PLC_STEP * PLC_STEP;
        if samples > 0 {
            valid(self.opus.decode(&[], self.waiting.room(samples), false));
            self.waiting.end += samples;
        }
        samples
    }

    /// Adds silence, so many samples of it, at most 120 ms; tells how many.
    pub fn rest(&mut self, samples: usize) -> usize {
        let samples = samples.min(PACKET_SAMPLES_MAX);
        self.waiting.room(samples).fill(0);
        self.waiting.end += samples;
        samples
    }

    /// Adds silence up to the end of the frame that is being filled, or a whole frame of it; tells
    /// how many samples.
    pub fn fill_with_silence(&mut self) -> usize {
        self.rest(Frame24k::SAMPLES - self.waiting.len() % Frame24k::SAMPLES)
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
///
/// Where packets arrive, sound is coded in Opus' transform mode (CELT), which costs a third of the
/// speech mode (SILK with CELT above) and is heard as good at this rate. Where packets are lost, it
/// is coded in speech mode with in-band FEC, which that mode alone has: at a loss of 3 % the
/// difference is large. What was measured is in `docs/performance.md`.
///
/// A call begins prepared for loss, since its first words matter and no report has come by then.
/// libopus makes the change from one mode to the other without a join that is heard: it codes the
/// join twice (RFC 6716, section 4.5).
#[derive(Debug)]
pub struct Encoder {
    opus: ::opus::Encoder,
    guard: Guard,
    scratch: Box<[u8; PAYLOAD_MAX]>,
    payloads: PayloadPool,
}

/// Whether packets are made for a way that loses some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Down,
    /// For so many percent of loss, for as long as that is reported.
    Up(u8),
    /// The same, for so many frames more.
    Lowering {
        percent: u8,
        frames_left: u32,
    },
}

impl Guard {
    const fn percent(self) -> u8 {
        match self {
            Self::Down => 0,
            Self::Up(percent) | Self::Lowering { percent, .. } => percent,
        }
    }
}

impl Encoder {
    /// Makes an encoder (25 µs).
    pub fn new() -> Result<Self, CodecError> {
        let opus = ::opus::Encoder::new(RATE, Channels::Mono, Application::Voip)?;
        let (percent, frames_left) = (LOSS_PREPARED_MIN, GUARDED_AT_FIRST);
        let guard = Guard::Lowering { percent, frames_left };
        let (scratch, payloads) = (Box::new([0; PAYLOAD_MAX]), PayloadPool::new());
        let mut encoder = Self { opus, guard, scratch, payloads };
        encoder.set_up()?;
        Ok(encoder)
    }

    /// From here on so many percent of the packets are lost on the way, as receivers report. What
    /// there was is prepared for until 30 s of sound have gone without.
    pub fn set_loss_percent(&mut self, percent: u8) {
        let before = self.guard.percent();
        self.guard = match self.guard {
            _ if percent >= LOSS_HEARD => {
                Guard::Up(percent.clamp(LOSS_PREPARED_MIN, LOSS_PREPARED_MAX))
            }
            Guard::Up(percent) => Guard::Lowering { percent, frames_left: GUARDED_AFTER_LOSS },
            unmoved @ (Guard::Down | Guard::Lowering { .. }) => unmoved,
        };
        if self.guard.percent() != before {
            valid(self.set_up());
        }
    }

    /// The loss that packets are made for, in percent; 0 is none.
    #[must_use]
    pub const fn loss_percent(&self) -> u8 {
        self.guard.percent()
    }

    /// Encodes a frame. The packet is heard 6.5 ms later than its time says (lookahead), in
    /// either mode.
    pub fn encode(&mut self, frame: &Frame24k) -> Bytes {
        if let Guard::Lowering { frames_left, .. } = &mut self.guard {
            *frames_left -= 1;
            if *frames_left == 0 {
                self.guard = Guard::Down;
                valid(self.set_up());
            }
        }
        let length = valid(self.opus.encode(&frame[..], &mut self.scratch[..]));
        self.payloads.put(&self.scratch[..length])
    }

    /// The mode follows from the kind of signal that libopus is told of, and from FEC.
    fn set_up(&mut self) -> Result<(), ::opus::Error> {
        let percent = self.guard.percent();
        let (signal, complexity, bits) = if percent == 0 {
            (Signal::Music, COMPLEXITY, BITS_PER_SECOND)
        } else {
            (Signal::Voice, COMPLEXITY_GUARDED, BITS_PER_SECOND_GUARDED)
        };
        self.opus.set_signal(signal)?;
        self.opus.set_complexity(complexity)?;
        self.opus.set_bitrate(Bitrate::Bits(bits))?;
        self.opus.set_inband_fec(percent > 0)?;
        self.opus.set_packet_loss_perc(i32::from(percent))
    }
}

/// Payloads cut from two blocks in turn, so that none is allocated one by one.
///
/// A block is used again when the last of its payloads is gone. Should one still be held when
/// its block's turn comes, half a second or more later, another block takes its place: one
/// allocation per [`BLOCK_BYTES`] at worst.
#[derive(Debug)]
pub(super) struct PayloadPool {
    current: BytesMut,
    other: BytesMut,
}

impl PayloadPool {
    pub(super) fn new() -> Self {
        let block = || BytesMut::with_capacity(BLOCK_BYTES);
        Self { current: block(), other: block() }
    }

    pub(super) fn put(&mut self, payload: &[u8]) -> Bytes {
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
/// flag of its first frame (RFC 6716, sections 3.1, 3.2 and 4.2.3). It is one frame, however many
/// the packet holds.
#[must_use]
pub fn fec_samples(payload: &[u8]) -> usize {
    let [toc, ..] = payload else { return 0 };
    let celt_only = toc & 0x80 != 0;
    let stereo = toc & 0x04 != 0;
    let (false, Some(first), Ok(samples)) =
        (celt_only, first_frame_byte(payload), get_samples_per_frame(payload, RATE))
    else {
        return 0;
    };
    let silk_frames = (samples / SILK_FRAME_SAMPLES).clamp(1, 3);
    let mid = first >> (7 - silk_frames) & 1 == 1;
    let side = stereo && first >> (6 - 2 * silk_frames) & 1 == 1;
    if mid || side { samples } else { 0 }
}

/// The first byte of a payload's first frame, if that is not empty (RFC 6716, section 3.2).
fn first_frame_byte(payload: &[u8]) -> Option<u8> {
    let (toc, rest) = payload.split_first()?;
    match toc & 0x03 {
        0 | 1 => rest.first().copied(),
        2 => {
            let (length, rest) = frame_length(rest)?;
            rest.first().copied().filter(|_| length > 0)
        }
        _ => {
            let (count, mut rest) = rest.split_first()?;
            if count & 0x40 != 0 {
                rest = after_padding_length(rest)?;
            }
            if count & 0x80 == 0 || count & 0x3f == 1 {
                return rest.first().copied();
            }
            let mut first_length = None;
            for _ in 1..count & 0x3f {
                let (length, after) = frame_length(rest)?;
                first_length.get_or_insert(length);
                rest = after;
            }
            rest.first().copied().filter(|_| first_length.is_some_and(|length| length > 0))
        }
    }
}

/// The length of a frame, which stands in one byte or two, and what follows it.
const fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ 0..=251, rest @ ..] => Some((*short as usize, rest)),
        [low, high, rest @ ..] => Some((*high as usize * 4 + *low as usize, rest)),
        _ => None,
    }
}

/// What follows the length of the padding: bytes of 255 go on, any other ends it.
fn after_padding_length(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().position(|byte| *byte != 255)?;
    bytes.get(last + 1..)
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

/// Room for what waits, a concealed stretch, silence after it, what FEC brings back, and the packet
/// itself.
const PCM_SAMPLES: usize = Frame24k::SAMPLES + 4 * PACKET_SAMPLES_MAX;

/// Concealment comes in steps of 2.5 ms.
const PLC_STEP: usize = 60;

/// A SILK frame lasts 20 ms; a shorter packet holds one short frame.
const SILK_FRAME_SAMPLES: usize = 480;

/// Complexity and rate without loss: as good as speech mode at 32 kb/s by PESQ, better by every
/// other measure, at a third of its effort.
const COMPLEXITY: i32 = 5;
const BITS_PER_SECOND: i32 = 64_000;

/// The same with loss. In speech mode more effort is hardly heard; the rate leaves room for FEC
/// and the tones up to 12 kHz.
const COMPLEXITY_GUARDED: i32 = 1;
const BITS_PER_SECOND_GUARDED: i32 = 48_000;

/// Less loss than this, in percent, is concealed well enough: one packet now and then.
const LOSS_HEARD: u8 = 2;

/// So much loss, in percent, is prepared for at least and at most, if any.
const LOSS_PREPARED_MIN: u8 = 5;
const LOSS_PREPARED_MAX: u8 = 25;

/// For so long, in frames, a call is prepared for loss before any was reported: 5 s of sound, in
/// which the first report comes.
const GUARDED_AT_FIRST: u32 = 250;

/// And for so long after the last loss was reported: 30 s of sound. Loss comes in spells.
const GUARDED_AFTER_LOSS: u32 = 1500;

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
    fn fec_is_seen_wherever_it_is_and_brings_what_it_says() {
        let sound = flat(&speech());
        for (channels, packet_ms, frames_in_one) in [
            (Channels::Mono, 10, 1),
            (Channels::Mono, 20, 1),
            (Channels::Mono, 40, 1),
            (Channels::Mono, 60, 1),
            (Channels::Mono, 20, 2),
            (Channels::Mono, 20, 3),
            (Channels::Mono, 60, 2),
            (Channels::Stereo, 20, 1),
            (Channels::Stereo, 60, 1),
            (Channels::Stereo, 20, 3),
        ] {
            let mut most = 0;
            for bits_per_second in [14_000, 24_000, 40_000] {
                let payloads = with_fec(&sound, channels, packet_ms, bits_per_second);
                let mut decoder = Decoder::new().unwrap();
                let mut brought = 0;
                for packets in payloads.chunks_exact(frames_in_one) {
                    let payload = joined(packets);
                    let samples = fec_samples(&payload);
                    // Wideband packets beyond 20 ms hold frames of 20 ms.
                    assert!([0, 480, packet_ms * 24].contains(&samples), "{samples}");
                    brought += usize::from(samples > 0);
                    assert_eq!(decoder.recover(&payload).unwrap(), samples);
                    while decoder.pull().is_some() {}
                }
                most = most.max(brought * 100 / (payloads.len() / frames_in_one));
            }
            assert!(most > 20, "{channels:?} {packet_ms} {frames_in_one}: {most} %");
        }
    }

    #[test]
    fn broken_payloads_bring_no_fec_and_no_panic() {
        for toc in 0..=255 {
            for rest in [&[][..], &[255], &[255; 3], &[0x41, 255], &[0xC3, 0, 0], &[0xB0, 1]] {
                assert!(fec_samples(&[&[toc], rest].concat()) <= 1440);
            }
        }
        assert_eq!(fec_samples(&[]), 0);
    }

    #[test]
    fn a_call_begins_prepared_for_loss_and_ends_that_when_none_comes() {
        let mut encoder = Encoder::new().unwrap();
        // The last packet in speech mode is the one that codes the join.
        let modes = modes_of(&mut encoder, 300);
        assert_eq!(modes, [(Mode::Speech, 250), (Mode::Transform, 50)]);
        assert_eq!(encoder.loss_percent(), 0);
    }

    #[test]
    fn loss_that_is_reported_is_prepared_for_until_long_after_the_last() {
        let mut encoder = Encoder::new().unwrap();
        modes_of(&mut encoder, 300);
        encoder.set_loss_percent(1);
        assert_eq!(encoder.loss_percent(), 0, "that much is concealed");
        encoder.set_loss_percent(3);
        assert_eq!(encoder.loss_percent(), 5);
        encoder.set_loss_percent(20);
        assert_eq!(modes_of(&mut encoder, 3000), [(Mode::Speech, 3000)], "it lasts");
        encoder.set_loss_percent(0);
        encoder.set_loss_percent(1);
        assert_eq!(modes_of(&mut encoder, 1499), [(Mode::Speech, 1499)]);
        assert_eq!(encoder.loss_percent(), 20);
        assert_eq!(modes_of(&mut encoder, 10), [(Mode::Speech, 1), (Mode::Transform, 9)]);
        assert_eq!(encoder.loss_percent(), 0);
    }

    #[test]
    fn a_change_of_modes_in_mid_sound_does_not_click() {
        let mut encoder = Encoder::new().unwrap();
        let mut decoder = Decoder::new().unwrap();
        let sound = tone(310.0, 9000.0, 480 * 600);
        let (mut last, mut steps) = (0, [0, 0]);
        for (n, samples) in sound.as_chunks::<480>().0.iter().enumerate() {
            if n % 50 == 0 {
                encoder.set_loss_percent(10);
            } else if n % 50 == 25 {
                encoder.guard = Guard::Lowering { percent: 10, frames_left: 1 };
            }
            decoder.decode(&encoder.encode(&Frame24k::new(*samples))).unwrap();
            for sample in *decoder.pull().unwrap() {
                let step = (i32::from(sample) - last).abs();
                let is_join = n % 25 < 3;
                if n > 3 {
                    steps[usize::from(is_join)] = steps[usize::from(is_join)].max(step);
                }
                last = i32::from(sample);
            }
        }
        let [inside, joins] = steps;
        assert!(4 * joins < 5 * inside, "{joins} at joins, {inside} inside");
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

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mode {
        Speech,
        Transform,
    }

    /// The modes of so many packets of speech, and how many of each follow one another.
    fn modes_of(encoder: &mut Encoder, packets: usize) -> Vec<(Mode, usize)> {
        let mut modes: Vec<(Mode, usize)> = Vec::new();
        for frame in speech().iter().cycle().take(packets) {
            let is_transform = encoder.encode(frame)[0] & 0x80 != 0;
            let mode = if is_transform { Mode::Transform } else { Mode::Speech };
            match modes.last_mut().filter(|last| last.0 == mode) {
                Some(last) => last.1 += 1,
                None => modes.push((mode, 1)),
            }
        }
        modes
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

    /// Sound as packets of one frame each, as a browser makes them that was told of losses.
    fn with_fec(sound: &[i16], channels: Channels, ms: usize, bits: i32) -> Vec<Vec<u8>> {
        let mut encoder = raw_encoder(channels);
        encoder.set_inband_fec(true).unwrap();
        encoder.set_packet_loss_perc(20).unwrap();
        encoder.set_bitrate(Bitrate::Bits(bits)).unwrap();
        let copies = if channels == Channels::Stereo { 2 } else { 1 };
        let sound: Vec<i16> =
            sound.iter().flat_map(|sample| std::iter::repeat_n(*sample, copies)).collect();
        let packets = sound.chunks_exact(ms * 24 * copies);
        packets.map(|samples| encoder.encode_vec(samples, PAYLOAD_MAX).unwrap()).collect()
    }

    /// Packets of one frame as one packet, with a frame count byte and lengths (RFC 6716,
    /// section 3.2.5); one of another mode than the first is left as it is.
    fn joined(packets: &[Vec<u8>]) -> Vec<u8> {
        let toc = packets[0][0];
        if packets.len() == 1 || packets.iter().any(|packet| packet[0] != toc) || toc & 3 > 0 {
            return packets[0].clone();
        }
        let mut payload = vec![toc | 0x03, 0x80 | u8::try_from(packets.len()).unwrap()];
        for packet in &packets[..packets.len() - 1] {
            let length = packet.len() - 1;
            if length < 252 {
                payload.push(u8::try_from(length).unwrap());
            } else {
                let low = 252 + (length - 252) % 4;
                payload.push(u8::try_from(low).unwrap());
                payload.push(u8::try_from((length - low) / 4).unwrap());
            }
        }
        for packet in packets {
            payload.extend(&packet[1..]);
        }
        payload
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
