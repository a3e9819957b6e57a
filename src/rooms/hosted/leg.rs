//! A human's leg into a room: one task that listens to the peer and does its signalling.

use tokio::sync::{mpsc, oneshot};

use super::room::Order;
use crate::ids::ParticipantId;
use crate::media::OpusPacket;
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
    /// The peer trickles.
    Trickle { fragment: Fragment, reply: oneshot::Sender<Result<Trickled, PeerError>> },
    /// Say goodbye and end.
    HangUp,
}

/// Where a leg reports to.
#[derive(Clone, Debug)]
pub(super) struct ToRoom {
    pub(super) room: RoomName,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) heard: mpsc::Sender<OpusPacket>,
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
    let reason = loop {
        tokio::select! {
            event = ear.next() => match event {
                PeerEvent::Packet(packet) => {
                    lost_packets += u64::from(to.heard.try_send(packet).is_err());
                }
                PeerEvent::Connected => {
                    if to.orders.send(Order::Connected(id.clone())).await.is_err() {
                        break "the room has closed";
                    }
                }
                PeerEvent::Lost(reason) => break reason,
            },
            order = orders.recv() => match order {
                Some(LegOrder::Trickle { fragment, reply }) => {
                    // Who asked may have gone; the candidates are taken all the same.
                    let _ = reply.send(peer.trickle(&fragment).await);
                }
                Some(LegOrder::HangUp) | None => break "it hung up",
            },
        }
    };
    tracing::info!(room = %to.room, participant = %id, reason, lost_packets, "a human has left");
    // The others need not wait for our goodbye.
    let _ = to.orders.send(Order::Gone(id)).await;
    peer.close().await;
}
