//! What legs into rooms elsewhere share: who we are on the wire, and an agent's sound over a leg.

use tokio::sync::mpsc::error::TrySendError;

use super::FarEnd;
use super::line::Line;
use super::peer::{Ear, Identity, PeerEvent, Voice};
use crate::agent::{Participant, RoomEvent};
use crate::ids::ParticipantId;
use crate::media::OpusPacket;
use crate::meter::{Counter, Meter, Stage};
use crate::sys::clock;

/// What every stay elsewhere needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// The certificate of all our legs.
    pub(super) identity: Identity,
    /// Counts how long packets take to leave.
    pub(super) meter: Meter,
}

/// An agent's end of a stay, and the one stream of sound that it sends there: a leg may be
/// replaced by another, and the stream goes on.
#[derive(Debug)]
pub(super) struct Stay {
    far: FarEnd,
    line: Line,
    meter: Meter,
    is_told: bool,
}

/// Why sound has stopped to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parted {
    /// The agent has left.
    Left,
    /// The leg is lost, for this reason.
    Lost(&'static str),
}

impl Stay {
    /// A stay that nobody has been told of yet.
    pub(super) fn new(far: FarEnd, meter: Meter) -> Self {
        Self { far, line: Line::begin(clock::now()), meter, is_told: false }
    }

    /// Who the agent is in the room.
    pub(super) const fn me(&self) -> &Participant {
        &self.far.me
    }

    /// Tells the agent that it is in, once: later, when it is in again, it is told nothing.
    /// `false` if it has left.
    pub(super) fn enter(&mut self, participants: Vec<Participant>) -> bool {
        if std::mem::replace(&mut self.is_told, true) {
            return true;
        }
        self.tell(RoomEvent::Joined { participants })
    }

    /// Whether the agent was told that it is in.
    pub(super) const fn is_in(&self) -> bool {
        self.is_told
    }

    /// Tells the agent something. `false` if it has left, or does not take what it is told: then
    /// the stay must end.
    pub(super) fn tell(&self, event: RoomEvent) -> bool {
        self.far.events.try_send(event).is_ok()
    }

    /// Waits until the agent has left. What it says meanwhile is heard by nobody.
    pub(super) async fn left(&mut self) {
        while self.far.playout.recv().await.is_some() {}
    }

    /// Carries sound both ways until either side ends it; may be dropped at any time, and called
    /// again. What the leg brings is heard as coming from `speaker`.
    pub(super) async fn carry(
        &mut self,
        ear: &mut Ear,
        voice: &Voice,
        speaker: &ParticipantId,
    ) -> Parted {
        loop {
            tokio::select! {
                said = self.far.playout.recv() => match said {
                    Some(packet) => self.say(&packet, voice),
                    None => return Parted::Left,
                },
                event = ear.next() => match event {
                    PeerEvent::Packet(packet) => self.hear(packet, speaker),
                    PeerEvent::Quality(line) => {
                        let _ = self.tell(RoomEvent::Quality { id: speaker.clone(), line });
                    }
                    PeerEvent::Connected => {}
                    PeerEvent::Lost(reason) => return Parted::Lost(reason),
                },
            }
        }
    }

    fn say(&mut self, packet: &OpusPacket, voice: &Voice) {
        let now = clock::now();
        if let Some(packet) = self.line.pass(packet, now) {
            voice.send(&packet);
        }
        self.meter.observe(Stage::DownlinkSend, now.saturating_duration_since(packet.at));
    }

    fn hear(&self, packet: OpusPacket, speaker: &ParticipantId) {
        let packet = OpusPacket { participant: speaker.clone(), ..packet };
        // A full queue is the agent's own loss; its ear sees the gap.
        if let Err(TrySendError::Full(_)) = self.far.packets.try_send(packet) {
            self.meter.count(Counter::DroppedAgent);
        }
    }

    /// The agent is told why it does not get in, or is out.
    pub(super) fn fail(self, failure: crate::agent::RoomFailure) {
        self.far.fail(failure);
    }
}
