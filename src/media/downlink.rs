//! The agent's voice on its way out: speech in at any pace, packets out on time.

use std::time::Instant;

use super::echo::OwnVoice;
use super::frame::ms_of_24k;
use super::opus::{CodecError, Encoder};
use super::pacer::{Pacer, Tick};
use super::packet::OpusPacket;
use super::playout::{Flooded, Flushed, Playout, PlayoutFrame};
use crate::ids::{ParticipantId, UtteranceId};

/// Playout, encoder and pacer of one agent in one call.
///
/// After each call that changes it, and when [`Downlink::poll_timeout`] has come, drain
/// [`Downlink::poll`].
#[derive(Debug)]
pub struct Downlink {
    participant: ParticipantId,
    playout: Playout,
    pacer: Pacer,
    encoder: Encoder,
    own: OwnVoice,
    sequence: u16,
    started: Option<UtteranceId>,
    is_held: bool,
    /// What is to be told is due since then.
    made_at: Instant,
}

/// What comes out of a downlink.
#[derive(Clone, Debug, PartialEq)]
pub enum DownlinkOutput {
    /// To be sent at once. Sequence and RTP time count from 0; who sends it adds its own start.
    Packet(OpusPacket),
    /// The first packet of an utterance has just been handed out.
    Started {
        /// The utterance.
        utterance: UtteranceId,
    },
    /// The last packet of an utterance has just been handed out.
    Finished {
        /// The utterance.
        utterance: UtteranceId,
        /// How long it was, in milliseconds.
        heard_ms: u64,
    },
}

impl Downlink {
    /// Makes the voice of `participant`: ours, in the room.
    pub fn new(participant: ParticipantId, now: Instant) -> Result<Self, CodecError> {
        Ok(Self {
            participant,
            playout: Playout::new(),
            pacer: Pacer::new(now),
            encoder: Encoder::new()?,
            own: OwnVoice::new(),
            sequence: 0,
            started: None,
            is_held: false,
            made_at: now,
        })
    }

    /// Whether silence before an answer is left out (see [`Playout`]).
    pub const fn set_trims_silence(&mut self, trims_silence: bool) {
        self.playout.set_trims_silence(trims_silence);
    }

    /// Takes more of an utterance, any number of samples at 24 kHz (see [`Playout::push`]).
    pub fn push(&mut self, utterance: &UtteranceId, samples: &[i16]) -> Result<(), Flooded> {
        self.playout.push(utterance, samples)
    }

    /// No more will come of this utterance.
    pub fn finish(&mut self, utterance: &UtteranceId) {
        self.playout.finish(utterance);
    }

    /// Falls silent at the frame edge and keeps what was not heard; what comes meanwhile waits too.
    pub const fn hold(&mut self) {
        self.pacer.rest();
        self.is_held = true;
    }

    /// Goes on with the sample after the last that was heard, if it was held.
    pub const fn resume(&mut self) {
        self.is_held = false;
    }

    /// Falls silent at the frame edge; tells of each utterance what became of it. There is nothing
    /// left to hold then: what comes next is heard.
    pub fn flush(&mut self) -> impl Iterator<Item = Flushed> {
        self.pacer.rest();
        self.is_held = false;
        self.started = None;
        self.playout.flush()
    }

    /// Prepares for so many percent of our packets being lost on the way (receiver reports).
    pub fn set_loss_percent(&mut self, percent: u8) {
        self.encoder.set_loss_percent(percent);
    }

    /// When the next packet is due; in the past means at once. `None` while there is no speech, or
    /// it is held.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.started.is_some() || self.playout.has_finished() {
            return Some(self.made_at);
        }
        self.may_speak().then(|| self.pacer.due())
    }

    /// Gives the next thing that is due.
    pub fn poll(&mut self, now: Instant) -> Option<DownlinkOutput> {
        if let Some(utterance) = self.started.take() {
            return Some(DownlinkOutput::Started { utterance });
        }
        if let Some((utterance, heard)) = self.playout.poll_finished() {
            return Some(DownlinkOutput::Finished { utterance, heard_ms: ms_of_24k(heard) });
        }
        if !self.may_speak() {
            return None;
        }
        let tick = self.pacer.take(now)?;
        let pulled = self.playout.pull()?;
        if !self.playout.has_frame() {
            self.pacer.rest();
        }
        self.own.push(&pulled.frame, tick.timestamp, now);
        Some(DownlinkOutput::Packet(self.packet(tick, pulled)))
    }

    /// What has left of late, for those who may hear it come back.
    pub const fn own_voice(&mut self) -> &mut OwnVoice {
        &mut self.own
    }

    fn may_speak(&self) -> bool {
        !self.is_held && self.playout.has_frame()
    }

    fn packet(&mut self, tick: Tick, pulled: PlayoutFrame) -> OpusPacket {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.started = pulled.is_first.then_some(pulled.utterance);
        OpusPacket {
            participant: self.participant.clone(),
            sequence,
            timestamp: tick.timestamp,
            marker: tick.starts_stretch,
            payload: self.encoder.encode(&pulled.frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::UNHEARD_MAX_SECONDS;
    use crate::media::opus::Decoder;
    use crate::media::testing::{energy, ms, start, tone};

    #[test]
    fn started_follows_the_first_packet_and_finished_the_last() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 500]).unwrap();
        downlink.finish(&id("a"));
        assert_eq!(
            run(&mut downlink, 100),
            ["0 p0 t0 m", "0 started a", "20 p1 t960", "20 finished a 20"]
        );
        assert_eq!(downlink.poll_timeout(), None);
    }

    #[test]
    fn the_first_packet_of_an_answer_leaves_at_once() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 480]).unwrap();
        let now = start() + ms(1234);
        assert!(downlink.poll_timeout().is_some_and(|due| due <= now));
        assert!(matches!(downlink.poll(now), Some(DownlinkOutput::Packet(_))));
    }

    #[test]
    fn a_burst_leaves_a_packet_every_twenty_milliseconds() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &tone(440.0, 9000.0, 480 * 5)).unwrap();
        downlink.push(&id("b"), &tone(440.0, 9000.0, 480)).unwrap();
        downlink.finish(&id("b"));
        let seen = run(&mut downlink, 200);
        let expected = [
            "0 p0 t0 m",
            "0 started a",
            "20 p1 t960",
            "40 p2 t1920",
            "60 p3 t2880",
            "80 p4 t3840",
            "80 finished a 100",
            "100 p5 t4800",
            "100 started b",
            "100 finished b 20",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_underrun_restarts_the_clock_with_the_next_frame() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 700]).unwrap();
        assert_eq!(run(&mut downlink, 53), ["0 p0 t0 m", "0 started a"]);
        assert_eq!(downlink.poll_timeout(), None);
        downlink.push(&id("a"), &[LOUD; 740]).unwrap();
        let seen = run_from(&mut downlink, 53, 100);
        assert_eq!(seen, ["53 p1 t1920 m", "73 p2 t2880"]);
    }

    #[test]
    fn an_utterance_that_ends_late_is_finished_when_its_end_is_known() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 480]).unwrap();
        assert_eq!(run(&mut downlink, 100), ["0 p0 t0 m", "0 started a"]);
        downlink.finish(&id("a"));
        assert_eq!(run_from(&mut downlink, 100, 101), ["100 finished a 20"]);
    }

    #[test]
    fn a_flush_tells_what_left_and_nothing_follows_it() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &vec![LOUD; 48_000]).unwrap();
        downlink.push(&id("b"), &vec![LOUD; 24_000]).unwrap();
        run(&mut downlink, 90);
        let flushed: Vec<_> = downlink
            .flush()
            .map(|flushed| {
                (flushed.utterance.to_string(), flushed.heard_ms(), flushed.received_ms())
            })
            .collect();
        assert_eq!(flushed, [("a".into(), 100, 2000), ("b".into(), 0, 1000)]);
        assert_eq!(downlink.poll_timeout(), None);
        assert_eq!(run_from(&mut downlink, 90, 200), [""; 0]);
    }

    #[test]
    fn an_answer_after_a_flush_keeps_the_beat_and_the_count() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &vec![LOUD; 48_000]).unwrap();
        run(&mut downlink, 50);
        drop(downlink.flush());
        downlink.push(&id("b"), &[LOUD; 480]).unwrap();
        assert_eq!(run_from(&mut downlink, 50, 100), ["60 p3 t2880", "60 started b"]);
    }

    #[test]
    fn held_speech_stops_at_the_frame_and_goes_on_with_the_next() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &vec![LOUD; 480 * 5]).unwrap();
        downlink.finish(&id("a"));
        assert_eq!(run(&mut downlink, 35), ["0 p0 t0 m", "0 started a", "20 p1 t960"]);
        downlink.hold();
        assert_eq!(downlink.poll_timeout(), None);
        assert_eq!(run_from(&mut downlink, 35, 1010), [""; 0]);
        downlink.resume();
        let expected =
            ["1010 p2 t48000 m", "1030 p3 t48960", "1050 p4 t49920", "1050 finished a 100"];
        assert_eq!(run_from(&mut downlink, 1010, 1200), expected);
    }

    #[test]
    fn a_hold_shorter_than_what_the_last_frame_lasts_is_not_heard() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &vec![LOUD; 480 * 3]).unwrap();
        run(&mut downlink, 5);
        downlink.hold();
        run_from(&mut downlink, 5, 15);
        downlink.resume();
        assert_eq!(run_from(&mut downlink, 15, 50), ["20 p1 t960", "40 p2 t1920"]);
    }

    #[test]
    fn what_is_to_be_told_is_told_while_held() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 480]).unwrap();
        assert!(matches!(downlink.poll(start()), Some(DownlinkOutput::Packet(_))));
        downlink.hold();
        assert!(downlink.poll_timeout().is_some_and(|due| due <= start()));
        assert_eq!(run(&mut downlink, 10), ["0 started a"]);
        downlink.finish(&id("a"));
        assert!(downlink.poll_timeout().is_some_and(|due| due <= start()));
        assert_eq!(run_from(&mut downlink, 10, 50), ["10 finished a 20"]);
        assert_eq!(downlink.poll_timeout(), None);
    }

    #[test]
    fn speech_that_comes_while_held_waits_for_its_turn() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 960]).unwrap();
        run(&mut downlink, 5);
        downlink.hold();
        downlink.hold();
        downlink.push(&id("a"), &[LOUD; 480]).unwrap();
        downlink.push(&id("b"), &[LOUD; 480]).unwrap();
        downlink.finish(&id("b"));
        assert_eq!(run_from(&mut downlink, 5, 100), [""; 0]);
        downlink.resume();
        let expected = [
            "100 p1 t4800 m",
            "120 p2 t5760",
            "120 finished a 60",
            "140 p3 t6720",
            "140 started b",
            "140 finished b 20",
        ];
        assert_eq!(run_from(&mut downlink, 100, 200), expected);
    }

    #[test]
    fn the_bound_is_the_same_while_held() {
        let mut downlink = downlink();
        downlink.hold();
        downlink.push(&id("a"), &vec![LOUD; UNHEARD_MAX_SECONDS * 24_000]).unwrap();
        assert_eq!(downlink.push(&id("a"), &[LOUD]), Err(Flooded));
    }

    #[test]
    fn a_flush_while_held_tells_all_and_frees_what_comes_next() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &vec![LOUD; 4800]).unwrap();
        run(&mut downlink, 30);
        downlink.hold();
        let flushed: Vec<_> = downlink.flush().map(|flushed| flushed.heard_ms()).collect();
        assert_eq!(flushed, [40]);
        downlink.push(&id("b"), &[LOUD; 480]).unwrap();
        assert_eq!(run_from(&mut downlink, 100, 120), ["100 p2 t4800 m", "100 started b"]);
    }

    #[test]
    fn to_resume_what_was_not_held_changes_nothing() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 960]).unwrap();
        assert_eq!(run(&mut downlink, 5).len(), 2);
        downlink.resume();
        assert_eq!(run_from(&mut downlink, 5, 50), ["20 p1 t960"]);
    }

    proptest! {
        /// Whatever happens: no packet while held, RTP time that only grows by whole frames, and
        /// each packet is one frame of what is told as heard.
        #[test]
        fn what_left_is_what_is_told(steps in proptest::collection::vec((0..6_u8, 1..90_u32), 80)) {
            let (mut downlink, mut now, mut held) = (downlink(), 0, false);
            let (mut packets, mut heard, mut timestamp) = (0, 0, None);
            for (n, (step, size)) in steps.into_iter().enumerate() {
                match step {
                    0 => (downlink.hold(), held = true).1,
                    1 => (downlink.resume(), held = false).1,
                    2 if n % 3 == 0 => {
                        heard += downlink.flush().map(|flushed| flushed.heard_samples).sum::<u64>();
                        downlink.push(&id(&n.to_string()), &[LOUD; 480]).unwrap();
                        held = false;
                    }
                    2 | 3 => downlink.push(&id("a"), &[LOUD; 2700][..30 * size as usize]).unwrap(),
                    _ => now += u64::from(size),
                }
                while let Some(output) = downlink.poll(start() + ms(now)) {
                    if let DownlinkOutput::Packet(packet) = output {
                        let passed = timestamp.map_or(960, |last| packet.timestamp - last);
                        prop_assert!(!held && passed >= 960 && passed % 960 == 0);
                        (packets, timestamp) = (packets + 1, Some(packet.timestamp));
                    } else if let DownlinkOutput::Finished { heard_ms, .. } = output {
                        heard += heard_ms * 24;
                    }
                }
                prop_assert!(!held || downlink.poll_timeout().is_none());
            }
            heard += downlink.flush().map(|flushed| flushed.heard_samples).sum::<u64>();
            prop_assert_eq!(heard, packets * 480);
        }
    }

    #[test]
    fn the_packets_hold_the_sound() {
        let mut downlink = downlink();
        let sound = tone(440.0, 9000.0, 4800);
        downlink.push(&id("a"), &sound).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut heard = Vec::new();
        for n in 0..10 {
            let output = downlink.poll(start() + ms(20 * n));
            let Some(DownlinkOutput::Packet(packet)) = output else { panic!("{output:?}") };
            assert_eq!(packet.participant, ParticipantId::new("p_agent"));
            decoder.decode(&packet.payload).unwrap();
            heard.extend(*decoder.pull().unwrap());
            if n == 0 {
                downlink.poll(start());
            }
        }
        let ratio = energy(&heard[960..]) / energy(&sound);
        assert!((0.8..1.2).contains(&ratio), "energy ratio {ratio}");
    }

    /// Sound, if only just.
    const LOUD: i16 = 300;

    fn downlink() -> Downlink {
        Downlink::new(ParticipantId::new("p_agent"), start()).unwrap()
    }

    fn id(name: &str) -> UtteranceId {
        UtteranceId::new(name)
    }

    fn run(downlink: &mut Downlink, until_ms: u64) -> Vec<String> {
        run_from(downlink, 0, until_ms)
    }

    /// Polls every millisecond, and writes down what comes, with its millisecond.
    fn run_from(downlink: &mut Downlink, from_ms: u64, until_ms: u64) -> Vec<String> {
        let mut seen = Vec::new();
        for at in from_ms..until_ms {
            while let Some(output) = downlink.poll(start() + ms(at)) {
                seen.push(format!("{at} {}", describe(&output)));
            }
        }
        seen
    }

    fn describe(output: &DownlinkOutput) -> String {
        match output {
            DownlinkOutput::Packet(packet) => {
                let marker = if packet.marker { " m" } else { "" };
                format!("p{} t{}{marker}", packet.sequence, packet.timestamp)
            }
            DownlinkOutput::Started { utterance } => format!("started {utterance}"),
            DownlinkOutput::Finished { utterance, heard_ms } => {
                format!("finished {utterance} {heard_ms}")
            }
        }
    }
}
