//! The sound of one call: every participant's uplink into one ear, and the agent's own voice out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::AddAssign;
use std::time::Instant;

use thiserror::Error;

use crate::agent::{
    BargeIn, Detector, EdgeKind, Listening, NoiseSuppression, PlaybackEvent, SpeechEdge,
};
use crate::ids::{ParticipantId, UtteranceId};
use crate::media::{
    self, CodecError, Downlink, DownlinkOutput, DownlinkStats, Duplex, Ear, Flooded, OpusPacket,
    Reception, SileroModel, SpeechConfig, Suppression, Tape, Taped, TimedFrame, Uplink,
    UplinkOutput, UplinkStats,
};

/// Everything that codes, detects and paces for one call. It is dropped with the call.
#[derive(Debug)]
pub(super) struct Sound {
    /// Boxed: a map's node has room for eleven, and mostly there is one.
    uplinks: BTreeMap<ParticipantId, Box<Uplink>>,
    ear: Ear,
    downlink: Downlink,
    /// What becomes of our packets on their way to the others.
    reception: Reception,
    listening: Listening,
    /// Since when the sound has been in the house that the ear has taken last.
    since: Instant,
    /// What became of the packets of those who are gone.
    gone: UplinkStats,
    /// What was told already of all that was counted.
    told: SoundStats,
    /// What the gateway has of what detectors need.
    silero: Option<SileroModel>,
    /// There from the beginning of the call on, whether or not it is recorded.
    tape: Option<Tape>,
}

/// What is counted of a call's sound, both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoundStats {
    /// What became of others' packets.
    pub heard: UplinkStats,
    /// How our own voice has left.
    pub said: DownlinkStats,
}

impl AddAssign for SoundStats {
    fn add_assign(&mut self, later: Self) {
        self.heard += later.heard;
        self.said += later.said;
    }
}

/// Why a call has no sound.
#[derive(Debug, Error)]
pub(super) enum SoundError {
    /// A codec is not to be had.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The agent was made where there was the detector's model.
    #[error("the detector silero needs its model, and this gateway has none")]
    NoDetector,
}

/// What comes out of a call's sound.
#[derive(Debug)]
pub(super) enum SoundOutput {
    /// For the model to hear.
    Hear(TimedFrame),
    /// Somebody has begun or stopped speaking.
    Edge(SpeechEdge),
    /// For the room, at once.
    Send(OpusPacket),
    /// For the recording.
    Tape(Taped),
    /// What was heard of the agent.
    Playback(PlaybackEvent),
}

impl Sound {
    /// The sound of a call in which the agent is `own`, and hears others in this way.
    pub(super) fn new(
        own: ParticipantId,
        listening: Listening,
        silero: Option<SileroModel>,
        now: Instant,
    ) -> Result<Self, SoundError> {
        let downlink = Downlink::new(own, now)?;
        let (uplinks, ear, reception) = (BTreeMap::new(), Ear::new(), Reception::default());
        let (gone, told) = Default::default();
        let mut sound = Self {
            uplinks,
            ear,
            downlink,
            reception,
            listening,
            since: now,
            gone,
            told,
            silero,
            tape: None,
        };
        sound.listen(listening)?;
        Ok(sound)
    }

    /// Hears others in this way from here on, and speaks to them in this way.
    pub(super) fn listen(&mut self, listening: Listening) -> Result<(), SoundError> {
        let hearing = hearing(listening, self.silero.as_ref())?;
        self.listening = listening;
        self.downlink.set_trims_silence(listening.trim_silence);
        for uplink in self.uplinks.values_mut() {
            uplink.set_manner(listening.barge_in.min_speech, duplex(listening));
            uplink.set_hearing(hearing.clone());
        }
        Ok(())
    }

    /// Says whether the call is recorded from here on, and when it began: now, if it was never
    /// asked before.
    pub(super) fn tape(&mut self, is_on: bool, now: Instant) -> Instant {
        let tape = self.tape.get_or_insert_with(|| Tape::new(now));
        tape.set_on(is_on);
        tape.began()
    }

    /// A participant's packet, as it came.
    pub(super) fn on_packet(&mut self, packet: OpusPacket, now: Instant) -> Result<(), SoundError> {
        let uplink = match self.uplinks.entry(packet.participant.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let uplink = new.insert(Box::new(Uplink::new(SpeechConfig::default(), now)?));
                uplink.set_manner(self.listening.barge_in.min_speech, duplex(self.listening));
                uplink.set_hearing(hearing(self.listening, self.silero.as_ref())?);
                uplink
            }
        };
        uplink.push(packet, now);
        Ok(())
    }

    /// A participant is gone: its speech, if it was speaking, is over.
    pub(super) fn on_participant_left(&mut self, id: &ParticipantId) {
        self.gone += self.uplinks.remove(id).map(|uplink| uplink.stats()).unwrap_or_default();
        self.ear.remove(id);
        if let Some(tape) = &mut self.tape {
            tape.forget(id);
        }
        if let Some(percent) = self.reception.forget(id) {
            self.downlink.set_loss_percent(percent);
        }
    }

    /// So many percent of our packets are lost on their way to a participant.
    pub(super) fn on_quality(&mut self, id: &ParticipantId, lost_percent: u8) {
        if let Some(percent) = self.reception.report(id, lost_percent) {
            self.downlink.set_loss_percent(percent);
        }
    }

    /// What was counted since it was asked last.
    pub(super) fn take_stats(&mut self) -> SoundStats {
        let mut heard = self.gone;
        self.uplinks.values().for_each(|uplink| heard += uplink.stats());
        let all = SoundStats { heard, said: self.downlink.stats() };
        let before = std::mem::replace(&mut self.told, all);
        SoundStats { heard: all.heard - before.heard, said: all.said - before.said }
    }

    /// More of what the agent says.
    pub(super) fn speak(&mut self, id: &UtteranceId, samples: &[i16]) -> Result<(), Flooded> {
        self.downlink.push(id, samples)
    }

    /// The agent has said all of an utterance.
    pub(super) fn finish(&mut self, utterance: &UtteranceId) {
        self.downlink.finish(utterance);
    }

    /// Falls silent at the frame edge, and keeps what was not heard.
    pub(super) fn hold(&mut self) {
        self.downlink.hold();
    }

    /// Goes on where it was held.
    pub(super) fn resume(&mut self) {
        self.downlink.resume();
    }

    /// Falls silent at the frame edge, and drops what was not heard.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = PlaybackEvent> {
        self.downlink.flush().map(|flushed| PlaybackEvent::Flushed {
            heard_ms: flushed.heard_ms(),
            end_ms: flushed.end_ms(),
            received_ms: flushed.received_ms(),
            is_complete: flushed.is_complete,
            utterance: flushed.utterance,
        })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for uplink in self.uplinks.values_mut() {
            uplink.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let uplinks = self.uplinks.values().filter_map(|uplink| uplink.poll_timeout());
        uplinks.chain(self.downlink.poll_timeout()).min()
    }

    /// The next thing that is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<SoundOutput> {
        if let Some(taped) = self.tape.as_mut().and_then(Tape::poll) {
            return Some(SoundOutput::Tape(taped));
        }
        if let Some(frame) = self.ear.poll() {
            return Some(SoundOutput::Hear(TimedFrame { frame, since: self.since }));
        }
        for (participant, uplink) in &mut self.uplinks {
            match uplink.poll_beside(Some(self.downlink.own_voice())) {
                None => {}
                Some(UplinkOutput::Edge(edge)) => {
                    return Some(SoundOutput::Edge(attribute(edge, participant)));
                }
                Some(UplinkOutput::Frame(frame)) => {
                    // A frame leaves the ear when the leader's has come in: it is that one's age.
                    self.since = uplink.since();
                    self.ear.push(participant, &frame);
                    if let Some(tape) = &mut self.tape {
                        tape.hear(participant, uplink.raw(), self.since);
                    }
                    return self.poll(now);
                }
            }
        }
        let output = self.downlink.poll(now)?;
        if let (DownlinkOutput::Packet(packet), Some(tape)) = (&output, &mut self.tape) {
            tape.say(self.downlink.last_frame(), packet.timestamp, packet.at);
        }
        Some(from_downlink(output))
    }
}

fn duplex(listening: Listening) -> Duplex {
    match listening.barge_in {
        BargeIn { enabled: false, .. } => Duplex::Half,
        BargeIn { echo_guard: true, .. } => Duplex::Guarded,
        BargeIn { echo_guard: false, .. } => Duplex::Full,
    }
}

fn hearing(
    listening: Listening,
    silero: Option<&SileroModel>,
) -> Result<media::Hearing, SoundError> {
    let hearing = listening.hearing;
    Ok(media::Hearing {
        detector: match hearing.detector {
            Detector::Webrtc => media::Detector::Webrtc,
            Detector::Earshot => media::Detector::Earshot,
            Detector::Silero => {
                media::Detector::Silero(silero.cloned().ok_or(SoundError::NoDetector)?)
            }
        },
        noise_suppression: match hearing.noise_suppression {
            NoiseSuppression::Off => None,
            NoiseSuppression::Low => Some(Suppression::Low),
            NoiseSuppression::Moderate => Some(Suppression::Moderate),
            NoiseSuppression::High => Some(Suppression::High),
        },
        gain_control: hearing.gain_control,
    })
}

fn attribute(edge: media::Edge, participant: &ParticipantId) -> SpeechEdge {
    let kind = match edge.kind {
        media::EdgeKind::Started => EdgeKind::Started,
        media::EdgeKind::Sustained => EdgeKind::Sustained,
        media::EdgeKind::Stopped => EdgeKind::Stopped,
    };
    SpeechEdge { participant: participant.clone(), kind, at: edge.at }
}

fn from_downlink(output: DownlinkOutput) -> SoundOutput {
    match output {
        DownlinkOutput::Packet(packet) => SoundOutput::Send(packet),
        DownlinkOutput::Started { utterance } => {
            SoundOutput::Playback(PlaybackEvent::Started { utterance })
        }
        DownlinkOutput::Finished { utterance, heard_ms } => {
            SoundOutput::Playback(PlaybackEvent::Finished { utterance, heard_ms })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::{Converter, Encoder, Frame24k, RTP_TICKS_PER_FRAME, Side};
    use crate::sys::clock;

    #[test]
    fn a_held_voice_goes_on_where_it_was() {
        let mut call = Call::new(Listening::default());
        call.sound.speak(&id("u"), &[900; 480 * 4]).unwrap();
        call.run(2, |_| Vec::new());
        call.sound.hold();
        call.run(10, |_| Vec::new());
        assert_eq!(call.sent.len(), 3, "the last leads into silence");
        call.sound.resume();
        call.run(10, |_| Vec::new());
        assert_eq!(call.sent.len(), 5);
        assert!(call.sent[3].marker && call.sent[3].timestamp >= 12 * RTP_TICKS_PER_FRAME);
    }

    #[test]
    fn a_flush_tells_where_in_the_models_sound_it_came() {
        for (trim_silence, expected) in [(true, (60, 520)), (false, (60, 60))] {
            let mut call = Call::new(Listening { trim_silence, ..Listening::default() });
            call.sound.speak(&id("u"), &[0; 12_000]).unwrap();
            call.sound.speak(&id("u"), &[900; 12_000]).unwrap();
            call.run(3, |_| Vec::new());
            let Some(PlaybackEvent::Flushed { heard_ms, end_ms, received_ms, is_complete, .. }) =
                call.sound.flush().next()
            else {
                panic!("nothing was flushed");
            };
            assert_eq!((heard_ms, end_ms), expected);
            assert_eq!((received_ms, is_complete), (1000, false));
        }
    }

    #[test]
    fn one_who_lets_us_back_in_is_silent_and_the_other_is_heard() {
        let ours = recording("tell-me-the-weather-in-paris");
        let human = recording("what-time-is-it");
        let mut call = Call::new(Listening::default());
        for frame in &ours {
            call.sound.speak(&id("u"), &frame[..]).unwrap();
        }
        call.run(ours.len(), |n| {
            // The silence in front was left out, so it comes back later than by these frames.
            let echo = n.checked_sub(5).map(|n| ("p_echo", ours[n]));
            let human = n.checked_sub(30).and_then(|n| human.get(n).copied());
            echo.into_iter().chain(human.map(|frame| ("p_human", frame))).collect()
        });
        let who: Vec<_> = call.edges.iter().map(|edge| edge.participant.as_str()).collect();
        assert!(!who.is_empty() && who.iter().all(|who| *who == "p_human"), "{who:?}");
    }

    #[test]
    fn a_new_manner_goes_for_those_who_are_there() {
        let human = recording("tell-me-the-weather-in-paris");
        let mut call = Call::new(Listening::default());
        call.run(50, |n| vec![("p_human", human[n])]);
        let half = BargeIn { enabled: false, ..BargeIn::default() };
        call.sound.listen(Listening { barge_in: half, ..Listening::default() }).unwrap();
        call.sound.speak(&id("u"), &[900; 480 * 30]).unwrap();
        call.run(25, |n| vec![("p_human", human[50 + n])]);
        let kinds: Vec<_> = call.edges.iter().map(|edge| edge.kind).collect();
        assert_eq!(kinds, [EdgeKind::Started, EdgeKind::Sustained, EdgeKind::Stopped]);
        assert!(call.heard[call.heard.len() - 20..].iter().all(|level| *level == 0));
    }

    #[test]
    fn a_frame_is_as_old_as_the_packet_that_brought_it() {
        let mut call = Call::new(Listening::default());
        let came = call.now;
        let packet = call.packet("p_human", &Frame24k::SILENCE);
        call.now += Duration::from_millis(5);
        call.sound.on_packet(packet, call.now).unwrap();
        let Some(SoundOutput::Hear(heard)) = call.sound.poll(call.now) else {
            panic!("nothing is heard");
        };
        assert_eq!(heard.since, came);
        call.now += Duration::from_millis(120);
        call.sound.handle_timeout(call.now);
        let Some(SoundOutput::Hear(silence)) = call.sound.poll(call.now) else {
            panic!("no silence takes its place");
        };
        assert_eq!(silence.since, call.now);
    }

    #[test]
    fn how_much_speech_is_meant_is_as_the_agent_wants() {
        for (min_ms, expected) in [(0, 2), (10_000, 1)] {
            let min_speech = Duration::from_millis(min_ms);
            let barge_in = BargeIn { min_speech, ..BargeIn::default() };
            let mut call = Call::new(Listening { barge_in, ..Listening::default() });
            let human = recording("tell-me-the-weather-in-paris");
            call.run(60, |n| vec![("p_human", human[n])]);
            assert_eq!(call.edges.len(), expected, "{:?}", call.edges);
        }
    }

    #[test]
    fn a_recording_has_the_caller_as_they_came_and_the_agent_up_to_where_it_was_cut() {
        let human = recording("tell-me-the-weather-in-paris");
        let mut call = Call::new(Listening {
            barge_in: BargeIn { enabled: false, ..BargeIn::default() },
            ..Listening::default()
        });
        let began = call.sound.tape(true, call.now);
        assert_eq!(began, call.now);
        call.run(50, |_| Vec::new());
        call.sound.speak(&id("u"), &vec![900; 480 * 100]).unwrap();
        call.run(30, |n| vec![("p_human", human[40 + n])]);
        assert_eq!(call.sound.flush().count(), 1);
        call.run(10, |_| Vec::new());
        let side = |side| call.taped.iter().filter(move |taped| taped.side == side);
        let said: Vec<_> = side(Side::Said).map(|taped| taped.at / 480).collect();
        assert_eq!(said, (50..=80).collect::<Vec<_>>(), "and the packet that leads into silence");
        assert_eq!(said.len(), call.sent.len());
        let heard: Vec<_> = side(Side::Heard).take(30).map(|taped| taped.at / 480).collect();
        assert_eq!(heard, (49..79).collect::<Vec<_>>());
        let is_heard = |taped: &Taped| taped.frame.level() > 300;
        assert!(side(Side::Heard).any(is_heard), "though the agent does not hear it");
        assert!(call.heard[2..30].iter().all(|level| *level == 0));
    }

    /// A call of our sound with participants' frames, and what came of it.
    struct Call {
        sound: Sound,
        now: Instant,
        encoders: BTreeMap<&'static str, (Encoder, u16)>,
        sent: Vec<OpusPacket>,
        edges: Vec<SpeechEdge>,
        heard: Vec<u32>,
        taped: Vec<Taped>,
    }

    impl Call {
        fn new(listening: Listening) -> Self {
            let now = clock::now();
            let sound = Sound::new(ParticipantId::new("p_agent"), listening, None, now).unwrap();
            let (sent, edges, heard, taped) = Default::default();
            Self { sound, now, encoders: BTreeMap::new(), sent, edges, heard, taped }
        }

        /// So many times 20 ms, with what is said in each.
        fn run(&mut self, frames: usize, said: impl Fn(usize) -> Vec<(&'static str, Frame24k)>) {
            for n in 0..frames {
                for (who, frame) in said(n) {
                    let packet = self.packet(who, &frame);
                    self.sound.on_packet(packet, self.now).unwrap();
                }
                while let Some(output) = self.sound.poll(self.now) {
                    match output {
                        SoundOutput::Hear(heard) => self.heard.push(heard.frame.level()),
                        SoundOutput::Edge(edge) => self.edges.push(edge),
                        SoundOutput::Send(packet) => self.sent.push(packet),
                        SoundOutput::Tape(taped) => self.taped.push(taped),
                        SoundOutput::Playback(_) => {}
                    }
                }
                self.now += Duration::from_millis(20);
            }
        }

        fn packet(&mut self, who: &'static str, frame: &Frame24k) -> OpusPacket {
            let new = || (Encoder::new().unwrap(), 0);
            let (encoder, sequence) = self.encoders.entry(who).or_insert_with(new);
            *sequence += 1;
            OpusPacket {
                participant: ParticipantId::new(who),
                sequence: *sequence,
                timestamp: u32::from(*sequence) * RTP_TICKS_PER_FRAME,
                marker: false,
                payload: encoder.encode(frame),
                at: self.now,
            }
        }
    }

    fn recording(name: &str) -> Vec<Frame24k> {
        let path = format!("fixtures/audio/{name}-16000hz-16bit-mono.wav");
        let mut wav = hound::WavReader::open(path).unwrap();
        let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
        let mut resampled = Vec::new();
        Converter::new(16_000, 24_000).unwrap().convert(&samples, &mut resampled);
        resampled.as_chunks::<480>().0.iter().copied().map(Frame24k::new).collect()
    }

    fn id(name: &str) -> UtteranceId {
        UtteranceId::new(name)
    }
}
