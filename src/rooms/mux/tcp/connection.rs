//! One TCP connection of a peer: who it is for, then packets both ways, and its end.
//!
//! It is closed as soon as nothing good can come of it: when it does not say in time for whom it
//! is, or names nobody we know, when what comes is no packet, when nothing comes or can be written
//! for long, when the peer closes it, and when its leg is gone.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::super::stun::{self, Kind};
use super::frames::{self, Frames};
use crate::meter::{Counter, Meter};
use crate::sys::clock;

/// Packets that may wait to be written to one connection: a second of a call, and a handshake's
/// burst.
///
/// When full: the newest is dropped and counted, as on any network; sound that is older than that
/// is of no use.
pub(in crate::rooms::mux) const OUTLET_CAPACITY: usize = 64;

/// What the reader of a port is told of connections.
#[derive(Debug)]
pub(in crate::rooms::mux) enum StreamEvent {
    /// Somebody has said for whom they are. They are let in by `welcome`, and without it, or once
    /// the outlet is gone, the connection is closed.
    Opened { from: SocketAddr, first: Bytes, outlet: Outlet, welcome: oneshot::Sender<()> },
    /// A packet came from one that was let in.
    Packet { from: SocketAddr, bytes: Bytes, stamp: Duration },
    /// One that was let in is closed.
    Closed { from: SocketAddr },
}

/// The way out to one connection. The connection lives for as long as this does.
#[derive(Clone, Debug)]
pub(in crate::rooms::mux) struct Outlet {
    packets: mpsc::Sender<Bytes>,
    meter: Meter,
}

impl Outlet {
    pub(in crate::rooms::mux) fn new(meter: Meter) -> (Self, mpsc::Receiver<Bytes>) {
        let (packets, waiting) = mpsc::channel(OUTLET_CAPACITY);
        (Self { packets, meter }, waiting)
    }

    /// Sends a packet at once or not at all.
    pub(in crate::rooms::mux) fn send(&self, packet: &[u8]) {
        if self.packets.try_send(Bytes::copy_from_slice(packet)).is_err() {
            self.meter.count(Counter::StreamPacketDropped);
        }
    }

    /// Whether the connection has ended.
    pub(in crate::rooms::mux) fn is_closed(&self) -> bool {
        self.packets.is_closed()
    }
}

/// A connection that has not said yet for whom it is.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) from: SocketAddr,
    /// Ends when its place among the strangers is needed for another.
    pub(super) place: oneshot::Receiver<()>,
    pub(super) events: mpsc::Sender<StreamEvent>,
    pub(super) meter: Meter,
}

impl Stranger {
    /// Serves the connection to its end.
    pub(super) async fn serve<R, W>(self, reader: R, writer: W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let Self { from, place, events, meter } = self;
        let mut frames = Frames::new(reader);
        let said = tokio::select! {
            said = timeout(HELLO, introduction(&mut frames)) => said,
            _ = place => return meter.count(Counter::StreamCrowded),
        };
        let first = match said {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None) | Err(_)) => return meter.count(Counter::StreamRefused),
            Err(_) => return meter.count(Counter::StreamSilent),
        };
        let (outlet, waiting) = Outlet::new(meter.clone());
        let (welcome, welcomed) = oneshot::channel();
        let opened = StreamEvent::Opened { from, first, outlet, welcome };
        if events.send(opened).await.is_err() || welcomed.await.is_err() {
            return meter.count(Counter::StreamRefused);
        }
        meter.count(Counter::StreamJoined);
        let end = tokio::select! {
            end = read(&mut frames, from, &events) => end,
            end = write(writer, waiting) => end,
        };
        meter.count(end);
        tracing::debug!(reason = ?end, "a media connection has ended");
        // While the socket is still ours, so that nobody else can be known by its address. If the
        // port is gone, nobody has to know.
        let _ = events.send(StreamEvent::Closed { from }).await;
    }
}

/// The first packet that names somebody. A caller whose connection was cut may begin the next one
/// with their sound.
async fn introduction<R: AsyncRead + Unpin>(frames: &mut Frames<R>) -> io::Result<Option<Bytes>> {
    for _ in 0..STRAYS_MAX {
        let Some(packet) = frames.next().await? else { return Ok(None) };
        if matches!(stun::classify(&packet), Kind::Request { ufrag: Some(_), .. }) {
            return Ok(Some(packet));
        }
    }
    Ok(None)
}

/// Passes on what comes, until there is a reason to close.
async fn read<R: AsyncRead + Unpin>(
    frames: &mut Frames<R>,
    from: SocketAddr,
    events: &mpsc::Sender<StreamEvent>,
) -> Counter {
    loop {
        let bytes = match timeout(IDLE, frames.next()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Counter::StreamMalformed;
            }
            Ok(Ok(None) | Err(_)) => return Counter::StreamClosed,
            Err(_) => return Counter::StreamIdle,
        };
        let packet = StreamEvent::Packet { from, bytes, stamp: clock::unix() };
        if events.send(packet).await.is_err() {
            return Counter::StreamLeft;
        }
    }
}

/// Writes what waits, several packets at once, until there is a reason to close.
async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut waiting: mpsc::Receiver<Bytes>,
) -> Counter {
    let mut packets = Vec::with_capacity(WRITE_AT_ONCE);
    let mut buffer = BytesMut::new();
    while waiting.recv_many(&mut packets, WRITE_AT_ONCE).await > 0 {
        packets.drain(..).for_each(|packet| frames::put(&mut buffer, &packet));
        match timeout(STALLED, writer.write_all(&buffer)).await {
            Ok(Ok(())) => buffer.clear(),
            Ok(Err(_)) => return Counter::StreamClosed,
            Err(_) => return Counter::StreamStalled,
        }
    }
    Counter::StreamLeft
}

/// How long a connection may take to say for whom it is: some round trips, and a lost packet.
const HELLO: Duration = Duration::from_secs(5);

/// How many packets may come before one names somebody: so long, of a call.
const STRAYS_MAX: usize = 250;

/// How long nothing may come: browsers keep a way in reserve with a check every 25 s.
const IDLE: Duration = Duration::from_mins(1);

/// How long a write may take; after that the leg counts its peer as lost anyway.
const STALLED: Duration = Duration::from_secs(10);

/// How many packets are written in one go.
const WRITE_AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::super::super::stun::tests::request;
    use super::*;
    use crate::sys::tasks::{self, Task};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_for_whom_it_is_is_closed_in_time() {
        for first in [&[][..], &[0], &[0, 20, 0, 1]] {
            let mut port = Port::new();
            let mut peer = port.connect();
            peer.write_all(first).await.unwrap();
            let began = crate::sys::clock::now();
            assert_eq!(peer.read(&mut [0]).await.unwrap(), 0, "closed");
            assert!(crate::sys::clock::now() - began >= HELLO);
            assert_eq!(port.meter.times(Counter::StreamSilent), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_at_a_time_wins_no_time() {
        let mut port = Port::new();
        let mut peer = port.connect();
        let mut written = 0;
        while peer.write_all(&[0]).await.is_ok() {
            written += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(written <= 6, "{written} bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn garbage_is_closed_at_once() {
        let mut port = Port::new();
        let mut peer = port.connect();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(port.meter.times(Counter::StreamRefused), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn sound_may_come_before_the_name_but_not_without_end() {
        let mut port = Port::new();
        let mut peer = port.connect();
        for _ in 0..3 {
            peer.write_all(b"\0\x04\x80abc").await.unwrap();
        }
        peer.write_all(&hello()).await.unwrap();
        assert!(matches!(port.events.recv().await, Some(StreamEvent::Opened { .. })));

        let mut peer = port.connect();
        let mut written = 0;
        while peer.write_all(b"\0\x04\x80abc").await.is_ok() {
            written += 1;
        }
        assert!(written >= STRAYS_MAX, "{written} packets");
        assert_eq!(port.meter.times(Counter::StreamSilent), 0, "it has not come to the deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn whom_nobody_knows_is_closed_at_once() {
        let mut port = Port::new();
        let mut peer = port.connect();
        peer.write_all(&hello()).await.unwrap();
        let Some(StreamEvent::Opened { first, outlet, welcome, .. }) = port.events.recv().await
        else {
            panic!("it is asked for");
        };
        assert_eq!(first[..], hello()[2..]);
        drop((outlet, welcome));
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(port.meter.times(Counter::StreamRefused), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn packets_go_both_ways_and_the_end_of_the_leg_is_the_connections() {
        let mut port = Port::new();
        let (mut peer, outlet) = port.welcome().await;
        peer.write_all(b"\0\x03two").await.unwrap();
        let event = port.events.recv().await;
        assert!(matches!(event, Some(StreamEvent::Packet { bytes, .. }) if bytes == "two"));

        outlet.send(b"answer");
        outlet.send(b"goodbye");
        drop(outlet);
        let mut answered = Vec::new();
        peer.read_to_end(&mut answered).await.unwrap();
        assert_eq!(answered, b"\0\x06answer\0\x07goodbye", "what was said is still told");
        assert!(matches!(port.events.recv().await, Some(StreamEvent::Closed { .. })));
        assert_eq!(port.meter.times(Counter::StreamLeft), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_closes_is_told_of_at_once() {
        let mut port = Port::new();
        let (peer, outlet) = port.welcome().await;
        drop(peer);
        assert!(matches!(port.events.recv().await, Some(StreamEvent::Closed { .. })));
        port.tasks.pop().unwrap().await.unwrap();
        assert!(outlet.is_closed());
        assert_eq!(port.meter.times(Counter::StreamClosed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_is_closed() {
        let mut port = Port::new();
        let (mut peer, _outlet) = port.welcome().await;
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(port.meter.times(Counter::StreamIdle), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_loses_packets_and_then_the_connection() {
        let mut port = Port::new();
        let (_peer, outlet) = port.welcome().await;
        for _ in 0..OUTLET_CAPACITY + 3 {
            outlet.send(&[0; PIPE]);
        }
        assert_eq!(port.meter.times(Counter::StreamPacketDropped), 3);
        assert!(matches!(port.events.recv().await, Some(StreamEvent::Closed { .. })));
        assert_eq!(port.meter.times(Counter::StreamStalled), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_gives_its_place_to_another() {
        let mut port = Port::new();
        let mut peer = port.connect();
        port.places.clear();
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(port.meter.times(Counter::StreamCrowded), 1);
    }

    /// The frame of a request to somebody.
    fn hello() -> Vec<u8> {
        let mut frame = BytesMut::new();
        frames::put(&mut frame, &request("one:x", [1; 12]));
        frame.to_vec()
    }

    /// What a connection sees of its port.
    struct Port {
        events: mpsc::Receiver<StreamEvent>,
        sender: mpsc::Sender<StreamEvent>,
        places: Vec<oneshot::Sender<()>>,
        meter: Meter,
        tasks: Vec<Task>,
    }

    impl Port {
        fn new() -> Self {
            let (sender, events) = mpsc::channel(8);
            Self { events, sender, places: Vec::new(), meter: Meter::new(), tasks: Vec::new() }
        }

        fn connect(&mut self) -> DuplexStream {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let (taken, place) = oneshot::channel();
            self.places.push(taken);
            let stranger = Stranger {
                from: ([192, 0, 2, 1], 9).into(),
                place,
                events: self.sender.clone(),
                meter: self.meter.clone(),
            };
            let (reader, writer) = tokio::io::split(ours);
            self.tasks.push(tasks::spawn("connection", stranger.serve(reader, writer)));
            theirs
        }

        async fn welcome(&mut self) -> (DuplexStream, Outlet) {
            let mut peer = self.connect();
            peer.write_all(&hello()).await.unwrap();
            let Some(StreamEvent::Opened { outlet, welcome, .. }) = self.events.recv().await else {
                panic!("it is asked for");
            };
            welcome.send(()).unwrap();
            (peer, outlet)
        }
    }

    /// Bytes that lie between the two ends.
    const PIPE: usize = 1024;
}
