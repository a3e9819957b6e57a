//! What one leg has of a port: the datagrams that wait for its driver, and the ways to its peer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;
use tokio::sync::watch;

use super::tcp::Outlet;

/// Datagrams that may wait for one leg: a second of a call, and a handshake's burst.
///
/// When full: the newest is dropped and counted, as a full socket buffer would.
pub(super) const INBOX_CAPACITY: usize = 128;

/// Connections that one leg may have: a browser makes one for each of its own networks.
///
/// When full: one that has ended is forgotten, or else the oldest is closed.
const STREAMS_CAPACITY: usize = 4;

/// Where something comes from, or goes. The engine knows only addresses; a NAT may give the same
/// one to a caller's datagrams and to the connection of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Datagrams of this address.
    Datagrams(SocketAddr),
    /// The connection from this address.
    Stream(SocketAddr),
}

impl Source {
    pub(super) const fn address(self) -> SocketAddr {
        match self {
            Self::Datagrams(address) | Self::Stream(address) => address,
        }
    }
}

/// A datagram, where it came from, and when, since the Unix epoch, if that is known.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Bytes,
    pub(super) stamp: Option<Duration>,
}

/// One leg's waiting datagrams on one port. One task puts in, one takes out.
#[derive(Debug)]
pub(super) struct Inbox {
    datagrams: ArrayQueue<Datagram>,
    reader: AtomicWaker,
    lost: AtomicU64,
    /// Written rarely, and by two tasks: the leg's driver, and the reader of the port.
    ways: watch::Sender<Ways>,
}

/// How a leg's peer is reached.
#[derive(Debug, Default)]
struct Ways {
    /// Where the engine sends what it says.
    peer: Option<SocketAddr>,
    /// A peer as the engine knows it, and where it is since its NAT has moved it.
    moved: Option<(SocketAddr, Source)>,
    /// The connections, the youngest last. One that has ended stays known as a connection, so
    /// that what is still said to it goes nowhere.
    streams: Vec<(SocketAddr, Outlet)>,
}

impl Ways {
    fn outlet(&self, address: SocketAddr) -> Option<&Outlet> {
        self.streams.iter().find(|(from, _)| *from == address).map(|(_, outlet)| outlet)
    }
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            datagrams: ArrayQueue::new(INBOX_CAPACITY),
            reader: AtomicWaker::new(),
            lost: AtomicU64::new(0),
            ways: watch::Sender::new(Ways::default()),
        }
    }

    /// The engine says something to this peer.
    pub(super) fn talks_to(&self, peer: SocketAddr) {
        if self.peer() != Some(peer) {
            self.ways.send_modify(|ways| ways.peer = Some(peer));
        }
    }

    /// To whom the engine says what it says.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.ways.borrow().peer
    }

    /// From here on, whom the engine knows as `peer` is at `source`.
    pub(super) fn redirect(&self, peer: SocketAddr, source: Source) {
        self.ways.send_modify(|ways| ways.moved = Some((peer, source)));
    }

    /// Where the one is whom the engine knows as `peer`.
    pub(super) fn source_of(&self, peer: SocketAddr) -> Source {
        let moved = self.ways.borrow().moved;
        match moved {
            Some((known, source)) if known == peer => source,
            _ => self.source_at(peer),
        }
    }

    /// What is at this address itself: a connection, if there is or was one.
    pub(super) fn source_at(&self, address: SocketAddr) -> Source {
        match self.ways.borrow().outlet(address) {
            Some(_) => Source::Stream(address),
            None => Source::Datagrams(address),
        }
    }

    /// A connection from this address is the leg's: what is said to the address goes into it.
    pub(super) fn connect(&self, from: SocketAddr, outlet: Outlet) {
        self.ways.send_modify(|Ways { streams, .. }| {
            streams.retain(|(address, _)| *address != from);
            if streams.len() >= STREAMS_CAPACITY {
                let ended = streams.iter().position(|(_, outlet)| outlet.is_closed());
                streams.remove(ended.unwrap_or(0));
            }
            streams.push((from, outlet));
        });
    }

    /// Whether the connection from this address is the leg's.
    pub(super) fn is_connected(&self, from: SocketAddr) -> bool {
        self.ways.borrow().outlet(from).is_some_and(|outlet| !outlet.is_closed())
    }

    /// Sends packets into the connection from this address, as far as they find room.
    pub(super) fn send<'a>(&self, to: SocketAddr, packets: impl Iterator<Item = &'a [u8]>) {
        if let Some(outlet) = self.ways.borrow().outlet(to) {
            packets.for_each(|packet| outlet.send(packet));
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
