//! What a leg takes for its own UDP socket: a view of the shared one.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::Order;
use super::inbox::{Inbox, Source};
use super::stun::{self, Kind};

/// One leg's share of a port.
#[derive(Debug)]
pub(super) struct VirtualSocket {
    /// The address by which the engine knows this socket; nothing is bound to it.
    pub(super) label: SocketAddr,
    pub(super) inbox: Arc<Inbox>,
    pub(super) port: Arc<dyn AsyncUdpSocket>,
    pub(super) orders: mpsc::Sender<Order>,
}

impl AsyncUdpSocket for VirtualSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.label)
    }

    /// Sends at once or not at all: a socket that many share must not be waited for by one, and
    /// an unreachable candidate must not end a leg. What is lost here is lost like on any network.
    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.note(transmit);
        let destination = match self.inbox.source_of(transmit.destination) {
            Source::Datagrams(destination) => destination,
            Source::Stream(to) => {
                self.inbox.send(to, packets(transmit));
                return Poll::Ready(Ok(transmit.contents.len()));
            }
        };
        let transmit = &Transmit { destination, ..transmit.clone() };
        let mut nobody = Context::from_waker(Waker::noop());
        match self.port.poll_send(&mut nobody, transmit) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => tracing::debug!(%error, "a datagram could not be sent"),
            Poll::Pending => tracing::debug!("a datagram was dropped: the port's buffer is full"),
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Poll::Ready(datagram) = self.inbox.poll_pop(cx) else { break };
            let length = datagram.bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram.bytes[..length]);
            *meta = RecvMeta::default();
            meta.addr = datagram.from;
            meta.len = length;
            meta.stride = length.max(1);
            meta.timestamp = datagram.stamp;
            filled += 1;
        }
        if filled == 0 { Poll::Pending } else { Poll::Ready(Ok(filled)) }
    }
}

impl VirtualSocket {
    /// What the reader of the port is to know of a datagram that leaves.
    fn note(&self, transmit: &Transmit<'_>) {
        let inbox = || Arc::downgrade(&self.inbox);
        let order = match (stun::classify(transmit.contents), self.inbox.peer()) {
            (Kind::Request { transaction, .. }, _) => {
                Order::Expect { transaction, peer: transmit.destination, inbox: inbox() }
            }
            // The engine has checked who asked, and it is our peer, whom we know elsewhere.
            (Kind::Answer { .. }, Some(peer))
                if transmit.destination != peer && stun::is_success(transmit.contents) =>
            {
                let from = self.inbox.source_at(transmit.destination);
                Order::Prove { from, peer, inbox: inbox() }
            }
            (Kind::Answer { .. }, _) => return,
            (Kind::Other, _) => return self.inbox.talks_to(transmit.destination),
        };
        if self.orders.try_send(order).is_err() {
            tracing::debug!("a connectivity check was not noted; it will be repeated");
        }
    }
}

/// The packets of a transmission, which may be several of one length.
fn packets<'a>(transmit: &Transmit<'a>) -> impl Iterator<Item = &'a [u8]> {
    let length = transmit.segment_size.unwrap_or(transmit.contents.len());
    transmit.contents.chunks(length.max(1))
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        let lost = self.inbox.lost();
        if lost > 0 {
            tracing::debug!(lost, "datagrams found a full inbox");
        }
    }
}
