//! Adapters to the places where people talk. They know neither models nor agents' lives.

mod codecs;
mod daily;
mod elsewhere;
mod fingerprint;
mod hosted;
mod janus;
mod line;
mod mux;
mod peer;
mod places;
mod sdp;
mod url;
mod wav;
pub mod whip;

use tokio::sync::mpsc;

pub use self::codecs::Codec;
pub use self::daily::DailyConfig;
pub use self::hosted::{
    IceSession, MakeRoomError, RoomAnswer, RoomView, Rooms, RoomsConfig, TrickleAnswer,
};
pub use self::mux::BUFFER_BYTES as MEDIA_BUFFER_BYTES;
pub use self::places::{Places, PlacesConfig};
pub use self::url::{RoomName, RoomUrl};
pub use self::wav::{Record, Recording};
use crate::agent::{Participant, RoomEvent, RoomFailure};
use crate::ids::ParticipantId;
use crate::media::{CATCH_UP_FRAMES, OpusPacket};
use crate::sys::entropy;
use crate::sys::lanes::Lane;

/// Packets from the room that may wait for the agent: one second.
///
/// When full: the newest packet is dropped and counted; the agent's ear sees a gap.
pub const PACKETS_CAPACITY: usize = 50;

/// Events from the room that may wait for the agent.
///
/// When full: the agent is put out, and its link closes; a room waits for nobody.
pub const EVENTS_CAPACITY: usize = 64;

/// Packets to the room that may wait: as many as leave together after a stall. While the clock is
/// kept, one frame at most lies beyond what can be taken back.
///
/// When full: the frame is skipped, which the log tells at DEBUG; RTP time still advances.
pub const PLAYOUT_CAPACITY: usize = 3;
const _: () = assert!(PLAYOUT_CAPACITY as u64 == CATCH_UP_FRAMES, "a burst must have a place");

/// An agent's side of a room it is in. Dropping it leaves the room.
#[derive(Debug)]
pub struct RoomLink {
    /// What others say: every participant's packets but our own.
    pub packets: mpsc::Receiver<OpusPacket>,
    /// Who comes and goes. The first event is `Joined` or `Failed`; closed when we are out.
    pub events: mpsc::Receiver<RoomEvent>,
    /// What we say; the packets' `participant` is ours.
    pub playout: mpsc::Sender<OpusPacket>,
}

/// The room's side of a link, which an adapter serves. When `playout` is closed, the agent has
/// left; when this is dropped, the agent is out.
#[derive(Debug)]
struct FarEnd {
    /// Who the agent is among the others.
    me: Participant,
    packets: mpsc::Sender<OpusPacket>,
    events: mpsc::Sender<RoomEvent>,
    playout: mpsc::Receiver<OpusPacket>,
    /// Where the agent runs: what is made for it alone does well to run there too.
    lane: Lane,
}

impl FarEnd {
    /// The agent does not get in, or is out.
    fn fail(&self, failure: RoomFailure) {
        // Who does not take its last word sees that the link has ended.
        let _ = self.events.try_send(RoomEvent::Failed(failure));
    }
}

/// Both sides of a new link, for an agent of this name that runs where this is called.
fn link(name: String) -> (RoomLink, FarEnd) {
    let (packets_to, packets) = mpsc::channel(PACKETS_CAPACITY);
    let (events_to, events) = mpsc::channel(EVENTS_CAPACITY);
    let (playout, playout_from) = mpsc::channel(PLAYOUT_CAPACITY);
    let me = Participant { id: new_participant(), name };
    let lane = Lane::here();
    let far = FarEnd { me, packets: packets_to, events: events_to, playout: playout_from, lane };
    (RoomLink { packets, events, playout }, far)
}

fn new_participant() -> ParticipantId {
    ParticipantId::from_entropy(entropy::bits())
}
