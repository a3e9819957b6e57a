//! Where the datagrams of one leg wait between the shared socket and the leg's driver.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use tokio::sync::watch;

/// Datagrams that may wait for one leg: a second of a call, and a handshake's burst.
///
/// When full: the newest is dropped and counted, as a full socket buffer would.
pub(super) const INBOX_CAPACITY: usize = 128;

/// A datagram and where it came from.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Bytes,
}

/// One leg's waiting datagrams on one port. One task puts in, one takes out.
#[derive(Debug)]
pub(super) struct Inbox {
    datagrams: ArrayQueue<Datagram>,
    reader: AtomicWaker,
    lost: AtomicU64,
    /// Written rarely, and by two tasks: the leg's driver, and the reader of the port.
    way: watch::Sender<Way>,
}

/// How a leg's peer is reached.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// Where the engine sends what it says.
    peer: Option<SocketAddr>,
    /// A peer as the engine knows it, and where it is since its NAT has moved it.
    moved: Option<(SocketAddr, SocketAddr)>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            datagrams: ArrayQueue::new(INBOX_CAPACITY),
            reader: AtomicWaker::new(),
            lost: AtomicU64::new(0),
            way: watch::Sender::new(Way::default()),
        }
    }

    /// The engine says something to this peer.
    pub(super) fn talks_to(&self, peer: SocketAddr) {
        if self.peer() != Some(peer) {
            self.way.send_modify(|way| way.peer = Some(peer));
        }
    }

    /// To whom the engine says what it says.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.way.borrow().peer
    }

    /// From here on, whom the engine knows as `peer` is at `address`.
    pub(super) fn redirect(&self, peer: SocketAddr, address: SocketAddr) {
        self.way.send_modify(|way| way.moved = Some((peer, address)));
    }

    /// Where the one is whom the engine knows as `peer`.
    pub(super) fn address_of(&self, peer: SocketAddr) -> SocketAddr {
        match self.way.borrow().moved {
            Some((known, address)) if known == peer => address,
            _ => peer,
        }
    }

    pub(super) fn push(&self, datagram: Datagram) {
        if self.datagrams.push(datagram).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.reader.wake();
    }

    /// The next datagram; else `cx` is woken when one comes.
    pub(super) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Datagram> {
        if let Some(datagram) = self.datagrams.pop() {
            return Poll::Ready(datagram);
        }
        self.reader.register(cx.waker());
        // One may have come between the look and the registration.
        self.datagrams.pop().map_or(Poll::Pending, Poll::Ready)
    }

    /// How many datagrams found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
