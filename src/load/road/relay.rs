//! A road between real sockets: clients send to it, and it sends on to one target.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::config::Fate;
use super::{Road, RoadConfig, RoadStats};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// A running relay on loopback. Each client has a socket of its own towards the target, so that
/// the target sees as many peers as there are. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Relay {
    local_addr: SocketAddr,
    orders: watch::Sender<Orders>,
    tallies: Arc<Tallies>,
    _task: Task,
}

/// The relay has no socket.
#[derive(Debug, thiserror::Error)]
#[error("the relay cannot bind a UDP port: {0}")]
pub struct RelayError(#[from] io::Error);

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the target.
    Up,
    /// From the target to clients.
    Down,
}

impl Relay {
    /// Relays between clients and `target`, over a road each way. Every client has roads of its
    /// own, whose chances come from the seed and from when it came: first, second and so on.
    pub async fn start(
        target: SocketAddr,
        up: RoadConfig,
        down: RoadConfig,
        seed: u64,
    ) -> Result<Self, RelayError> {
        let inward = Arc::new(bind_for(target).await?);
        let local_addr = inward.local_addr()?;
        let (orders, obeyed) = watch::channel(Orders::default());
        let tallies = Arc::new(Tallies::default());
        let hall = Hall {
            inward,
            setup: Arc::new(Setup { target, up, down, seed }),
            orders: obeyed,
            tallies: Arc::clone(&tallies),
            clients: BTreeMap::new(),
            came: 0,
        };
        let task = tasks::spawn("relay", hall.run());
        Ok(Self { local_addr, orders, tallies, _task: task })
    }

    /// Where clients send to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Interrupts both ways for all clients, from now on and for so long.
    pub fn interrupt(&self, lasts: Duration, fate: Fate) {
        let interruption = Some((clock::now(), lasts, fate));
        self.orders.send_modify(|orders| {
            orders.interruption = interruption;
            orders.interruptions += 1;
        });
    }

    /// Gives every client another address towards the target, as a NAT does that has forgotten
    /// them. What is sent to the old ones is lost.
    pub fn rebind(&self) {
        self.orders.send_modify(|orders| orders.rebinds += 1);
    }

    /// What became of the datagrams of all clients in this direction.
    #[must_use]
    pub fn stats(&self, direction: Direction) -> RoadStats {
        match direction {
            Direction::Up => self.tallies.up.read(),
            Direction::Down => self.tallies.down.read(),
        }
    }
}

/// What all clients' tasks are told to do, by counts that grow.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    rebinds: u64,
    interruptions: u64,
    interruption: Option<(Instant, Duration, Fate)>,
}

#[derive(Debug)]
struct Setup {
    target: SocketAddr,
    up: RoadConfig,
    down: RoadConfig,
    seed: u64,
}

/// The one socket that clients send to, and where their datagrams go from there.
struct Hall {
    inward: Arc<UdpSocket>,
    setup: Arc<Setup>,
    orders: watch::Receiver<Orders>,
    tallies: Arc<Tallies>,
    clients: BTreeMap<SocketAddr, (mpsc::Sender<Bytes>, Task)>,
    came: u64,
}

impl Hall {
    async fn run(mut self) {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(DATAGRAM_MAX);
            let from = match self.inward.recv_buf_from(&mut buffer).await {
                Ok((_, from)) => from,
                Err(error) => {
                    // An answer of the network to something sent before.
                    tracing::debug!(%error, "the relay could not receive");
                    continue;
                }
            };
            self.take(from, buffer.split().freeze()).await;
        }
    }

    async fn take(&mut self, from: SocketAddr, datagram: Bytes) {
        let datagram = match self.clients.get(&from) {
            None => datagram,
            Some((inbox, _)) => match inbox.try_send(datagram) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    let overflow = RoadStats { taken: 1, overflowed: 1, ..RoadStats::default() };
                    return self.tallies.up.add(&overflow);
                }
                Err(mpsc::error::TrySendError::Closed(datagram)) => datagram,
            },
        };
        match self.welcome(from).await {
            // The inbox is new, and empty.
            Ok(inbox) => drop(inbox.try_send(datagram)),
            Err(error) => tracing::warn!(%error, "the relay has no socket for another client"),
        }
    }

    async fn welcome(&mut self, near: SocketAddr) -> io::Result<mpsc::Sender<Bytes>> {
        self.clients.retain(|_, (_, task)| !task.is_finished());
        let outward = connect(self.setup.target).await?;
        let (inbox, taken) = mpsc::channel(INBOX_CAPACITY);
        let seed = self.setup.seed.wrapping_add(self.came.wrapping_mul(2));
        self.came += 1;
        let now = clock::now();
        let mut orders = self.orders.clone();
        let done = *orders.borrow_and_update();
        let client = Client {
            near,
            inward: Arc::clone(&self.inward),
            outward,
            up: Road::new(self.setup.up.clone(), seed, now),
            down: Road::new(self.setup.down.clone(), seed.wrapping_add(1), now),
            told: [RoadStats::default(); 2],
            setup: Arc::clone(&self.setup),
            tallies: Arc::clone(&self.tallies),
            done,
        };
        let task = tasks::spawn("relay client", client.run(taken, orders));
        self.clients.insert(near, (inbox.clone(), task));
        Ok(inbox)
    }
}

/// One client's two roads.
struct Client {
    near: SocketAddr,
    inward: Arc<UdpSocket>,
    outward: UdpSocket,
    up: Road<Bytes>,
    down: Road<Bytes>,
    /// What the tallies know of `up` and `down`.
    told: [RoadStats; 2],
    setup: Arc<Setup>,
    tallies: Arc<Tallies>,
    done: Orders,
}

enum Happened {
    FromNear(Option<Bytes>),
    FromFar,
    Ordered,
    Due,
}

impl Client {
    async fn run(mut self, mut inbox: mpsc::Receiver<Bytes>, mut orders: watch::Receiver<Orders>) {
        let mut buffer = BytesMut::new();
        let mut idle_at = clock::now() + IDLE;
        while clock::now() < idle_at {
            let due = [self.up.poll_timeout(), self.down.poll_timeout(), Some(idle_at)];
            let due = due.into_iter().flatten().min().unwrap_or(idle_at);
            let happened = tokio::select! {
                () = tokio::time::sleep_until(due.into()) => Happened::Due,
                datagram = inbox.recv() => Happened::FromNear(datagram),
                _ = self.outward.readable() => Happened::FromFar,
                Ok(()) = orders.changed() => Happened::Ordered,
            };
            match happened {
                Happened::Due => {}
                Happened::FromNear(None) => return,
                Happened::FromNear(Some(datagram)) => {
                    idle_at = clock::now() + IDLE;
                    send(&mut self.up, datagram, self.setup.up.spares_setup);
                }
                Happened::FromFar => self.receive(&mut buffer),
                Happened::Ordered => {
                    let order = *orders.borrow_and_update();
                    self.obey(order).await;
                }
            }
            self.deliver().await;
        }
    }

    /// Takes all that has come from the target.
    fn receive(&mut self, buffer: &mut BytesMut) {
        for _ in 0..RECEIVED_AT_ONCE {
            buffer.reserve(DATAGRAM_MAX);
            match self.outward.try_recv_buf(buffer) {
                Ok(_) => {
                    let datagram = buffer.split().freeze();
                    send(&mut self.down, datagram, self.setup.down.spares_setup);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => tracing::debug!(%error, "the target does not listen"),
            }
        }
    }

    async fn obey(&mut self, order: Orders) {
        if order.interruptions != self.done.interruptions
            && let Some((now, lasts, fate)) = order.interruption
        {
            self.up.interrupt(now, lasts, fate);
            self.down.interrupt(now, lasts, fate);
        }
        if order.rebinds != self.done.rebinds {
            match connect(self.setup.target).await {
                Ok(outward) => self.outward = outward,
                Err(error) => tracing::warn!(%error, "the relay could not change an address"),
            }
        }
        self.done = order;
    }

    /// Sends on all that has arrived, and tells what has happened.
    async fn deliver(&mut self) {
        let now = clock::now();
        while let Some(datagram) = self.up.poll(now) {
            if let Err(error) = self.outward.send(&datagram).await {
                tracing::debug!(%error, "the target does not listen");
            }
        }
        while let Some(datagram) = self.down.poll(now) {
            if let Err(error) = self.inward.send_to(&datagram, self.near).await {
                tracing::debug!(%error, "a client does not listen");
            }
        }
        let stats = [self.up.stats(), self.down.stats()];
        self.tallies.up.add(&stats[0].pair(&self.told[0], u64::wrapping_sub));
        self.tallies.down.add(&stats[1].pair(&self.told[1], u64::wrapping_sub));
        self.told = stats;
    }
}

/// What became of all clients' datagrams.
#[derive(Debug, Default)]
struct Tallies {
    up: Tally,
    down: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    taken: AtomicU64,
    passed: AtomicU64,
    lost: AtomicU64,
    cut: AtomicU64,
    overflowed: AtomicU64,
    duplicated: AtomicU64,
}

impl Tally {
    fn add(&self, more: &RoadStats) {
        self.taken.fetch_add(more.taken, Ordering::Relaxed);
        self.passed.fetch_add(more.passed, Ordering::Relaxed);
        self.lost.fetch_add(more.lost, Ordering::Relaxed);
        self.cut.fetch_add(more.cut, Ordering::Relaxed);
        self.overflowed.fetch_add(more.overflowed, Ordering::Relaxed);
        self.duplicated.fetch_add(more.duplicated, Ordering::Relaxed);
    }

    fn read(&self) -> RoadStats {
        RoadStats {
            taken: self.taken.load(Ordering::Relaxed),
            passed: self.passed.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            duplicated: self.duplicated.load(Ordering::Relaxed),
        }
    }
}

fn send(road: &mut Road<Bytes>, datagram: Bytes, spares_setup: bool) {
    let (bytes, now) = (datagram.len(), clock::now());
    if spares_setup && is_setup(&datagram) {
        road.push_spared(datagram, now);
    } else {
        road.push(datagram, bytes, now);
    }
}

/// Whether a datagram is STUN or DTLS by its first byte (RFC 7983, section 7).
fn is_setup(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3 | 20..=63))
}

/// A socket on a free port, of loopback where the target is there.
async fn bind_for(target: SocketAddr) -> io::Result<UdpSocket> {
    let from: IpAddr = match target {
        SocketAddr::V4(target) if target.ip().is_loopback() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(target) if target.ip().is_loopback() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((from, 0)).await
}

async fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let outward = bind_for(target).await?;
    outward.connect(target).await?;
    Ok(outward)
}

/// Datagrams of one client that may wait for its road.
///
/// When full: the newest is lost, and counted as overflowed.
const INBOX_CAPACITY: usize = 256;

/// So many datagrams are taken from a socket before those that are due are sent.
const RECEIVED_AT_ONCE: usize = 64;

/// A client that sends nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(60);

/// The largest datagram that an Ethernet carries, and then some.
const DATAGRAM_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::road::Loss;

    #[tokio::test]
    async fn the_target_sees_each_client_as_a_peer_of_its_own_and_can_answer_it() {
        let mut scene = Scene::new(RoadConfig::default(), RoadConfig::default()).await;
        let (one, two) = (scene.client().await, scene.client().await);
        one.send(b"one").await.unwrap();
        let (first, one_seen) = scene.heard().await;
        two.send(b"two").await.unwrap();
        let (second, two_seen) = scene.heard().await;
        assert_eq!((&first[..], &second[..]), (&b"one"[..], &b"two"[..]));
        assert_ne!(one_seen, two_seen);
        scene.target.send_to(b"to two", two_seen).await.unwrap();
        scene.target.send_to(b"to one", one_seen).await.unwrap();
        assert_eq!(receive(&one).await, b"to one");
        assert_eq!(receive(&two).await, b"to two");
        assert_eq!(scene.relay.stats(Direction::Up).passed, 2);
    }

    #[tokio::test]
    async fn a_client_keeps_its_address_until_it_is_rebound() {
        let mut scene = Scene::new(RoadConfig::default(), RoadConfig::default()).await;
        let client = scene.client().await;
        client.send(b"1").await.unwrap();
        let (_, first) = scene.heard().await;
        client.send(b"2").await.unwrap();
        assert_eq!(scene.heard().await.1, first);
        scene.relay.rebind();
        // Both ways are told of it in no order; what the old address still sends is not wrong.
        let mut seen = first;
        while seen == first {
            client.send(b"3").await.unwrap();
            seen = scene.heard().await.1;
        }
        scene.target.send_to(b"back", seen).await.unwrap();
        assert_eq!(receive(&client).await, b"back");
    }

    #[tokio::test]
    async fn what_is_lost_is_counted_and_setup_is_spared_if_wanted() {
        let loss = Loss::Random { share: 1.0 };
        let up = RoadConfig { loss, spares_setup: true, ..RoadConfig::default() };
        let mut scene = Scene::new(up, RoadConfig::default()).await;
        let client = scene.client().await;
        client.send(&[0x80, 111, 0, 1]).await.unwrap();
        client.send(&[22, 254, 253]).await.unwrap();
        client.send(&[0, 1]).await.unwrap();
        assert_eq!(scene.heard().await.0, [22, 254, 253]);
        assert_eq!(scene.heard().await.0, [0, 1]);
        let stats = scene.relay.stats(Direction::Up);
        assert_eq!((stats.taken, stats.lost, stats.passed), (3, 1, 2));
    }

    #[tokio::test]
    async fn an_interruption_holds_what_is_sent_meanwhile() {
        let mut scene = Scene::new(RoadConfig::default(), RoadConfig::default()).await;
        let client = scene.client().await;
        client.send(b"before").await.unwrap();
        assert_eq!(scene.heard().await.0, b"before");
        let began = clock::now();
        scene.relay.interrupt(Duration::from_millis(100), Fate::Held);
        let mut last = began;
        while last < began + Duration::from_millis(100) {
            client.send(b"meanwhile").await.unwrap();
            scene.heard().await;
            last = clock::now();
        }
        assert_eq!(scene.relay.stats(Direction::Up).cut, 0);
    }

    #[test]
    fn setup_is_told_by_the_first_byte() {
        assert!(is_setup(&[0, 1]) && is_setup(&[22]) && is_setup(&[63]));
        assert!(!is_setup(&[0x80]) && !is_setup(&[]) && !is_setup(&[64]));
    }

    struct Scene {
        target: UdpSocket,
        relay: Relay,
    }

    impl Scene {
        async fn new(up: RoadConfig, down: RoadConfig) -> Self {
            let target = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
            let relay = Relay::start(target.local_addr().unwrap(), up, down, 1).await.unwrap();
            Self { target, relay }
        }

        async fn client(&self) -> UdpSocket {
            connect(self.relay.local_addr()).await.unwrap()
        }

        async fn heard(&mut self) -> (Vec<u8>, SocketAddr) {
            let mut buffer = [0; DATAGRAM_MAX];
            let heard = tokio::time::timeout(PATIENCE, self.target.recv_from(&mut buffer)).await;
            let (length, from) = heard.expect("in time").unwrap();
            (buffer[..length].to_vec(), from)
        }
    }

    async fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; DATAGRAM_MAX];
        let heard = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        buffer[..heard.expect("in time").unwrap()].to_vec()
    }

    const PATIENCE: Duration = Duration::from_secs(10);
}
