//! The agent's voice on its way out: speech in at any pace, packets out on time.

use std::ops::{AddAssign, Sub};
use std::time::{Duration, Instant};

use super::cushion::{Cushion, Waiting};
use super::echo::OwnVoice;
use super::fade::{self, FADE_SAMPLES};
use super::frame::{Frame24k, ms_of_24k};
use super::opus::{CodecError, Encoder};
use super::pacer::{Pacer, Tick};
use super::packet::OpusPacket;
use super::playout::{Flooded, Flushed, Playout, PlayoutFrame};
use crate::ids::{ParticipantId, UtteranceId};

/// Playout, encoder and pacer of one agent in one call.
///
/// The first frame of an answer leaves at once, unless its model has run dry in the middle of an
/// answer before: then a little is gathered first (see [`super::CUSHION_MIN_MS`]).
///
/// Where sound stops before its end, because it is held or flushed or has run dry, a last packet
/// leads into silence within 5 ms; it leaves at once, and counts as nothing heard. Without it a
/// listener's jitter buffer makes up what is missing, and our voice fades away over 50 ms and more.
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
    cushion: Cushion,
    edge: Edge,
    tail: Frame24k,
    /// What is in the packet that was handed out last.
    last: Frame24k,
    packets: u64,
    closings: u64,
    /// What is to be told is due since then.
    made_at: Instant,
}

/// How what has left so far ends.
#[derive(Debug)]
enum Edge {
    /// In silence that we have made, or nothing has left.
    Silent,
    /// Softly, as the model has made it.
    Soft,
    /// In the middle of sound, with this sample.
    Loud(i16),
    /// In the middle of sound, with this sample, and the tail is to lead out of it at once.
    Cut(i16),
}

/// What a downlink has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownlinkStats {
    /// Packets that left.
    pub packets: u64,
    /// Those of them that only led into silence.
    pub closings: u64,
    /// How often an answer ran dry before its end.
    pub underruns: u64,
    /// How much of an answer is gathered before it goes on, in milliseconds; 0 is the usual.
    pub cushion_ms: u32,
    /// How often the clock was moved on by a frame because it was served too late.
    pub skipped_frames: u64,
    /// Samples that came when their utterance was over.
    pub late_samples: u64,
    /// The loss that packets are made for, in percent; 0 is none.
    pub loss_percent: u8,
}

impl AddAssign for DownlinkStats {
    /// Counts are added; how things stand is as the later one has it.
    fn add_assign(&mut self, later: Self) {
        *self = Self {
            packets: self.packets + later.packets,
            closings: self.closings + later.closings,
            underruns: self.underruns + later.underruns,
            skipped_frames: self.skipped_frames + later.skipped_frames,
            late_samples: self.late_samples + later.late_samples,
            ..later
        };
    }
}

impl Sub for DownlinkStats {
    type Output = Self;

    /// What has happened since `before`, which is an earlier count of the same.
    fn sub(self, before: Self) -> Self {
        Self {
            packets: self.packets - before.packets,
            closings: self.closings - before.closings,
            underruns: self.underruns - before.underruns,
            skipped_frames: self.skipped_frames - before.skipped_frames,
            late_samples: self.late_samples - before.late_samples,
            ..self
        }
    }
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
            cushion: Cushion::new(),
            edge: Edge::Silent,
            tail: Frame24k::SILENCE,
            last: Frame24k::SILENCE,
            packets: 0,
            closings: 0,
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
    pub fn hold(&mut self) {
        self.cut();
        self.is_held = true;
    }

    /// Goes on with the sample after the last that was heard, if it was held.
    pub fn resume(&mut self) {
        self.is_held = false;
        if let Edge::Cut(last) = self.edge {
            self.edge = Edge::Loud(last);
        }
    }

    /// Falls silent at the frame edge; tells of each utterance what became of it. There is nothing
    /// left to hold then: what comes next is heard.
    pub fn flush(&mut self) -> impl Iterator<Item = Flushed> {
        self.cut();
        self.cushion.cut();
        self.is_held = false;
        self.started = None;
        self.playout.flush()
    }

    /// Prepares for so many percent of our packets being lost on the way (receiver reports).
    pub fn set_loss_percent(&mut self, percent: u8) {
        self.encoder.set_loss_percent(percent);
    }

    /// When to poll next; in the past means at once. `None` while there is no speech, or it is
    /// held.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_cut = matches!(self.edge, Edge::Cut(_));
        if is_cut || self.started.is_some() || self.playout.has_finished() {
            return Some(self.made_at);
        }
        if self.is_held {
            return None;
        }
        if self.playout.has_frame() {
            let due = self.pacer.due();
            return Some(self.cushion.poll_timeout().map_or(due, |until| until.max(due)));
        }
        self.may_run_dry().then(|| self.dry_at())
    }

    /// Gives the next thing that is due.
    pub fn poll(&mut self, now: Instant) -> Option<DownlinkOutput> {
        if let Some(utterance) = self.started.take() {
            return Some(DownlinkOutput::Started { utterance });
        }
        if let Some((utterance, heard)) = self.playout.poll_finished() {
            self.cushion.finish(self.playout.waiting() == 0);
            return Some(DownlinkOutput::Finished { utterance, heard_ms: ms_of_24k(heard) });
        }
        if let Some(packet) = self.close(now) {
            return Some(DownlinkOutput::Packet(packet));
        }
        if self.is_held {
            return None;
        }
        if !self.playout.has_frame() {
            return self.run_dry(now).map(DownlinkOutput::Packet);
        }
        let waiting = Waiting {
            ms: ms_of_24k(self.playout.waiting() as u64),
            is_complete: self.playout.is_complete(),
        };
        if !self.cushion.lets_go(waiting, now) {
            return None;
        }
        let tick = self.pacer.take(now)?;
        let pulled = self.playout.pull()?;
        if !self.playout.has_frame() {
            self.pacer.rest();
        }
        Some(DownlinkOutput::Packet(self.speak(tick, pulled, now)))
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> DownlinkStats {
        DownlinkStats {
            packets: self.packets,
            closings: self.closings,
            underruns: self.cushion.underruns(),
            cushion_ms: self.cushion.depth_ms(),
            skipped_frames: self.pacer.skipped(),
            late_samples: self.playout.late_samples(),
            loss_percent: self.encoder.loss_percent(),
        }
    }

    /// The sound of the packet that was handed out last.
    #[must_use]
    pub const fn last_frame(&self) -> &Frame24k {
        &self.last
    }

    /// What has left of late, for those who may hear it come back.
    #[must_use]
    pub const fn own_voice(&self) -> &OwnVoice {
        &self.own
    }

    /// The next frame does not follow in its time.
    fn cut(&mut self) {
        self.pacer.rest();
        if let Edge::Loud(last) = self.edge {
            let mut following = [0; FADE_SAMPLES];
            let count = self.playout.peek(&mut following);
            self.tail = fade::tail(&following[..count], last);
            self.edge = Edge::Cut(last);
        }
    }

    /// The packet that leads into silence, if one is to.
    fn close(&mut self, now: Instant) -> Option<OpusPacket> {
        if !matches!(self.edge, Edge::Cut(_)) {
            return None;
        }
        self.edge = Edge::Silent;
        let tick = self.pacer.close(now)?;
        self.closings += 1;
        let tail = self.tail;
        Some(self.packet(tick, &tail, now))
    }

    /// Whether more of an utterance should follow and is not there.
    fn may_run_dry(&self) -> bool {
        self.cushion.is_flowing() && self.playout.is_waited_for()
    }

    fn dry_at(&self) -> Instant {
        self.pacer.due() + DRY_AFTER
    }

    fn run_dry(&mut self, now: Instant) -> Option<OpusPacket> {
        if !self.may_run_dry() || now < self.dry_at() {
            return None;
        }
        self.cushion.run_dry();
        self.cut();
        self.close(now)
    }

    fn speak(&mut self, tick: Tick, pulled: PlayoutFrame, now: Instant) -> OpusPacket {
        let PlayoutFrame { utterance, is_first, mut frame, samples } = pulled;
        if tick.starts_stretch || matches!(self.edge, Edge::Silent) {
            fade::fade_in(&mut frame);
        }
        fade::glide_out(&mut frame, samples);
        self.edge = match frame.last() {
            _ if samples < Frame24k::SAMPLES => Edge::Silent,
            Some(last) if fade::ends_loud(&frame[..]) => Edge::Loud(*last),
            _ => Edge::Soft,
        };
        self.started = is_first.then_some(utterance);
        self.packet(tick, &frame, now)
    }

    fn packet(&mut self, tick: Tick, frame: &Frame24k, now: Instant) -> OpusPacket {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.packets += 1;
        self.own.push(frame, tick.timestamp, now);
        self.last = *frame;
        OpusPacket {
            participant: self.participant.clone(),
            sequence,
            timestamp: tick.timestamp,
            marker: tick.starts_stretch,
            payload: self.encoder.encode(frame),
            at: now.checked_sub(tick.late).unwrap_or(now),
        }
    }
}

/// So long after a frame was due an utterance has run dry. What comes before that leaves late, and
/// a listener's jitter buffer makes up for it.
const DRY_AFTER: Duration = Duration::from_millis(10);

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
    fn an_answer_that_ran_dry_goes_on_with_a_cushion_and_a_clock_of_its_own() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 700]).unwrap();
        assert_eq!(run(&mut downlink, 20), ["0 p0 t0 m", "0 started a"]);
        assert_eq!(downlink.poll_timeout(), Some(start() + ms(30)));
        assert_eq!(run_from(&mut downlink, 20, 53), [""; 0]);
        assert_eq!(downlink.poll_timeout(), None);
        downlink.push(&id("a"), &[LOUD; 740]).unwrap();
        assert_eq!(run_from(&mut downlink, 53, 60), [""; 0]);
        downlink.push(&id("a"), &[LOUD; 480]).unwrap();
        let seen = run_from(&mut downlink, 60, 120);
        assert_eq!(seen, ["60 p1 t2880 m", "80 p2 t3840", "100 p3 t4800"]);
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
        /// Whatever happens: no packet while held but the one that leads into silence, RTP time
        /// that only grows by whole frames and never runs ahead by more than one, and each other
        /// packet is one frame of what is told as heard.
        #[test]
        fn what_left_is_what_is_told(steps in proptest::collection::vec((0..6_u8, 1..90_u32), 80)) {
            let (mut downlink, mut now, mut held) = (downlink(), 0, false);
            let sound = [[LOUD; 1350], [9000; 1350]].concat();
            let (mut packets, mut closed, mut heard, mut timestamp) = (0, 0, 0, None);
            for (n, (step, size)) in steps.into_iter().enumerate() {
                match step {
                    0 => (downlink.hold(), held = true).1,
                    1 => (downlink.resume(), held = false).1,
                    2 if n % 3 == 0 => {
                        heard += downlink.flush().map(|flushed| flushed.heard_samples).sum::<u64>();
                        downlink.push(&id(&n.to_string()), &[LOUD; 480]).unwrap();
                        held = false;
                    }
                    2 | 3 => downlink.push(&id("a"), &sound[..30 * size as usize]).unwrap(),
                    _ => now += u64::from(size),
                }
                while let Some(output) = downlink.poll(start() + ms(now)) {
                    if let DownlinkOutput::Packet(packet) = output {
                        let passed = timestamp.map_or(960, |last| packet.timestamp - last);
                        let closings = std::mem::replace(&mut closed, downlink.stats().closings);
                        prop_assert!(!held || closings < closed);
                        prop_assert!(passed >= 960 && passed % 960 == 0);
                        prop_assert!(u64::from(packet.timestamp / 48) <= now + 20);
                        (packets, timestamp) = (packets + 1, Some(packet.timestamp));
                    } else if let DownlinkOutput::Finished { heard_ms, .. } = output {
                        heard += heard_ms * 24;
                    }
                }
                prop_assert!(!held || downlink.poll_timeout().is_none());
            }
            heard += downlink.flush().map(|flushed| flushed.heard_samples).sum::<u64>();
            let stats = downlink.stats();
            prop_assert_eq!(stats.packets, packets);
            prop_assert_eq!(heard, (packets - stats.closings) * 480);
        }
    }

    #[test]
    fn sound_that_is_cut_is_led_into_silence_at_once_and_rises_again() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &tone(440.0, 9000.0, 480 * 5)).unwrap();
        assert_eq!(run(&mut downlink, 25), ["0 p0 t0 m", "0 started a", "20 p1 t960"]);
        downlink.hold();
        assert!(downlink.poll_timeout().is_some_and(|due| due <= start() + ms(25)));
        assert_eq!(run_from(&mut downlink, 25, 400), ["25 p2 t1920"]);
        downlink.resume();
        assert_eq!(run_from(&mut downlink, 400, 410), ["400 p3 t19200 m"]);
        let heard: Vec<_> = downlink.flush().map(|flushed| flushed.heard_ms()).collect();
        assert_eq!(heard, [60]);
        assert_eq!(run_from(&mut downlink, 410, 500), ["410 p4 t20160"]);
        assert_eq!(downlink.stats().closings, 2);
        assert_eq!(downlink.poll_timeout(), None);
    }

    #[test]
    fn a_cut_that_is_taken_back_at_once_is_none() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &tone(440.0, 9000.0, 480 * 5)).unwrap();
        run(&mut downlink, 25);
        downlink.hold();
        downlink.resume();
        assert_eq!(run_from(&mut downlink, 25, 45), ["40 p2 t1920"]);
        assert_eq!(downlink.stats().closings, 0);
    }

    #[test]
    fn what_was_over_before_it_was_cut_needs_no_end() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &tone(440.0, 9000.0, 470)).unwrap();
        downlink.finish(&id("a"));
        assert_eq!(run(&mut downlink, 10).len(), 3);
        assert_eq!(downlink.flush().count(), 0);
        assert_eq!(run_from(&mut downlink, 10, 50), [""; 0]);
    }

    /// What a simple listener hears, who plays what comes and silence where nothing does: no step
    /// at any join is larger than those within the sound.
    #[test]
    fn no_join_clicks() {
        for cuts in [Cuts::Holds, Cuts::Underruns, Cuts::Flushes] {
            let (inside, joins) = steps_of(cuts);
            assert!(joins < 1.3 * inside, "{cuts:?}: {joins} at joins, {inside} inside");
        }
    }

    #[test]
    fn a_model_that_runs_dry_is_given_a_cushion_which_the_next_answer_begins_with() {
        let mut downlink = downlink();
        // Faster than speech, but in pieces of 80 ms that come 100 ms apart, then 40 ms apart.
        let mut seen = Vec::new();
        for n in 0..3 {
            downlink.push(&id("a"), &[LOUD; 4 * 480]).unwrap();
            seen.extend(run_from(&mut downlink, n * 100, (n + 1) * 100));
        }
        let stats = downlink.stats();
        assert_eq!((stats.underruns, stats.cushion_ms), (2, 120), "{seen:?}");
        downlink.push(&id("a"), &[LOUD; 4 * 480]).unwrap();
        downlink.finish(&id("a"));
        run_from(&mut downlink, 300, 700);
        let mut seen = Vec::new();
        for n in 0..4 {
            downlink.push(&id("b"), &[LOUD; 2 * 480]).unwrap();
            seen.extend(run_from(&mut downlink, 1000 + n * 40, 1000 + (n + 1) * 40));
        }
        assert_eq!(seen[..2], ["1080 p16 t51840 m", "1080 started b"]);
        assert_eq!(seen.len(), 5);
        downlink.finish(&id("b"));
        run_from(&mut downlink, 1160, 1400);
        assert_eq!(downlink.stats().cushion_ms, 60, "a whole answer halves it");
    }

    #[test]
    fn what_comes_a_little_late_moves_the_clock_and_is_no_underrun() {
        let mut downlink = downlink();
        let mut packets = 0;
        for n in 0..100 {
            downlink.push(&id("a"), &[9000; 480]).unwrap();
            let from = n * 20 + (n * 7) % 10;
            let until = (n + 1) * 20 + ((n + 1) * 7) % 10;
            packets += run_from(&mut downlink, from, until).len();
        }
        assert_eq!(packets, 101, "all of them, and that it has started");
        assert_eq!((downlink.stats().underruns, downlink.stats().closings), (0, 0));
    }

    #[test]
    fn what_is_skipped_after_a_late_wake_up_is_counted() {
        let mut downlink = downlink();
        downlink.push(&id("a"), &[LOUD; 480 * 20]).unwrap();
        run_from(&mut downlink, 0, 1);
        run_from(&mut downlink, 27, 28);
        run_from(&mut downlink, 143, 144);
        assert_eq!(downlink.stats().skipped_frames, 3);
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

    #[derive(Clone, Copy, Debug)]
    enum Cuts {
        Holds,
        Underruns,
        Flushes,
    }

    /// The largest step between two samples while a tone goes on, and where it is cut, after the
    /// way through the codec.
    fn steps_of(cuts: Cuts) -> (f64, f64) {
        let mut downlink = downlink();
        let sound = tone(310.0, 9000.0, 480 * 200);
        let mut pieces = sound.chunks(480);
        let mut listener = Decoder::new().unwrap();
        let mut arrived = std::collections::VecDeque::new();
        let mut heard = Vec::new();
        let mut utterance = 0;
        for tick in 0..200_usize {
            match (cuts, tick % 25) {
                (Cuts::Holds, 12) => downlink.hold(),
                (Cuts::Holds, 20) => downlink.resume(),
                (Cuts::Flushes, 12) => {
                    drop(downlink.flush());
                    utterance += 1;
                }
                _ => {}
            }
            let paused = matches!(cuts, Cuts::Underruns | Cuts::Flushes);
            if !(paused && (12..20).contains(&(tick % 25))) {
                let piece = pieces.next().unwrap();
                downlink.push(&id(&utterance.to_string()), piece).unwrap();
            }
            for at in 0..20 {
                let now = start() + ms(tick as u64 * 20 + at);
                while let Some(output) = downlink.poll(now) {
                    if let DownlinkOutput::Packet(packet) = output {
                        arrived.push_back(packet);
                    }
                }
            }
            heard.push(arrived.pop_front().map(|packet: OpusPacket| {
                listener.decode(&packet.payload).unwrap();
                listener.pull().unwrap()
            }));
        }
        let (mut inside, mut joins, mut last) = (0.0_f64, 0.0_f64, 0);
        for (n, frame) in heard.iter().enumerate() {
            let around = &heard[n.saturating_sub(2)..heard.len().min(n + 3)];
            let is_join = n < 3 || around.iter().any(Option::is_none);
            for sample in *frame.unwrap_or(Frame24k::SILENCE) {
                let step = f64::from((i32::from(sample) - last).abs());
                let largest = if is_join { &mut joins } else { &mut inside };
                (*largest, last) = (largest.max(step), i32::from(sample));
            }
        }
        (inside, joins)
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
