//! One participant's voice on its way in: packets in any order, frames and edges out at once.

use std::ops::{AddAssign, Sub};
use std::time::{Duration, Instant};

use super::echo::OwnVoice;
use super::frame::{FRAME_MS, Frame24k};
use super::gate::{Duplex, Gate, Passage, Seen};
use super::hearing::{Hearing, Senses};
use super::opus::{CodecError, Decoder, fec_samples};
use super::order::{Before, Order, Ordered};
use super::packet::OpusPacket;
use super::speech::{Edge, Speech, SpeechConfig};
use super::timeline::{Fate, Timeline};

/// Order, decoder and speech detection of one participant in one call.
///
/// A packet that is next in sequence is a frame at once. A gap waits as [`Order`] says, then is
/// rebuilt or concealed. When packets stop, frames of silence go on, so that whoever listens keeps
/// its clock; if packets come after all for which silence stood in, as much silence is left out
/// later. In the long run what comes out lasts as long as RTP time says.
/// After each call that changes it, drain [`Uplink::poll`].
#[derive(Debug)]
pub struct Uplink {
    order: Order,
    decoder: Decoder,
    senses: Senses,
    gate: Gate,
    speech: Speech,
    now: Instant,
    stream: Stream,
    /// How long after a packet was due silence takes its place, as far as lateness was seen.
    patience: Duration,
    silence_due: u64,
    /// When the sound of the frame that came out last came in.
    since: Instant,
    timeline: Timeline,
    owes_frame: bool,
    /// The frame that came out last, as it came in.
    raw: Frame24k,
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
    /// Samples that were made up for what was lost.
    pub concealed: u64,
    /// Payloads that were not Opus; they were concealed.
    pub malformed: u64,
    /// Frames of silence while no packets came.
    pub silence: u64,
    /// Frames left out in a silence, because silence had been given where packets were only late.
    pub repaid: u64,
    /// Samples that were given beyond the speaker's RTP time; negative if some are owed.
    pub ahead: i64,
}

impl AddAssign for UplinkStats {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.restarts += other.restarts;
        self.recovered += other.recovered;
        self.concealed += other.concealed;
        self.malformed += other.malformed;
        self.silence += other.silence;
        self.repaid += other.repaid;
        self.ahead += other.ahead;
    }
}

impl Sub for UplinkStats {
    type Output = Self;

    /// What has happened since `before`, which is an earlier count of the same.
    fn sub(self, before: Self) -> Self {
        Self {
            lost: self.lost - before.lost,
            late: self.late - before.late,
            duplicate: self.duplicate - before.duplicate,
            restarts: self.restarts - before.restarts,
            recovered: self.recovered - before.recovered,
            concealed: self.concealed - before.concealed,
            malformed: self.malformed - before.malformed,
            silence: self.silence - before.silence,
            repaid: self.repaid - before.repaid,
            ahead: self.ahead - before.ahead,
        }
    }
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
        /// When the next one is due.
        due: Instant,
        /// From when on silence takes the place of the next packet, or of the next silence.
        quiet_at: Instant,
        /// Until when the packet may still come; then what silence has missed is made up for.
        late_at: Instant,
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
            senses: Senses::new(Hearing::default()),
            gate: Gate::new(Duplex::Full),
            speech: Speech::new(config),
            now,
            stream: Stream::Absent,
            patience: LATE_AFTER,
            silence_due: 0,
            since: now,
            timeline: Timeline::default(),
            owes_frame: false,
            raw: Frame24k::SILENCE,
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

    /// Hears on in this way: what is done to the sound, and what tells speech from the rest.
    pub fn set_hearing(&mut self, hearing: Hearing) {
        self.senses.set(hearing);
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
        let Stream::Heard { quiet_at, late_at, .. } = &mut self.stream else { return };
        if gap_is_open || now < *quiet_at || now < *late_at {
            return;
        }
        let missed = (now - *quiet_at).as_millis() / FRAME.as_millis();
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        *quiet_at += FRAME * missed.saturating_add(1);
        self.silence_due += (u64::from(missed) + 1).min(SILENCE_CATCH_UP_FRAMES);
    }

    /// When [`Uplink::handle_timeout`] is to be called; `None` before the first packet.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.order.deadline(), &self.stream) {
            (Some(deadline), _) => Some(deadline),
            (None, Stream::Heard { quiet_at, late_at, .. }) => Some(*quiet_at.max(late_at)),
            (None, Stream::Absent) => None,
        }
    }

    /// Gives the next frame or edge, where we say nothing ourselves.
    pub fn poll(&mut self) -> Option<UplinkOutput> {
        self.poll_beside(None)
    }

    /// Gives the next frame or edge, beside what we say ourselves. What is not let in for that is
    /// silence.
    pub fn poll_beside(&mut self, own: Option<&OwnVoice>) -> Option<UplinkOutput> {
        if let Some(edge) = self.speech.poll() {
            return Some(UplinkOutput::Edge(edge));
        }
        if std::mem::take(&mut self.owes_frame) {
            self.raw = Frame24k::SILENCE;
            return Some(UplinkOutput::Frame(Frame24k::SILENCE));
        }
        loop {
            if let Some(mut frame) = self.decoder.pull() {
                match self.listen(&mut frame, own) {
                    Fate::Given => return Some(UplinkOutput::Frame(frame)),
                    Fate::LeftOut => self.stats.repaid += 1,
                    Fate::Doubled => {
                        self.owes_frame = true;
                        return Some(UplinkOutput::Frame(frame));
                    }
                }
            } else if let Some(ordered) = self.order.poll(self.now) {
                self.decode(&ordered);
            } else if self.silence_due > 0 {
                self.silence_due -= 1;
                self.since = self.now;
                self.stand_in();
            } else {
                return None;
            }
        }
    }

    /// When the sound of the frame that came out last came off the network; of silence that takes
    /// the place of packets, when it did.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// The frame that came out last as it came in: before noise was taken away, and whether or not
    /// it was let in beside our own voice.
    #[must_use]
    pub const fn raw(&self) -> &Frame24k {
        &self.raw
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
            ahead: self.timeline.ahead(),
            ..self.stats
        }
    }

    fn listen(&mut self, frame: &mut Frame24k, own: Option<&OwnVoice>) -> Fate {
        // What comes back of our own voice is known by its sound as it came, before it is cleaned.
        let raw = *frame;
        self.raw = raw;
        let mut voiced = self.senses.hear(frame);
        let seen = Seen { voiced, speaking: self.speech.is_speaking() };
        let passage = own.map_or(Passage::Open, |own| self.gate.pass(&raw, seen, own, self.now));
        if passage != Passage::Open {
            *frame = Frame24k::SILENCE;
            voiced = false;
        }
        if passage == Passage::Closed && seen.speaking {
            self.speech.end();
        } else {
            let frames_to_end = u32::try_from(self.decoder.frames_ready() + 1).unwrap_or(u32::MAX);
            let began = self.now.checked_sub(FRAME * frames_to_end).unwrap_or(self.now);
            self.speech.push(voiced, began);
        }
        let speaking = seen.speaking || self.speech.is_speaking();
        self.timeline.judge(speaking, voiced, frame.level())
    }

    /// Gives a frame of silence in the place of packets that do not come.
    fn stand_in(&mut self) {
        self.stats.silence += 1;
        let samples = self.decoder.fill_with_silence();
        if let Stream::Heard { filled, .. } = &mut self.stream {
            *filled = filled.saturating_add(samples);
        }
    }

    fn decode(&mut self, ordered: &Ordered) {
        let packet = &ordered.packet;
        self.since = packet.at;
        if ordered.before == Before::Restart {
            self.decoder.reset();
        }
        if packet.payload.is_empty() {
            // Nothing was sent (DTX, padding); Opus would take it as 120 ms of loss.
            return;
        }
        self.bridge(ordered);
        let samples = match self.decoder.decode(&packet.payload) {
            Ok(samples) => samples,
            Err(_not_opus) => {
                self.stats.malformed += 1;
                self.decoder.conceal(Frame24k::SAMPLES)
            }
        };
        let due = self.now + FRAME * u32::try_from(samples).unwrap_or(0) / FRAME_SAMPLES;
        let says_nothing = packet.payload.len() <= DTX_BYTES_MAX;
        self.stream = Stream::Heard {
            next_timestamp: packet.timestamp.wrapping_add(ticks(samples)),
            due,
            quiet_at: due + QUIET_AFTER,
            late_at: due + if says_nothing { QUIET_AFTER } else { self.patience },
            filled: 0,
        };
    }

    /// Fills the time between the last packet and this one, of which RTP time knows how long it
    /// was, as far as silence has not filled it. What was lost: the end of it by FEC, the rest by a
    /// guess, and by silence where that has faded. What was not sent: by silence. A stream that
    /// begins anew has another time, unless it was the same after a very long loss.
    fn bridge(&mut self, ordered: &Ordered) {
        let Stream::Heard { next_timestamp, due, filled, .. } = self.stream else { return };
        let passed = ordered.packet.timestamp.wrapping_sub(next_timestamp).cast_signed();
        if ordered.before == Before::Restart && passed <= 0 {
            return;
        }
        let passed = usize::try_from(passed / TICKS_PER_SAMPLE.cast_signed()).unwrap_or(0);
        let missing = passed.saturating_sub(filled);
        // A larger one is a jump of the speaker's clock.
        let missing = if missing > GAP_SAMPLES_MAX { 0 } else { missing };
        let given = match ordered.before {
            Before::Lost(_) => self.rebuild(&ordered.packet.payload, passed, missing),
            Before::Nothing | Before::Restart => {
                if passed == 0 {
                    self.learn(self.now.saturating_duration_since(due));
                }
                if missing >= PAUSE_SAMPLES_MIN { self.decoder.rest(missing) } else { 0 }
            }
        };
        self.timeline.account(passed, filled + given);
    }

    /// Fills a loss before a packet with this payload; tells with how many samples.
    fn rebuild(&mut self, payload: &[u8], passed: usize, missing: usize) -> usize {
        let recoverable = fec_samples(payload);
        let recoverable = if recoverable <= passed { recoverable } else { 0 };
        let unknown = missing.saturating_sub(recoverable);
        let concealed = self.decoder.conceal(unknown);
        self.stats.concealed += concealed as u64;
        let faded = unknown - concealed;
        let rested = if faded >= PAUSE_SAMPLES_MIN { self.decoder.rest(faded) } else { 0 };
        // If it is not Opus, the packet itself is decoded next, and is counted there.
        let recovered =
            if recoverable > 0 { self.decoder.recover(payload).unwrap_or(0) } else { 0 };
        self.stats.recovered += u64::from(recovered > 0);
        concealed + rested + recovered
    }

    /// Gives packets more time from here on, if one came later than we are ready to wait.
    fn learn(&mut self, late: Duration) {
        self.patience -= self.patience / FORGETTING;
        self.patience = self.patience.max(late + late / 4).clamp(LATE_AFTER, QUIET_AFTER_MAX);
    }
}

fn ticks(samples: usize) -> u32 {
    u32::try_from(samples).unwrap_or(u32::MAX).saturating_mul(TICKS_PER_SAMPLE)
}

const FRAME: Duration = Duration::from_millis(FRAME_MS);
const FRAME_SAMPLES: u32 = 480;
const _: () = assert!(FRAME_SAMPLES as usize == Frame24k::SAMPLES);

/// Two frames after the next packet was due, silence takes its place: with packets of 20 ms, that
/// is 60 ms after the last one.
pub const QUIET_AFTER: Duration = Duration::from_millis(2 * FRAME_MS);

/// Where packets stop without a word (DTX), they may be late or lost: they have four frames, and
/// more where packets have come later than that, before silence from [`QUIET_AFTER`] on is given at
/// once. Most that are lost together can still be rebuilt, and a listener's clock loses nothing.
pub const LATE_AFTER: Duration = Duration::from_millis(4 * FRAME_MS);

/// Woken late, this many frames of silence are fed at once, as many as fit between [`QUIET_AFTER`]
/// and [`QUIET_AFTER_MAX`]; the others are left out.
pub const SILENCE_CATCH_UP_FRAMES: u64 = 9;

/// The longest that silence waits to take the place of late packets: a stall of a radio link.
pub const QUIET_AFTER_MAX: Duration = Duration::from_millis(10 * FRAME_MS);

/// Of how late packets came, this part is forgotten with each packet: half of it in 14 seconds.
const FORGETTING: u32 = 1024;

/// A payload of so few bytes says that nothing follows for a while (DTX, RFC 6716, section 2.1.9).
const DTX_BYTES_MAX: usize = 2;

/// RTP counts 48 kHz, the house 24 kHz.
const TICKS_PER_SAMPLE: u32 = 2;

/// Where RTP time jumps further than two seconds beyond what silence has filled, it tells nothing.
const GAP_SAMPLES_MAX: usize = 2 * 24_000;

/// A shorter pause in RTP time, 10 ms, is none: a speaker's clock was set right.
const PAUSE_SAMPLES_MIN: usize = 240;

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
    fn a_packet_without_payload_is_silence_for_as_long_as_rtp_time_says() {
        let mut uplink = uplink();
        let mut said = packets(&speech());
        said[2].payload = Bytes::new();
        for packet in said.drain(..4) {
            uplink.push(packet, start());
        }
        let heard = frames(&mut uplink);
        assert_eq!((heard.len(), heard[2]), (4, Frame24k::SILENCE));
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
        assert_eq!(times, [100, 100, 100, 120, 140]);
        assert_eq!(uplink.stats().silence, 5);
    }

    #[test]
    fn a_late_wake_up_feeds_little_silence_and_a_resumed_stream_no_more_than_it_holds() {
        let mut uplink = uplink();
        let mut packets = packets(&speech());
        uplink.push(packets.remove(0), start());
        frames(&mut uplink);
        uplink.handle_timeout(start() + ms(5000));
        assert_eq!(frames(&mut uplink).len(), 9);
        assert_eq!(uplink.poll_timeout(), Some(start() + ms(5020)));
        let mut resumed = packets.remove(0);
        resumed.timestamp += 250 * 960;
        uplink.push(resumed, start() + ms(5010));
        assert_eq!(frames(&mut uplink).len(), 1);
        assert_eq!(uplink.stats().lost, 0);
    }

    #[test]
    fn a_lost_packet_is_rebuilt_from_the_next_at_once() {
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
        heard = [heard, frames(&mut uplink)].concat();
        assert_eq!(heard.len(), expected.len());
        let ratio = energy(&heard[lost][..]) / energy(&expected[lost][..]);
        assert!((0.3..3.0).contains(&ratio), "energy ratio {ratio}");
        assert_eq!((uplink.stats().lost, uplink.stats().recovered), (1, 1));
        uplink.push(packets[lost].clone(), start());
        assert_eq!(frames(&mut uplink), [], "what was rebuilt is not heard again");
        assert_eq!((uplink.stats().late, uplink.stats().ahead), (1, 0));
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
    fn a_burst_after_a_stall_passes_at_once_and_the_silence_is_taken_back() {
        let said = [vec![Frame24k::SILENCE; 10], speech(), vec![Frame24k::SILENCE; 100]].concat();
        let packets = packets(&said);
        let mut uplink = uplink();
        let mut heard = Vec::new();
        // The packets 40 to 56 come at once, 340 ms late.
        for (n, packet) in packets.iter().enumerate() {
            let at = if (40..57).contains(&n) { 57 } else { n };
            let at_ms = u64::try_from(at * 20).unwrap();
            if n == 40 || n == 57 {
                heard.extend(idle_until_from(&mut uplink, 39 * 20, at_ms));
            }
            uplink.push(packet.clone(), start() + ms(at_ms));
            let outputs = std::iter::from_fn(|| uplink.poll());
            heard.extend(outputs.map(|output| (at_ms, output)));
        }
        let stats = uplink.stats();
        assert!((10..17).contains(&stats.silence), "{stats:?}");
        assert_eq!((stats.lost, stats.ahead, stats.repaid), (0, 0, stats.silence));
        let frames = heard.iter().filter(|(_, output)| is_frame(output)).count();
        assert_eq!(frames, packets.len());
        let burst = heard.iter().filter(|(at, output)| *at == 57 * 20 && is_frame(output)).count();
        assert_eq!(burst, 18);
    }

    #[test]
    fn a_pause_in_rtp_time_is_silence_to_the_sample() {
        let mut uplink = uplink();
        let mut packets = packets(&speech());
        uplink.push(packets.remove(0), start());
        frames(&mut uplink);
        let silent = idle_until(&mut uplink, 400).len();
        let mut resumed = packets.remove(0);
        resumed.timestamp += 19 * 960;
        uplink.push(resumed, start() + ms(400));
        assert_eq!(silent + frames(&mut uplink).len(), 20);
        assert_eq!((uplink.stats().lost, uplink.stats().ahead), (0, 0));
    }

    #[test]
    fn after_long_losses_the_guess_fades_into_silence_and_time_is_kept() {
        let said = speech();
        let packets = packets(&said);
        let loud = (10..said.len())
            .max_by(|a, b| energy(&said[*a][..]).total_cmp(&energy(&said[*b][..])))
            .unwrap();
        let mut uplink = uplink();
        for packet in &packets[..=loud] {
            uplink.push(packet.clone(), start());
            frames(&mut uplink);
        }
        let mut later = packets[loud + 1].clone();
        (later.sequence, later.timestamp) = (later.sequence + 10, later.timestamp + 10 * 960);
        uplink.push(later, start() + ms(20));
        let heard = frames(&mut uplink);
        assert_eq!(heard.len(), 11);
        assert!(energy(&heard[0][..]) > 1e4 && heard[7..9].iter().all(|f| *f == Frame24k::SILENCE));
        assert_eq!((uplink.stats().concealed, uplink.stats().ahead), (2880, 0));
    }

    #[test]
    fn packets_that_are_often_late_get_more_time_and_nothing_stands_in_for_them() {
        let mut uplink = uplink();
        let packets = packets(&[speech(), speech()].concat());
        let mut at_ms = 0;
        for (n, packet) in packets.iter().enumerate() {
            // Every fourth is 90 ms late, and those after it come with it.
            let n = u64::try_from(n).unwrap();
            let next_ms = at_ms.max(n * 20 + if n % 8 == 4 { 90 } else { 0 });
            idle_until_from(&mut uplink, at_ms, next_ms);
            at_ms = next_ms;
            uplink.push(packet.clone(), start() + ms(at_ms));
            frames(&mut uplink);
        }
        assert!(uplink.stats().silence <= 3, "{:?}", uplink.stats());
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
            at: start(),
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
