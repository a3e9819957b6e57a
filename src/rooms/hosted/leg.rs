//! A human's leg into a room: one task that listens to the peer and does its signalling.

use tokio::sync::{mpsc, oneshot};

use super::IceSession;
use super::room::Order;
use crate::agent::LineQuality;
use crate::ids::ParticipantId;
use crate::media::OpusPacket;
use crate::meter::{Counter, Meter};
use crate::rooms::peer::{Ear, Peer, PeerError, PeerEvent, Trickled};
use crate::rooms::sdp::Fragment;
use crate::rooms::url::RoomName;

/// Orders to one leg that may wait.
///
/// When full: the one who orders waits.
pub(super) const LEG_ORDERS_CAPACITY: usize = 8;

/// What a leg is told.
#[derive(Debug)]
pub(super) enum LegOrder {
    /// The peer trickles, for the ICE session that it believes to be in.
    Trickle { fragment: Fragment, of: IceSession, reply: oneshot::Sender<TrickleReply> },
    /// Say goodbye and end.
    HangUp,
}

/// What has become of a fragment; `None` if it is for another ICE session.
pub(super) type TrickleReply = Result<Option<Trickled>, PeerError>;

/// Where a leg reports to.
#[derive(Clone, Debug)]
pub(super) struct ToRoom {
    pub(super) room: RoomName,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) heard: mpsc::Sender<OpusPacket>,
    pub(super) meter: Meter,
}

/// Runs one human's leg until either side ends it.
pub(super) async fn run(
    id: ParticipantId,
    mut peer: Peer,
    mut ear: Ear,
    mut orders: mpsc::Receiver<LegOrder>,
    to: ToRoom,
) {
    let mut lost_packets = 0_u64;
    let mut line = LineQuality::default();
    let reason = loop {
        tokio::select! {
            event = ear.next() => match event {
                PeerEvent::Packet(packet) => {
                    if to.heard.try_send(packet).is_err() {
                        lost_packets += 1;
                        to.meter.count(Counter::DroppedRoom);
                    }
                }
                PeerEvent::Connected => {
                    if to.orders.send(Order::Connected(id.clone())).await.is_err() {
                        break "the room has closed";
                    }
                }
                PeerEvent::Quality(quality) => {
                    line = quality;
                    // What is not told is out of date within a second.
                    let _ = to.orders.try_send(Order::Quality { id: id.clone(), line });
                }
                PeerEvent::Lost(reason) => break reason,
            },
            order = orders.recv() => match order {
                Some(LegOrder::Trickle { fragment, of, reply }) => {
                    let trickled = trickle(&mut peer, &fragment, &of).await;
                    // Who asked may have gone; the candidates are taken all the same.
                    let _ = reply.send(trickled);
                }
                Some(LegOrder::HangUp) | None => break "it hung up",
            },
        }
    };
    tracing::info!(room = %to.room, participant = %id, reason, lost_packets, "a human has left");
    tracing::debug!(room = %to.room, participant = %id, ?line, "how its line was in the end");
    // The others need not wait for our goodbye.
    let _ = to.orders.send(Order::Gone { id, reason }).await;
    peer.close().await;
}

async fn trickle(peer: &mut Peer, fragment: &Fragment, of: &IceSession) -> TrickleReply {
    match of {
        IceSession::Any => {}
        IceSession::OneOf(tags) if tags.iter().any(|tag| peer.is_known_as(tag)) => {}
        IceSession::OneOf(_) => return Ok(None),
    }
    peer.trickle(fragment).await.map(Some)
}
