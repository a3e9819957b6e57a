//! One participant's voice on its way in: packets in any order, frames and edges out at once.

use std::time::{Duration, Instant};

use super::echo::OwnVoice;
use super::frame::{FRAME_MS, Frame24k};
use super::gate::{Duplex, Gate, Passage, Seen};
use super::opus::{CodecError, Decoder, fec_samples};
use super::order::{Before, Order, Ordered};
use super::packet::OpusPacket;
use super::resample::Downsampler;
use super::speech::{Edge, Speech, SpeechConfig};
use super::vad::Vad;

/// Order, decoder and speech detection of one participant in one call.
///
/// A packet that is next in sequence is a frame at once. A gap waits shortly, then is rebuilt or
/// concealed. When packets stop, frames of silence go on, so that whoever listens keeps its clock.
/// After each call that changes it, drain [`Uplink::poll`].
#[derive(Debug)]
pub struct Uplink {
    order: Order,
    decoder: Decoder,
    downsampler: Downsampler,
    vad: Vad,
    gate: Gate,
    speech: Speech,
    now: Instant,
    stream: Stream,
    silence_due: u64,
    stats: UplinkStats,
}

/// What comes out of an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost every output is a frame")]
pub enum UplinkOutput {
    /// The next 20 ms of the participant's voice.
    Frame(Frame24k),
    /// The frame before proves that speech has begun or ended.
    Edge(Edge),
}

/// What an uplink has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkStats {
    /// Packets that did not come in time.
    pub lost: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Streams, the first included.
    pub restarts: u64,
    /// Lost packets that were rebuilt by FEC.
    pub recovered: u64,
    /// Payloads that were not Opus; they were concealed.
    pub malformed: u64,
    /// Frames of silence while no packets came.
    pub silence: u64,
}

/// What is known of the packets so far.
#[derive(Debug)]
enum Stream {
    /// There was none.
    Absent,
    /// The last one was decoded.
    Heard {
        /// The RTP time at which the next one begins, if none is lost and the sender speaks on.
        next_timestamp: u32,
        /// When silence takes the place of the next packet, or of the next silence.
        quiet_at: Instant,
        /// Samples of silence that have taken the place of packets since.
        filled: usize,
    },
}

impl Uplink {
    /// Makes the ear for one participant.
    pub fn new(config: SpeechConfig, now: Instant) -> Result<Self, CodecError> {
        Ok(Self {
            order: Order::new(),
            decoder: Decoder::new()?,
            downsampler: Downsampler::new(),
            vad: Vad::new(),
            gate: Gate::new(Duplex::Full),
            speech: Speech::new(config),
            now,
            stream: Stream::Absent,
            silence_due: 0,
            stats: UplinkStats::default(),
        })
    }

    /// Hears on in this way: how much voice is speech that is meant, and how to speak at once.
    pub fn set_manner(&mut self, sustain: Duration, duplex: Duplex) {
        self.speech.set_sustain(sustain);
        if self.gate.duplex() != duplex {
            self.gate = Gate::new(duplex);
        }
    }

    /// Takes a packet that arrived at `now`.
    pub fn push(&mut self, packet: OpusPacket, now: Instant) {
        self.now = now;
        self.order.push(packet, now);
    }

    /// Gives up a gap, or feeds silence, if [`Uplink::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let gap_is_open = self.order.deadline().is_some();
        let Stream::Heard { quiet_at, filled, .. } = &mut self.stream else { return };
        if gap_is_open || now < *quiet_at {
            return;
        }
        let missed = (now - *quiet_at).as_millis() / FRAME.as_millis();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        *quiet_at += FRAME * missed.saturating_add(1);
        let frames = (u64::from(missed) + 1).min(SILENCE_CATCH_UP_FRAMES);
        *filled = filled.saturating_add(Frame24k::SAMPLES * frames as usize);
        self.silence_due += frames;
    }

    /// When [`Uplink::handle_timeout`] is to be called; `None` before the first packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.order.deadline(), &self.stream) {
            (Some(deadline), _) => Some(deadline),
            (None, Stream::Heard { quiet_at, .. }) => Some(*quiet_at),
            (None, Stream::Absent) => None,
        }
    }

    /// Gives the next frame or edge, where we say nothing ourselves.
    pub fn poll(&mut self) -> Option<UplinkOutput> {
        self.poll_beside(None)
    }

    /// Gives the next frame or edge, beside what we say ourselves. What is not let in for that is
    /// silence.
    pub fn poll_beside(&mut self, mut own: Option<&mut OwnVoice>) -> Option<UplinkOutput> {
        if let Some(edge) = self.speech.poll() {
            return Some(UplinkOutput::Edge(edge));
        }
        loop {
            if let Some(mut frame) = self.decoder.pull() {
                self.listen(&mut frame, own.take());
                return Some(UplinkOutput::Frame(frame));
            }
            if let Some(ordered) = self.order.poll(self.now) {
                self.decode(&ordered);
            } else if self.silence_due > 0 {
                self.silence_due -= 1;
                self.stats.silence += 1;
                self.decoder.fill_with_silence();
            } else {
                return None;
            }
        }
    }

    /// Whether the participant is speaking.
    #[must_use]
    pub const fn is_speaking(&self) -> bool {
        self.speech.is_speaking()
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> UplinkStats {
        let order = self.order.stats();
        UplinkStats {
            lost: order.lost,
            late: order.late,
            duplicate: order.duplicate,
            restarts: order.restarts,
            ..self.stats
        }
    }

    fn listen(&mut self, frame: &mut Frame24k, own: Option<&mut OwnVoice>) {
        let mut voiced = self.vad.is_voice(&self.downsampler.convert(frame));
        let seen = Seen { voiced, speaking: self.speech.is_speaking() };
        let passage = own.map_or(Passage::Open, |own| self.gate.pass(frame, seen, own, self.now));
        if passage != Passage::Open {
            *frame = Frame24k::SILENCE;
            voiced = false;
        }
        if passage == Passage::Closed && seen.speaking {
            return self.speech.end();
        }
        let frames_to_end = u32::try_from(self.decoder.frames_ready() + 1).unwrap_or(u32::MAX);
        let began = self.now.checked_sub(FRAME * frames_to_end).unwrap_or(self.now);
        self.speech.push(voiced, began);
    }

    fn decode(&mut self, ordered: &Ordered) {
        let packet = &ordered.packet;
        match ordered.before {
            Before::Nothing => {}
            Before::Restart => {
                self.decoder.reset();
                self.stream = Stream::Absent;
            }
            Before::Lost(_) => self.rebuild_before(packet),
        }
        if packet.payload.is_empty() {
            // Nothing was sent (DTX, padding); Opus would take it as 120 ms of loss.
            return;
        }
        let samples = match self.decoder.decode(&packet.payload) {
            Ok(samples) => samples,
            Err(_not_opus) => {
                self.stats.malformed += 1;
                self.decoder.conceal(Frame24k::SAMPLES);
                Frame24k::SAMPLES
            }
        };
        let lasts = FRAME * u32::try_from(samples).unwrap_or(0) / FRAME_SAMPLES;
        self.stream = Stream::Heard {
            next_timestamp: packet.timestamp.wrapping_add(ticks(samples)),
            quiet_at: self.now + lasts + QUIET_AFTER,
            filled: 0,
        };
    }

    /// Fills the time between the last packet and this one, of which RTP time knows how long it
    /// was: the end of it by FEC, the rest by a guess, as far as silence has not filled it.
    fn rebuild_before(&mut self, packet: &OpusPacket) {
        let Stream::Heard { next_timestamp, filled, .. } = self.stream else { return };
        let missing = packet.timestamp.wrapping_sub(next_timestamp);
        let missing = if missing > GAP_TICKS_MAX { 0 } else { missing / TICKS_PER_SAMPLE };
        let recoverable = fec_samples(&packet.payload);
        let unfilled = (missing as usize).saturating_sub(filled + recoverable);
        self.decoder.conceal(unfilled);
        match self.decoder.recover(&packet.payload) {
            Ok(0) => {}
            Ok(_) => self.stats.recovered += 1,
            // The packet itself is decoded next, and is counted there.
            Err(_not_opus) => {}
        }
    }
}

fn ticks(samples: usize) -> u32 {
    u32::try_from(samples).unwrap_or(u32::MAX).saturating_mul(TICKS_PER_SAMPLE)
}

const FRAME: Duration = Duration::from_millis(FRAME_MS);
const FRAME_SAMPLES: u32 = 480;
const _: () = assert!(FRAME_SAMPLES as usize == Frame24k::SAMPLES);

/// Two frames after the next packet was due, silence takes its place: with packets of 20 ms, that
/// is 60 ms after the last one. Most jitter is over by then.
pub const QUIET_AFTER: Duration = Duration::from_millis(2 * FRAME_MS);

/// Woken too late, this many frames of silence are fed at once; the others are left out.
pub const SILENCE_CATCH_UP_FRAMES: u64 = 3;

/// RTP counts 48 kHz, the house 24 kHz.
const TICKS_PER_SAMPLE: u32 = 2;

/// Where RTP time jumps further than ten seconds across a loss, it tells nothing.
const GAP_TICKS_MAX: u32 = 10 * 48_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::ParticipantId;
    use crate::media::opus::Encoder;
    use crate::media::speech::EdgeKind;
    use crate::media::testing::{energy, ms, speech, start};

    #[test]
    fn a_packet_in_sequence_is_a_frame_at_once() {
        let mut uplink = uplink();
        for packet in packets(&speech()) {
            uplink.push(packet, start());
            assert_eq!(frames(&mut uplink).len(), 1);
        }
        assert_eq!(uplink.stats(), UplinkStats { restarts: 1, ..UplinkStats::default() });
    }

    #[test]
    fn a_packet_without_payload_is_no_sound() {
        let mut uplink = uplink();
        let mut said = packets(&speech());
        said[2].payload = Bytes::new();
        for packet in said.drain(..4) {
            uplink.push(packet, start());
        }
        assert_eq!(frames(&mut uplink).len(), 3);
        assert_eq!(uplink.stats().malformed, 0);
    }

    #[test]
    fn edges_tell_when_speech_really_began_and_ended() {
        let quiet = vec![Frame24k::SILENCE; 25];
        let said = [quiet.clone(), speech(), quiet].concat();
        let loud: Vec<_> = (0..said.len()).filter(|n| energy(&said[*n][..]) > 1e5).collect();
        let edges = edges_of(&mut uplink(), &packets(&said));
        let [(EdgeKind::Started, began_ms), .., (EdgeKind::Stopped, ended_ms)] = edges[..] else {
            panic!("{edges:?}");
        };
        let (first_ms, last_ms) = (loud[0] as u64 * 20, (loud[loud.len() - 1] as u64 + 1) * 20);
        assert!(began_ms.abs_diff(first_ms) <= 60, "{edges:?}, loud from {first_ms}");
        assert!(ended_ms.abs_diff(last_ms) <= 160, "{edges:?}, loud to {last_ms}");
    }

    #[test]
    fn speech_ends_even_if_packets_stop_in_the_middle_of_it() {
        let mut uplink = uplink();
        let packets = packets(&speech());
        let count = packets.len() / 2;
        let edges = edges_of(&mut uplink, &packets[..count]);
        let began = edges.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
        assert_eq!(began, [EdgeKind::Started, EdgeKind::Sustained]);
        let stopped = idle_until(&mut uplink, count as u64 * 20 + 1000)
            .into_iter()
            .find_map(|(_, output)| match output {
                UplinkOutput::Edge(edge) => Some(edge),
                UplinkOutput::Frame(_) => None,
            })
            .expect("the speech has ended");
        assert_eq!(stopped.kind, EdgeKind::Stopped);
        let ended_ms = stopped.at.duration_since(start()).as_millis();
        assert!(ended_ms <= count as u128 * 20 + 200, "ended at {ended_ms}");
    }

    #[test]
    fn silence_goes_on_every_twenty_milliseconds_when_packets_stop() {
        let mut uplink = uplink();
        assert_eq!(uplink.poll_timeout(), None);
        uplink.push(packets(&speech()).remove(0), start());
        frames(&mut uplink);
        let times: Vec<_> = idle_until(&mut uplink, 150).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [60, 80, 100, 120, 140]);
        assert_eq!(uplink.stats().silence, 5);
    }

    #[test]
    fn a_late_wake_up_feeds_little_silence_and_a_resumed_stream_no_more_than_it_holds() {
        let mut uplink = uplink();
        let mut packets = packets(&speech());
        uplink.push(packets.remove(0), start());
        frames(&mut uplink);
        uplink.handle_timeout(start() + ms(5000));
        assert_eq!(frames(&mut uplink).len(), 3);
        assert_eq!(uplink.poll_timeout(), Some(start() + ms(5020)));
        let mut resumed = packets.remove(0);
        resumed.timestamp += 250 * 960;
        uplink.push(resumed, start() + ms(5010));
        assert_eq!(frames(&mut uplink).len(), 1);
        assert_eq!(uplink.stats().lost, 0);
    }

    #[test]
    fn a_lost_packet_is_rebuilt_from_the_next_after_a_short_wait() {
        let said = speech();
        let packets = packets(&said);
        let lost = (10..said.len())
            .max_by(|a, b| energy(&said[*a][..]).total_cmp(&energy(&said[*b][..])))
            .unwrap();
        let mut uplink = uplink();
        let mut whole = self::uplink();
        let mut expected = Vec::new();
        for packet in &packets[..=lost + 1] {
            whole.push(packet.clone(), start());
            expected = [expected, frames(&mut whole)].concat();
        }
        let mut heard = Vec::new();
        for packet in &packets[..lost] {
            uplink.push(packet.clone(), start());
            heard = [heard, frames(&mut uplink)].concat();
        }
        uplink.push(packets[lost + 1].clone(), start());
        assert_eq!(frames(&mut uplink), []);
        let deadline = uplink.poll_timeout().unwrap();
        assert!(deadline <= start() + ms(60));
        uplink.handle_timeout(deadline);
        heard = [heard, frames(&mut uplink)].concat();
        assert_eq!(heard.len(), expected.len());
        let ratio = energy(&heard[lost][..]) / energy(&expected[lost][..]);
        assert!((0.3..3.0).contains(&ratio), "energy ratio {ratio}");
        assert_eq!((uplink.stats().lost, uplink.stats().recovered), (1, 1));
    }

    #[test]
    fn a_long_loss_is_concealed_once_and_not_again_where_silence_stood_in() {
        let mut uplink = uplink();
        let packets = packets(&speech());
        uplink.push(packets[20].clone(), start());
        frames(&mut uplink);
        let silent = idle_until(&mut uplink, 200);
        let silence = silent.iter().filter(|(_, output)| is_frame(output)).count();
        assert_eq!(silence, 7);
        uplink.push(packets[31].clone(), start() + ms(220));
        let late = idle_until_from(&mut uplink, 220, 245);
        let heard = late.iter().filter(|(_, output)| is_frame(output)).count();
        assert_eq!(silence + heard, 11, "eleven frame times have passed");
    }

    #[test]
    fn a_malformed_payload_is_concealed_and_counted() {
        let mut uplink = uplink();
        let mut packets = packets(&speech());
        packets[5].payload = Bytes::from_static(&[0xff, 0xff, 0xff]);
        for packet in &packets[..10] {
            uplink.push(packet.clone(), start());
        }
        assert_eq!(frames(&mut uplink).len(), 10);
        assert_eq!(uplink.stats().malformed, 1);
    }

    #[test]
    fn a_new_stream_is_heard_from_its_second_packet_on_with_nothing_lost() {
        let mut uplink = uplink();
        let packets = packets(&speech());
        uplink.push(packets[0].clone(), start());
        assert_eq!(frames(&mut uplink).len(), 1);
        for (sequence, packet) in (40_000..).zip(&packets[1..4]) {
            uplink.push(OpusPacket { sequence, ..packet.clone() }, start());
        }
        assert_eq!(frames(&mut uplink).len(), 3);
        assert_eq!((uplink.stats().lost, uplink.stats().restarts), (0, 2));
    }

    fn uplink() -> Uplink {
        Uplink::new(SpeechConfig::default(), start()).unwrap()
    }

    fn packets(frames: &[Frame24k]) -> Vec<OpusPacket> {
        let mut encoder = Encoder::new().unwrap();
        encoder.set_loss_percent(20);
        let packet = |(n, frame): (u16, &Frame24k)| OpusPacket {
            participant: ParticipantId::new("p_1"),
            sequence: n.wrapping_add(65_500),
            timestamp: u32::from(n) * 960,
            marker: n == 0,
            payload: encoder.encode(frame),
        };
        (0..).zip(frames).map(packet).collect()
    }

    /// Pushes a packet every 20 ms; gives the edges, with their milliseconds.
    fn edges_of(uplink: &mut Uplink, packets: &[OpusPacket]) -> Vec<(EdgeKind, u64)> {
        let mut edges = Vec::new();
        for (n, packet) in (1..).zip(packets) {
            uplink.push(packet.clone(), start() + ms(20 * n));
            while let Some(output) = uplink.poll() {
                if let UplinkOutput::Edge(edge) = output {
                    let at_ms = edge.at.duration_since(start()).as_millis();
                    edges.push((edge.kind, u64::try_from(at_ms).unwrap()));
                }
            }
        }
        edges
    }

    fn idle_until(uplink: &mut Uplink, until_ms: u64) -> Vec<(u64, UplinkOutput)> {
        idle_until_from(uplink, 0, until_ms)
    }

    /// Keeps all timeouts; gives what comes, with its millisecond.
    fn idle_until_from(
        uplink: &mut Uplink,
        from_ms: u64,
        until_ms: u64,
    ) -> Vec<(u64, UplinkOutput)> {
        let mut outputs = Vec::new();
        for at in from_ms..until_ms {
            if uplink.poll_timeout().is_some_and(|due| due <= start() + ms(at)) {
                uplink.handle_timeout(start() + ms(at));
            }
            outputs.extend(std::iter::from_fn(|| uplink.poll()).map(|output| (at, output)));
        }
        outputs
    }

    fn frames(uplink: &mut Uplink) -> Vec<Frame24k> {
        std::iter::from_fn(|| uplink.poll())
            .filter_map(|output| match output {
                UplinkOutput::Frame(frame) => Some(frame),
                UplinkOutput::Edge(_) => None,
            })
            .collect()
    }

    const fn is_frame(output: &UplinkOutput) -> bool {
        matches!(output, UplinkOutput::Frame(_))
    }
}
