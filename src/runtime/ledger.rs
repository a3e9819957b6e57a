//! How long frames take in an agent's task, and before it: told to the meter.

use std::time::{Duration, Instant};

use crate::agent::{ModelEvent, RecordEntry};
use crate::ids::UtteranceId;
use crate::media::{FRAME_MS, OpusPacket};
use crate::meter::{Counter, Meter, Stage};
use crate::models::{Arrived, ModelItem};

use super::sound::SoundStats;

/// What an agent's task counts.
#[derive(Debug)]
pub(super) struct Ledger {
    meter: Meter,
    /// The utterance that came last, and since when its first sound waits to be heard.
    newest: Option<(UtteranceId, Option<Instant>)>,
    /// When a packet of ours has left last.
    sent: Option<Instant>,
    /// How long we had the last sound of the turn, in microseconds.
    uplink_us: Option<u64>,
    /// How long we had the first sound of the answer, in microseconds.
    downlink_us: Option<u64>,
    /// When it is told what was counted of sound.
    told_at: Option<Instant>,
}

impl Ledger {
    pub(super) const fn new(meter: Meter) -> Self {
        Self { meter, newest: None, sent: None, uplink_us: None, downlink_us: None, told_at: None }
    }

    /// What is counted by, here and on the way to the model.
    pub(super) const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A packet from the room is taken.
    pub(super) fn on_packet(&self, packet: &OpusPacket, now: Instant) {
        self.meter.observe(Stage::UplinkQueue, now.saturating_duration_since(packet.at));
    }

    /// All was done about a packet that was taken at `taken`.
    pub(super) fn on_worked(&self, taken: Instant, now: Instant) {
        self.meter.observe(Stage::UplinkWork, now.saturating_duration_since(taken));
    }

    /// Something of the model's is taken.
    pub(super) fn on_arrival(&mut self, arrived: &Arrived, now: Instant) {
        self.meter.observe(Stage::DownlinkQueue, now.saturating_duration_since(arrived.at));
        if matches!(arrived.item, ModelItem::Event(ModelEvent::SpeechStopped { .. })) {
            self.on_turn_over();
        }
        let ModelItem::Audio { utterance, .. } = &arrived.item else { return };
        if self.newest.as_ref().is_some_and(|(newest, _)| newest == utterance) {
            return;
        }
        // What begins while another is heard waits for that one, which says nothing about us.
        let is_quiet = self.sent.is_none_or(|sent| now.saturating_duration_since(sent) > QUIET);
        self.newest = Some((utterance.clone(), is_quiet.then_some(arrived.at)));
    }

    /// A packet of ours leaves.
    pub(super) fn on_sent(&mut self, packet: &OpusPacket, now: Instant) {
        self.meter.observe(Stage::PacerLate, now.saturating_duration_since(packet.at));
        self.sent = Some(now);
        if let Some(first) = self.newest.as_mut().and_then(|(_, first)| first.take()) {
            self.meter.observe(Stage::DownlinkFirst, now.saturating_duration_since(first));
            self.downlink_us = self.latest_us(Stage::DownlinkFirst);
        }
    }

    /// A turn is taken as over, by the sound that the model was given last.
    pub(super) fn on_turn_over(&mut self) {
        self.uplink_us = self.latest_us(Stage::Uplink);
    }

    /// Tells a turn that goes on record what our own share was.
    pub(super) fn complete(&mut self, entry: &mut RecordEntry) {
        let RecordEntry::Turn(turn) = entry else { return };
        if turn.first_audio_ms.is_some() {
            turn.uplink_us = turn.turn_end_ms.and(self.uplink_us.take());
            turn.downlink_us = self.downlink_us.take();
        }
    }

    /// Whether it is time to tell what was counted of sound.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let told_at = *self.told_at.get_or_insert(now);
        let is_due = now.saturating_duration_since(told_at) >= TELL_PERIOD;
        if is_due {
            self.told_at = Some(now);
        }
        is_due
    }

    /// Tells what was counted of sound.
    pub(super) fn on_sound(&self, stats: SoundStats) {
        let SoundStats { heard, said } = stats;
        for (counter, times) in [
            (Counter::PacketLost, heard.lost),
            (Counter::PacketLate, heard.late),
            (Counter::PacketDuplicate, heard.duplicate),
            (Counter::PacketRecovered, heard.recovered),
            (Counter::PacketMalformed, heard.malformed),
            (Counter::SampleConcealed, heard.concealed),
            (Counter::SilenceGiven, heard.silence),
            (Counter::SilenceRepaid, heard.repaid),
            (Counter::SentSpeech, said.packets - said.closings),
            (Counter::SentClosing, said.closings),
            (Counter::Underrun, said.underruns),
            (Counter::FrameSkipped, said.skipped_frames),
            (Counter::SampleUnheard, said.late_samples),
        ] {
            if times > 0 {
                self.meter.add(counter, times);
            }
        }
    }

    fn latest_us(&self, stage: Stage) -> Option<u64> {
        Some(self.meter.latest_us(stage)).filter(|us| *us > 0)
    }
}

/// So long without a packet of ours, and nothing of ours is being heard.
const QUIET: Duration = Duration::from_millis(2 * FRAME_MS);

/// From one telling of what was counted of sound to the next.
const TELL_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::TurnRecord;
    use crate::ids::ParticipantId;
    use crate::media::{DownlinkStats, UplinkStats};
    use crate::sys::clock;

    #[test]
    fn the_first_packet_of_an_utterance_is_counted_from_its_first_sound() {
        let mut scene = Scene::new();
        scene.says("a", 0);
        scene.says("a", 100);
        assert_eq!(scene.sends(130), [(130_000, 1)]);
        assert_eq!(scene.sends(150), [(130_000, 1)], "only the first");
    }

    #[test]
    fn what_waits_for_an_utterance_before_it_is_not_counted() {
        let mut scene = Scene::new();
        scene.says("a", 0);
        scene.sends(3);
        scene.says("b", 10);
        assert_eq!(scene.sends(23), [(3_000, 1)]);
        scene.says("c", 100);
        assert_eq!(scene.sends(104), [(7_000, 2)], "nothing was heard by then");
    }

    #[test]
    fn a_packet_is_as_late_as_it_is_after_it_was_due() {
        let mut scene = Scene::new();
        let due = scene.start + Duration::from_millis(20);
        scene.ledger.on_sent(&OpusPacket { at: due, ..scene.packet() }, due + QUIET);
        assert_eq!(scene.ledger.meter.read(Stage::PacerLate).sum_us, 40_000);
    }

    #[test]
    fn a_turn_is_told_our_share_of_it_and_the_next_one_is_not() {
        let mut scene = Scene::new();
        let uplink = |meter: &Meter, us| meter.observe(Stage::Uplink, Duration::from_micros(us));
        let meter = scene.ledger.meter().clone();
        uplink(&meter, 310);
        let over = ModelEvent::SpeechStopped { utterance: UtteranceId::new("u1") };
        let (item, at) = (ModelItem::Event(over), scene.start);
        scene.ledger.on_arrival(&Arrived { item, at }, at);
        // What goes on after the end of the turn is not of it, nor what others do.
        uplink(&meter, 999);
        uplink(&meter.apart(), 888);
        scene.says("a", 1);
        scene.sends(3);
        let (turn_end_ms, first_audio_ms) = (Some(1), Some(2));
        let turn = TurnRecord { turn_end_ms, first_audio_ms, ..TurnRecord::default() };
        assert_eq!(scene.completed(&turn), (Some(310), Some(2_000)));
        assert_eq!(scene.completed(&turn), (None, None));
    }

    #[test]
    fn what_was_counted_of_sound_is_told_once_a_second() {
        let Scene { mut ledger, start } = Scene::new();
        assert!(!ledger.is_due(start));
        assert!(!ledger.is_due(start + Duration::from_millis(999)));
        assert!(ledger.is_due(start + TELL_PERIOD));
        assert!(!ledger.is_due(start + TELL_PERIOD));
        let heard = UplinkStats { lost: 2, ..UplinkStats::default() };
        let said =
            DownlinkStats { packets: 5, closings: 1, underruns: 3, ..DownlinkStats::default() };
        ledger.on_sound(SoundStats { heard, said });
        let times = |counter| ledger.meter().times(counter);
        assert_eq!((times(Counter::PacketLost), times(Counter::Underrun)), (2, 3));
        assert_eq!((times(Counter::SentSpeech), times(Counter::SentClosing)), (4, 1));
    }

    struct Scene {
        ledger: Ledger,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { ledger: Ledger::new(Meter::new()), start: clock::now() }
        }

        fn says(&mut self, utterance: &str, ms: u64) {
            let at = self.start + Duration::from_millis(ms);
            let item =
                ModelItem::Audio { utterance: UtteranceId::new(utterance), samples: vec![0] };
            self.ledger.on_arrival(&Arrived { item, at }, at);
        }

        /// Sends a packet, and gives what was counted of beginnings: their sum and number.
        fn sends(&mut self, ms: u64) -> [(u64, u64); 1] {
            self.ledger.on_sent(&self.packet(), self.start + Duration::from_millis(ms));
            let counted = self.ledger.meter.read(Stage::DownlinkFirst);
            [(counted.sum_us, counted.count())]
        }

        fn completed(&mut self, turn: &TurnRecord) -> (Option<u64>, Option<u64>) {
            let mut entry = RecordEntry::Turn(turn.clone());
            self.ledger.complete(&mut entry);
            let RecordEntry::Turn(turn) = entry else { panic!("it stays a turn") };
            (turn.uplink_us, turn.downlink_us)
        }

        fn packet(&self) -> OpusPacket {
            OpusPacket {
                participant: ParticipantId::new("p_agent"),
                sequence: 0,
                timestamp: 0,
                marker: false,
                payload: bytes::Bytes::new(),
                at: self.start,
            }
        }
    }
}
