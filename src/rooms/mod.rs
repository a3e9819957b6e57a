//! Adapters to the places where people talk. They know neither models nor agents' lives.

mod codecs;
mod fingerprint;
mod hosted;
mod mux;
mod peer;
mod sdp;
mod url;
pub mod whip;

use tokio::sync::mpsc;

pub use self::codecs::Codec;
pub use self::hosted::{
    IceSession, MakeRoomError, RoomAnswer, RoomView, Rooms, RoomsConfig, TrickleAnswer,
};
pub use self::url::{RoomName, RoomUrl};
use crate::agent::RoomEvent;
use crate::media::{CATCH_UP_FRAMES, OpusPacket};

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
