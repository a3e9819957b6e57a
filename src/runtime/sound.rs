//! The sound of one call: every participant's uplink into one ear, and the agent's own voice out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Instant;

use crate::agent::{EdgeKind, PlaybackEvent, SpeechEdge};
use crate::ids::{ParticipantId, UtteranceId};
use crate::media::{
    self, CodecError, Downlink, DownlinkOutput, Ear, Flooded, Frame24k, OpusPacket, SpeechConfig,
    Uplink, UplinkOutput,
};

/// Everything that codes, detects and paces for one call. It is dropped with the call.
#[derive(Debug)]
pub(super) struct Sound {
    uplinks: BTreeMap<ParticipantId, Uplink>,
    ear: Ear,
    downlink: Downlink,
}

/// What comes out of a call's sound.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of them are frames, on their way to a queue")]
pub(super) enum SoundOutput {
    /// For the model to hear.
    Hear(Frame24k),
    /// Somebody has begun or stopped speaking.
    Edge(SpeechEdge),
    /// For the room, at once.
    Send(OpusPacket),
    /// What was heard of the agent.
    Playback(PlaybackEvent),
}

impl Sound {
    /// The sound of a call in which the agent is `own`.
    pub(super) fn new(own: ParticipantId, now: Instant) -> Result<Self, CodecError> {
        let downlink = Downlink::new(own, now)?;
        Ok(Self { uplinks: BTreeMap::new(), ear: Ear::new(), downlink })
    }

    /// A participant's packet, as it came.
    pub(super) fn on_packet(&mut self, packet: OpusPacket, now: Instant) -> Result<(), CodecError> {
        let uplink = match self.uplinks.entry(packet.participant.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Uplink::new(SpeechConfig::default(), now)?),
        };
        uplink.push(packet, now);
        Ok(())
    }

    /// A participant is gone: its speech, if it was speaking, is over.
    pub(super) fn on_participant_left(&mut self, id: &ParticipantId) {
        self.uplinks.remove(id);
        self.ear.remove(id);
    }

    /// More of what the agent says.
    pub(super) fn speak(&mut self, id: &UtteranceId, samples: &[i16]) -> Result<(), Flooded> {
        self.downlink.push(id, samples)
    }

    /// The agent has said all of an utterance.
    pub(super) fn finish(&mut self, utterance: &UtteranceId) {
        self.downlink.finish(utterance);
    }

    /// Falls silent at the frame edge.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = PlaybackEvent> {
        self.downlink.flush().map(|flushed| PlaybackEvent::Flushed {
            heard_ms: flushed.heard_ms(),
            received_ms: flushed.received_ms(),
            utterance: flushed.utterance,
        })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for uplink in self.uplinks.values_mut() {
            uplink.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let uplinks = self.uplinks.values().filter_map(Uplink::poll_timeout);
        uplinks.chain(self.downlink.poll_timeout()).min()
    }

    /// The next thing that is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<SoundOutput> {
        if let Some(frame) = self.ear.poll() {
            return Some(SoundOutput::Hear(frame));
        }
        for (participant, uplink) in &mut self.uplinks {
            match uplink.poll() {
                None => {}
                Some(UplinkOutput::Edge(edge)) => {
                    return Some(SoundOutput::Edge(attribute(edge, participant)));
                }
                Some(UplinkOutput::Frame(frame)) => {
                    self.ear.push(participant, &frame);
                    return self.poll(now);
                }
            }
        }
        self.downlink.poll(now).map(from_downlink)
    }
}

fn attribute(edge: media::Edge, participant: &ParticipantId) -> SpeechEdge {
    let kind = match edge.kind {
        media::EdgeKind::Started => EdgeKind::Started,
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
