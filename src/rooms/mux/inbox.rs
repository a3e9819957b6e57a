//! Where the datagrams of one leg wait between the shared socket and the leg's driver.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;

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
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            datagrams: ArrayQueue::new(INBOX_CAPACITY),
            reader: AtomicWaker::new(),
            lost: AtomicU64::new(0),
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
