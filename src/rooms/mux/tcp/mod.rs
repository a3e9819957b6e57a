//! The TCP side of a port (RFC 6544): for peers whose network lets no UDP out.
//!
//! The engine sees nothing of it: a packet that comes in a connection is shown to it like a
//! datagram from the connection's address, and what it sends there goes into the connection. So
//! one leg has both kinds of ways at once, and a peer that changes from one to the other is
//! followed like one whose NAT has moved it.

mod connection;
mod frames;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use self::connection::Stranger;
pub(super) use self::connection::{Outlet, StreamEvent};
use super::RETRY;
use crate::meter::Meter;
use crate::sys::tasks::{self, Task};

/// Connections of one listener that may not have said yet for whom they are. Who means it says so
/// within a round trip.
///
/// When full: the oldest is closed.
const STRANGERS_CAPACITY: usize = 64;

/// Events of connections that may wait for the reader of their port.
///
/// When full: the connections wait, and TCP holds back their peers.
pub(super) const STREAM_EVENTS_CAPACITY: usize = 256;

/// A listener, and all its connections: they end with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    _accepting: Task,
}

impl Listener {
    pub(super) fn open(
        wanted: SocketAddr,
        events: mpsc::Sender<StreamEvent>,
        meter: Meter,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listen(wanted)?)?;
        let local = listener.local_addr()?;
        let accepting = Accepting { strangers: VecDeque::new(), events, meter };
        tracing::info!(%local, "media port open for TCP");
        Ok(Self { local, _accepting: tasks::spawn("media-listener", accepting.run(listener)) })
    }
}

/// What a listener needs for each connection.
struct Accepting {
    /// The places of those who may not have said yet for whom they are, the oldest first.
    strangers: VecDeque<oneshot::Sender<()>>,
    events: mpsc::Sender<StreamEvent>,
    meter: Meter,
}

impl Accepting {
    async fn run(mut self, listener: TcpListener) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => connections.push(self.admit(stream, from)),
                    Err(error) => {
                        tracing::debug!(%error, "a media connection could not be accepted");
                        tokio::time::sleep(RETRY).await;
                    }
                },
                Some(ended) = connections.next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a media connection has crashed");
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddr) -> Task {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a media connection may be slow");
        }
        let (taken, place) = oneshot::channel();
        self.strangers.retain(|stranger| !stranger.is_closed());
        if self.strangers.len() >= STRANGERS_CAPACITY {
            self.strangers.pop_front();
        }
        self.strangers.push_back(taken);
        let (events, meter) = (self.events.clone(), self.meter.clone());
        let (reader, writer) = stream.into_split();
        let stranger = Stranger { from, place, events, meter };
        tasks::spawn("media-connection", stranger.serve(reader, writer))
    }
}

fn listen(wanted: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(wanted), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of before a restart may still be in the kernel.
    socket.set_reuse_address(true)?;
    // Each connection inherits it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&wanted.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the kernel may hold of what we say to one connection; the kernel doubles it for its own
/// needs. Sound that waits there cannot be taken back, so it is little: a second of a call.
const SEND_BUFFER_BYTES: usize = 32 << 10;

/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::stun::tests::request;
    use super::*;
    use crate::meter::Counter;

    #[tokio::test]
    async fn a_crowd_of_silent_strangers_keeps_nobody_out() {
        let (events, mut received) = mpsc::channel(STREAM_EVENTS_CAPACITY);
        let meter = Meter::new();
        let listener =
            Listener::open((Ipv4Addr::LOCALHOST, 0).into(), events, meter.clone()).unwrap();
        let mut crowd = Vec::new();
        for _ in 0..=STRANGERS_CAPACITY {
            crowd.push(TcpStream::connect(listener.local).await.unwrap());
        }
        assert_eq!(crowd[0].read(&mut [0]).await.unwrap(), 0, "the oldest has gone");
        assert_eq!(meter.times(Counter::StreamCrowded), 1);

        let mut honest = TcpStream::connect(listener.local).await.unwrap();
        let hello = request("one:x", [1; 12]);
        let length = u16::try_from(hello.len()).unwrap();
        honest.write_all(&[&length.to_be_bytes(), &hello[..]].concat()).await.unwrap();
        assert!(matches!(received.recv().await, Some(StreamEvent::Opened { .. })));
    }

    #[tokio::test]
    async fn a_listener_ends_with_all_its_connections() {
        let (events, _received) = mpsc::channel(STREAM_EVENTS_CAPACITY);
        let meter = Meter::new();
        let listener = Listener::open((Ipv4Addr::LOCALHOST, 0).into(), events, meter).unwrap();
        let mut peer = TcpStream::connect(listener.local).await.unwrap();
        let at = listener.local;
        drop(listener);
        // Closed, or reset if it had not been accepted yet.
        assert!(!matches!(peer.read(&mut [0]).await, Ok(1..)));
        while TcpStream::connect(at).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
