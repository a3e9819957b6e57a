//! Callers whose network lets no UDP out: their media comes and goes over TCP (RFC 6544).

use std::io;

use bytes::{Buf as _, BytesMut};
use callbridge::meter::Counter;
use callbridge::sys::tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;

#[tokio::test]
async fn two_calls_at_once_over_one_tcp_port_are_heard_and_answered() {
    let rooms = open_rooms();
    let stream = Way::Stream(rooms.media_tcp_addresses()[0]);
    let mut calls = Vec::new();
    for room in ["one", "two"] {
        let agent = join(&rooms, room);
        calls.push((agent, enter_by(&rooms, room, stream).await));
    }
    for (agent, (call, participant, _tunnel)) in &mut calls {
        let heard = say_until(call, &mut agent.packets, 0).await;
        assert_eq!(heard.participant, *participant);
        goes_on(agent, call).await;
    }
    assert_eq!(rooms.meter().times(Counter::StreamJoined), 2);
    assert_eq!(rooms.meter().times(Counter::StreamRefused), 0);
}

#[tokio::test]
async fn a_call_outlives_its_connection_in_the_next_one() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let stream = Way::Stream(rooms.media_tcp_addresses()[0]);
    let (mut call, ann, tunnel) = enter_by(&rooms, "lobby", stream).await;
    assert_eq!(arrival(&mut agent).await, ann);
    for number in 0..2 {
        say_until(&call, &mut agent.packets, 100 * number).await;
        tunnel.switch(stream).await;
        goes_on(&mut agent, &mut call).await;
    }
    assert_eq!(rooms.meter().times(Counter::StreamJoined), 3);
    assert_eq!(rooms.meter().times(Counter::StreamClosed), 2);
    assert_nobody_left(&mut agent);
}

#[tokio::test]
async fn a_call_goes_over_to_tcp_when_udp_is_lost_and_back_again() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let datagrams = Way::Datagrams(rooms.media_addresses()[0]);
    let stream = Way::Stream(rooms.media_tcp_addresses()[0]);
    let (mut call, ann, tunnel) = enter_by(&rooms, "lobby", datagrams).await;
    assert_eq!(arrival(&mut agent).await, ann);
    for way in [stream, datagrams] {
        say_until(&call, &mut agent.packets, 0).await;
        tunnel.switch(way).await;
        goes_on(&mut agent, &mut call).await;
    }
    assert_nobody_left(&mut agent);
}

#[tokio::test]
async fn a_leg_that_ends_takes_its_connection_with_it() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let stream = Way::Stream(rooms.media_tcp_addresses()[0]);
    let (call, answer, mut tunnel) = enter_and_keep_by(&rooms, "lobby", stream).await;
    arrival(&mut agent).await;
    assert!(rooms.hang_up("lobby", &answer.key).await);
    within(tunnel.is_closed.wait_for(|is_closed| *is_closed)).await.unwrap();
    assert_eq!(rooms.meter().times(Counter::StreamLeft), 1);
    drop(call);
}

#[tokio::test]
async fn a_caller_who_does_not_come_back_is_gone_with_all_they_had() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    assert_eq!(event(&mut agent).await, RoomEvent::Joined { participants: vec![] });
    let before = tasks::count();
    let stream = Way::Stream(rooms.media_tcp_addresses()[0]);
    let (call, ann, tunnel) = enter_by(&rooms, "lobby", stream).await;
    assert_eq!(arrival(&mut agent).await, ann);
    say_until(&call, &mut agent.packets, 0).await;

    tunnel.switch(Way::Nowhere).await;
    assert_eq!(event(&mut agent).await, left(ann, "it fell silent"));
    drop((call, tunnel));
    let none_left = async {
        while tasks::count() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(none_left).await;
    let meter = rooms.meter();
    assert_eq!(meter.times(Counter::StreamJoined), meter.times(Counter::StreamClosed));
}

#[tokio::test]
async fn without_an_address_for_tcp_none_is_offered() {
    let rooms =
        Rooms::new(&RoomsConfig { media_tcp_listen: Some(Vec::new()), ..config() }).unwrap();
    assert!(rooms.media_tcp_addresses().is_empty());
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let answer = rooms.enter("lobby", None, "Ann", caller.offer()).await.unwrap();
    assert!(!answer.sdp.contains("tcptype"), "{}", answer.sdp);
}

#[tokio::test]
async fn the_public_address_is_offered_with_the_port_for_tcp() {
    let rooms = Rooms::new(&RoomsConfig {
        media_tcp_listen: Some(vec![SocketAddr::new(LOOPBACK, 0)]),
        public_ip: Some([192, 0, 2, 7].into()),
        ..config()
    })
    .unwrap();
    let [public, local] = rooms.media_tcp_addresses() else { panic!("two addresses") };
    assert_eq!((public.to_string(), local.ip()), (format!("192.0.2.7:{}", local.port()), LOOPBACK));
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let answer = rooms.enter("lobby", None, "Ann", caller.offer()).await.unwrap();
    let wanted = format!(" 192.0.2.7 {} typ host tcptype passive\r\n", local.port());
    assert!(answer.sdp.contains(&wanted), "{}", answer.sdp);
}

/// Comes in by a tunnel, which is the only way to and fro.
async fn enter_by(rooms: &Rooms, room: &str, way: Way) -> (Call, ParticipantId, Tunnel) {
    let (call, answer, tunnel) = enter_and_keep_by(rooms, room, way).await;
    (call, answer.participant, tunnel)
}

async fn enter_and_keep_by(rooms: &Rooms, room: &str, way: Way) -> (Call, RoomAnswer, Tunnel) {
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let lines = caller.offer().split_inclusive('\n');
    let offer: String = lines.filter(|line| !line.starts_with("a=candidate")).collect();
    let answer = rooms.enter(room, None, "Ann", &offer).await.unwrap();
    let tunnel = Tunnel::dig(way).await;
    let host = |port: u16| format!(" {port} typ host");
    let ours = rooms.media_addresses()[0].port();
    let sdp = answer.sdp.replace(&host(ours), &host(tunnel.entrance.port()));
    (caller.connect(&sdp).await.unwrap(), answer, tunnel)
}

/// Both sides speak until each has heard what the other has said since the beginning of this.
async fn goes_on(agent: &mut RoomLink, call: &mut Call) {
    while agent.packets.try_recv().is_ok() {}
    while call.packets.try_recv().is_ok() {}
    let both_heard = async {
        let (mut up, mut down) = (0, 0);
        for number in 0.. {
            call.send(&packet(number));
            let _ = agent.playout.try_send(packet(number));
            tokio::time::sleep(Duration::from_millis(20)).await;
            up += std::iter::from_fn(|| agent.packets.try_recv().ok()).count();
            down += std::iter::from_fn(|| call.packets.try_recv().ok()).count();
            if up > 50 && down > 50 {
                return;
            }
        }
    };
    within(both_heard).await;
}

fn assert_nobody_left(agent: &mut RoomLink) {
    while let Ok(event) = agent.events.try_recv() {
        assert!(!matches!(event, RoomEvent::ParticipantLeft { .. }), "{event:?}");
    }
}

/// Where a tunnel leads.
#[derive(Clone, Copy)]
enum Way {
    Datagrams(SocketAddr),
    Stream(SocketAddr),
    Nowhere,
}

/// What a caller's datagrams go through: a stand-in for one who speaks TCP by themselves.
struct Tunnel {
    entrance: SocketAddr,
    ways: mpsc::Sender<Way>,
    /// Whether the far end has closed the connection.
    is_closed: watch::Receiver<bool>,
    _digging: JoinSet<()>,
}

impl Tunnel {
    async fn dig(way: Way) -> Self {
        let entrance = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
        let address = entrance.local_addr().unwrap();
        let (ways, wanted) = mpsc::channel(1);
        let (closing, is_closed) = watch::channel(false);
        let mut digging = JoinSet::new();
        digging.spawn(carry(entrance, way, wanted, closing));
        Self { entrance: address, ways, is_closed, _digging: digging }
    }

    /// Cuts the line as it is, and lays another.
    async fn switch(&self, way: Way) {
        self.ways.send(way).await.unwrap();
    }
}

async fn carry(
    entrance: UdpSocket,
    way: Way,
    mut ways: mpsc::Receiver<Way>,
    closing: watch::Sender<bool>,
) {
    let mut line = Line::lay(way).await;
    let (mut caller, mut buffer) = (None, [0; 1500]);
    loop {
        tokio::select! {
            way = ways.recv() => match way {
                Some(way) => line = Line::lay(way).await,
                None => return,
            },
            said = entrance.recv_from(&mut buffer) => {
                let (length, from) = said.unwrap();
                caller = Some(from);
                line.send(&buffer[..length]).await;
            }
            heard = line.hear() => if let Ok(packet) = heard {
                let caller = caller.expect("nothing is answered before it is asked");
                entrance.send_to(&packet, caller).await.unwrap();
            } else {
                closing.send_replace(true);
                line = Line::None;
            }
        }
    }
}

/// The far side of a tunnel.
enum Line {
    Datagrams(UdpSocket),
    Stream(TcpStream, BytesMut),
    None,
}

impl Line {
    async fn lay(way: Way) -> Self {
        match way {
            Way::Datagrams(to) => {
                let socket = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
                socket.connect(to).await.unwrap();
                Self::Datagrams(socket)
            }
            Way::Stream(to) => Self::Stream(TcpStream::connect(to).await.unwrap(), BytesMut::new()),
            Way::Nowhere => Self::None,
        }
    }

    async fn send(&mut self, packet: &[u8]) {
        let sent = match self {
            Self::Datagrams(socket) => socket.send(packet).await.map(|_| ()),
            Self::Stream(stream, _) => {
                let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, packet].concat()).await
            }
            Self::None => Ok(()),
        };
        // What a closed connection does not take is lost.
        drop(sent);
    }

    async fn hear(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Datagrams(socket) => {
                let mut buffer = [0; 1500];
                let length = socket.recv(&mut buffer).await?;
                Ok(buffer[..length].to_vec())
            }
            Self::Stream(stream, buffer) => loop {
                if let Some((length, rest)) = buffer.split_first_chunk() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    if let Some(packet) = rest.get(..length) {
                        let packet = packet.to_vec();
                        buffer.advance(2 + length);
                        return Ok(packet);
                    }
                }
                if stream.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
            Self::None => std::future::pending().await,
        }
    }
}
