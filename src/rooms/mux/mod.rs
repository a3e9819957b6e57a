//! One UDP port for all calls: each leg gets virtual sockets, fed from the shared ones by a
//! reader task that knows whose each datagram is.

mod demux;
mod inbox;
mod runtime;
mod socket;
mod stun;

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

pub(super) use runtime::LegRuntime;

use self::demux::Demux;
use self::inbox::{Datagram, Inbox};
use self::socket::VirtualSocket;
use self::stun::Transaction;
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
    candidates: Vec<SocketAddr>,
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
    /// `public_ip` is offered to peers besides the bound addresses. Must be called within tokio.
    pub(super) fn bind(listen: &[SocketAddr], public_ip: Option<IpAddr>) -> io::Result<Self> {
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
        let public = public_ip.and_then(|ip| {
            let port = ports.iter().find(|port| port.local.is_ipv4() == ip.is_ipv4())?;
            Some(SocketAddr::new(ip, port.local.port()))
        });
        let candidates = public.into_iter().chain(ports.iter().map(|port| port.local)).collect();
        Ok(Self(Arc::new(Ports { ports, candidates })))
    }

    /// The addresses at which every leg can be reached, best first.
    pub(super) fn candidates(&self) -> &[SocketAddr] {
        &self.0.candidates
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
        from: SocketAddr,
        peer: SocketAddr,
        inbox: Weak<Inbox>,
    },
}

/// One bound socket and its reader.
#[derive(Debug)]
struct Port {
    local: SocketAddr,
    socket: Arc<dyn AsyncUdpSocket>,
    orders: mpsc::Sender<Order>,
    _reader: tasks::Task,
}

impl Port {
    fn open(wanted: SocketAddr) -> io::Result<Self> {
        let socket = open_socket(wanted)?;
        let local = socket.local_addr()?;
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        let (orders, received) = mpsc::channel(ORDERS_CAPACITY);
        let reader = tasks::spawn("media-port", read(Arc::clone(&socket), received));
        tracing::info!(%local, "media port open");
        Ok(Self { local, socket, orders, _reader: reader })
    }
}

/// Hands every datagram to its leg, for as long as the port is held.
async fn read(socket: Arc<dyn AsyncUdpSocket>, mut orders: mpsc::Receiver<Order>) {
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
            received = batch.receive(&*socket) => match received {
                Ok(count) => batch.deliver(count, &mut demux),
                Err(error) => {
                    tracing::debug!(%error, "a media port could not be read");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
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
                if let Some((inbox, from)) = demux.route(meta.addr, datagram, now) {
                    let bytes = Bytes::copy_from_slice(datagram);
                    inbox.push(Datagram { from, bytes });
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
