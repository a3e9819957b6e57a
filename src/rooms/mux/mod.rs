//! One port for all calls: each leg gets virtual sockets, fed from the shared ones by a reader
//! task that knows whose each datagram is. Beside UDP, a port may listen for TCP connections.

mod arrivals;
mod demux;
mod inbox;
mod runtime;
mod socket;
mod stun;
mod tcp;

use std::array;
use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use rtc::shared::ifaces::ifaces;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use webrtc::runtime::{AsyncUdpSocket, BATCH_SIZE, RecvMeta, Runtime as _, TokioRuntime};

pub(super) use arrivals::Arrivals;
pub(super) use runtime::LegRuntime;

use self::demux::Demux;
use self::inbox::{Datagram, Inbox, Source};
use self::socket::VirtualSocket;
use self::stun::Transaction;
use self::tcp::{Listener, STREAM_EVENTS_CAPACITY, StreamEvent};
use super::sdp::Reach;
use crate::meter::Meter;
use crate::sys::{clock, tasks};

/// Orders that may wait for the reader of a port.
///
/// When full: registering a leg waits; noting a connectivity check is skipped, and the check is
/// repeated by ICE.
const ORDERS_CAPACITY: usize = 1024;

/// The shared ports. Dropping the last handle closes them.
#[derive(Clone, Debug)]
pub(super) struct Mux(Arc<Ports>);

#[derive(Debug)]
struct Ports {
    ports: Vec<Port>,
    reach: Reach,
}

/// One leg's share of every port: an inbox each. Dropping it gives all of it back.
#[derive(Debug)]
pub(super) struct Share {
    mux: Mux,
    inboxes: Vec<Arc<Inbox>>,
}

impl Mux {
    /// Binds the ports; wildcards stand for every address of the machine but loopback.
    ///
    /// Connections are taken at `streams`; if that is left open, at the addresses and numbers of
    /// the ports, as far as TCP has them free. `public_ip` is offered to peers besides the bound
    /// addresses. Must be called within tokio.
    pub(super) fn bind(
        listen: &[SocketAddr],
        streams: Option<&[SocketAddr]>,
        public_ip: Option<IpAddr>,
        meter: &Meter,
    ) -> io::Result<Self> {
        let mut known = HashSet::new();
        let mut ports: Vec<Port> = Vec::new();
        for wanted in expand(listen)? {
            // An engine tells its sockets apart by their address, so one port for each will do.
            if !known.insert(wanted.ip()) {
                continue;
            }
            let same_port = ports.iter().find(|_| wanted.port() == 0).map(|port| port.local.port());
            let wanted = SocketAddr::new(wanted.ip(), same_port.unwrap_or(wanted.port()));
            ports.push(Port::open(wanted)?);
        }
        if ports.is_empty() {
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to listen on"));
        }
        match streams {
            None => ports.iter_mut().for_each(|port| port.listen_beside(meter)),
            Some(wanted) => listen_for_streams(&mut ports, wanted, meter)?,
        }
        let datagrams = ports.iter().map(|port| port.local);
        let streams = ports.iter().flat_map(|port| &port.listeners).map(|listener| listener.local);
        let reach = Reach {
            datagrams: offered(datagrams.collect(), public_ip),
            streams: offered(streams.collect(), public_ip),
        };
        Ok(Self(Arc::new(Ports { ports, reach })))
    }

    /// Where every leg can be reached.
    pub(super) fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// A share for one more leg.
    pub(super) fn share(&self) -> Share {
        let inboxes = self.0.ports.iter().map(|_| Arc::new(Inbox::new())).collect();
        Share { mux: self.clone(), inboxes }
    }
}

impl Share {
    /// What a leg's engine should bind: it will be given virtual sockets instead.
    pub(super) fn labels(&self) -> Vec<SocketAddr> {
        self.mux.0.ports.iter().map(|port| SocketAddr::new(port.local.ip(), 0)).collect()
    }

    /// From here on, peers that ask for `ufrag` reach this leg, and `replaces` is forgotten.
    pub(super) async fn register(&self, ufrag: &str, replaces: Option<&str>) {
        for (port, inbox) in self.mux.0.ports.iter().zip(&self.inboxes) {
            let order = Order::Register {
                ufrag: ufrag.to_owned(),
                replaces: replaces.map(str::to_owned),
                inbox: Arc::downgrade(inbox),
            };
            if port.orders.send(order).await.is_err() {
                tracing::warn!(port = %port.local, "the reader of a media port has ended");
            }
        }
    }

    /// The virtual socket that stands for one bound to `label`.
    fn socket(&self, label: SocketAddr) -> io::Result<VirtualSocket> {
        let mut ours = self.mux.0.ports.iter().zip(&self.inboxes);
        let (port, inbox) = ours
            .find(|(port, _)| port.local.ip() == label.ip())
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(VirtualSocket {
            label,
            inbox: Arc::clone(inbox),
            port: Arc::clone(&port.socket),
            orders: port.orders.clone(),
        })
    }
}

/// What the reader of a port is told.
#[derive(Debug)]
enum Order {
    Register {
        ufrag: String,
        replaces: Option<String>,
        inbox: Weak<Inbox>,
    },
    Expect {
        transaction: Transaction,
        /// Who was asked, as the leg's engine knows them.
        peer: SocketAddr,
        inbox: Weak<Inbox>,
    },
    /// Whoever asks from there is the peer that the leg's engine knows as `peer`.
    Prove {
        from: Source,
        peer: SocketAddr,
        inbox: Weak<Inbox>,
    },
}

/// One bound socket with its listeners, and the reader of all.
#[derive(Debug)]
struct Port {
    local: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
    orders: mpsc::Sender<Order>,
    events: mpsc::Sender<StreamEvent>,
    listeners: Vec<Listener>,
    _reader: tasks::Task,
}

impl Port {
    fn open(wanted: SocketAddr) -> io::Result<Self> {
        let socket = open_socket(wanted)?;
        let local = socket.local_addr()?;
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let (orders, received) = mpsc::channel(ORDERS_CAPACITY);
        let (events, streams) = mpsc::channel(STREAM_EVENTS_CAPACITY);
        let reader = tasks::spawn("media-port", read(Arc::clone(&socket), received, streams));
        tracing::info!(%local, "media port open");
        Ok(Self { local, socket, orders, events, listeners: Vec::new(), _reader: reader })
    }

    /// Takes connections for the legs of this port.
    fn listen(&mut self, wanted: SocketAddr, meter: &Meter) -> io::Result<()> {
        self.listeners.push(Listener::open(wanted, self.events.clone(), meter.clone())?);
        Ok(())
    }

    /// Takes connections at the address and number of its own, or does without.
    fn listen_beside(&mut self, meter: &Meter) {
        let local = self.local;
        if let Err(error) = self.listen(local, meter) {
            tracing::info!(%local, %error, "callers cannot come over TCP there");
        }
    }
}

/// Takes connections at these addresses, each for the port whose engine sockets are nearest to it.
fn listen_for_streams(ports: &mut [Port], wanted: &[SocketAddr], meter: &Meter) -> io::Result<()> {
    for wanted in expand(wanted)? {
        let same_ip = ports.iter().position(|port| port.local.ip() == wanted.ip());
        let same_family = || ports.iter().position(|port| port.local.is_ipv4() == wanted.is_ipv4());
        let Some(nearest) = same_ip.or_else(same_family) else {
            let what = format!("there is no UDP port of the kind of {wanted}");
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, what));
        };
        ports[nearest].listen(wanted, meter)?;
    }
    Ok(())
}

/// What is bound, as peers are told it: with the public address first, if there is one.
fn offered(bound: Vec<SocketAddr>, public_ip: Option<IpAddr>) -> Vec<SocketAddr> {
    let public = public_ip.and_then(|ip| {
        let alike = bound.iter().find(|local| local.is_ipv4() == ip.is_ipv4())?;
        Some(SocketAddr::new(ip, alike.port()))
    });
    public.into_iter().chain(bound).collect()
}

/// Hands every datagram and packet to its leg, for as long as the port is held.
async fn read(
    socket: Arc<dyn AsyncUdpSocket>,
    mut orders: mpsc::Receiver<Order>,
    mut streams: mpsc::Receiver<StreamEvent>,
) {
    let mut demux = Demux::default();
    let mut batch = Batch::new(&*socket);
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Orders first: a leg must be known before its peer's first datagram.
            biased;
            order = orders.recv() => match order {
                Some(order) => obey(&mut demux, order),
                None => return,
            },
            _ = sweep.tick() => demux.sweep(clock::now()),
            heard = hear(&mut batch, &*socket, &mut streams) => match heard {
                Ok(Heard::Datagrams(count)) => batch.deliver(count, &mut demux),
                Ok(Heard::Stream(event)) => follow(&mut demux, event),
                Err(error) => {
                    tracing::debug!(%error, "a media port could not be read");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
}

/// What has come to a port.
enum Heard {
    Datagrams(usize),
    Stream(StreamEvent),
}

/// Whichever comes first; neither keeps the other waiting.
async fn hear(
    batch: &mut Batch,
    socket: &dyn AsyncUdpSocket,
    streams: &mut mpsc::Receiver<StreamEvent>,
) -> io::Result<Heard> {
    tokio::select! {
        received = batch.receive(socket) => received.map(Heard::Datagrams),
        Some(event) = streams.recv() => Ok(Heard::Stream(event)),
    }
}

fn follow(demux: &mut Demux, event: StreamEvent) {
    match event {
        StreamEvent::Opened { from, first, outlet, welcome } => {
            let Some(inbox) = demux.asked_for(&first) else { return };
            if welcome.send(()).is_ok() {
                inbox.connect(from, outlet);
                take(demux, from, first, clock::unix());
            }
        }
        StreamEvent::Packet { from, bytes, stamp } => take(demux, from, bytes, stamp),
        StreamEvent::Closed { from } => demux.forget(Source::Stream(from)),
    }
}

/// Hands a packet to its leg, if that is the one whose connection brought it.
fn take(demux: &mut Demux, at: SocketAddr, bytes: Bytes, stamp: Duration) {
    if let Some((inbox, from)) = demux.route(Source::Stream(at), &bytes, clock::now())
        && inbox.is_connected(at)
    {
        inbox.push(Datagram { from, bytes, stamp: Some(stamp) });
    }
}

fn obey(demux: &mut Demux, order: Order) {
    match order {
        Order::Register { ufrag, replaces, inbox } => {
            demux.register(&ufrag, replaces.as_deref(), inbox);
        }
        Order::Expect { transaction, peer, inbox } => {
            demux.expect(transaction, peer, inbox, clock::now());
        }
        Order::Prove { from, peer, inbox } => demux.prove(from, peer, &inbox, clock::now()),
    }
}

/// Buffers for as many datagrams as one system call brings.
struct Batch {
    buffers: [Vec<u8>; BATCH_SIZE],
    metas: [RecvMeta; BATCH_SIZE],
}

impl Batch {
    fn new(socket: &dyn AsyncUdpSocket) -> Self {
        let length = DATAGRAM_MAX * socket.max_gro_segments();
        Self {
            buffers: array::from_fn(|_| vec![0; length]),
            metas: array::from_fn(|_| RecvMeta::default()),
        }
    }

    async fn receive(&mut self, socket: &dyn AsyncUdpSocket) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let mut slices = self.buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            socket.poll_recv(cx, &mut slices, &mut self.metas)
        })
        .await
    }

    fn deliver(&self, count: usize, demux: &mut Demux) {
        let now = clock::now();
        for (buffer, meta) in self.buffers.iter().zip(&self.metas).take(count) {
            // The kernel may have put several datagrams of one source into one buffer.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                if let Some((inbox, from)) =
                    demux.route(Source::Datagrams(meta.addr), datagram, now)
                {
                    let bytes = Bytes::copy_from_slice(datagram);
                    inbox.push(Datagram { from, bytes, stamp: meta.timestamp });
                }
            }
        }
    }
}

/// Puts the machine's addresses in the place of wildcards.
fn expand(listen: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for wanted in listen {
        if wanted.ip().is_unspecified() {
            let usable = ifaces()?
                .into_iter()
                .filter_map(|interface| interface.addr)
                .filter(|addr| addr.is_ipv4() == wanted.is_ipv4() && is_reachable(addr.ip()));
            all.extend(usable.map(|addr| SocketAddr::new(addr.ip(), wanted.port())));
        } else {
            all.push(*wanted);
        }
    }
    Ok(all)
}

/// Whether another machine could send to this address without further knowledge.
fn is_reachable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !ip.is_loopback() && !ip.is_unspecified() && !is_link_local
}

fn open_socket(wanted: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(wanted), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel gives what its limits allow; less is no error.
    for outcome in
        [socket.set_recv_buffer_size(BUFFER_BYTES), socket.set_send_buffer_size(BUFFER_BYTES)]
    {
        if let Err(error) = outcome {
            tracing::debug!(%error, "a media port keeps its default buffers");
        }
    }
    socket.bind(&wanted.into())?;
    Ok(socket.into())
}

/// Kernel buffer of a port, each way: 20 ms of ten thousand calls.
pub const BUFFER_BYTES: usize = 4 << 20;

/// The longest datagram that is taken, in bytes: one Ethernet frame's.
const DATAGRAM_MAX: usize = 1500;

/// How often a port forgets legs that are gone.
const SWEEP: Duration = Duration::from_secs(1);

/// How long a port that fails to be read is left alone.
const RETRY: Duration = Duration::from_millis(10);
