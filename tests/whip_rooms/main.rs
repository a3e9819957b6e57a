//! Agents in rooms behind WHIP endpoints: their stay, its end, and what HTTP has in store for it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

mod endpoint;
#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "../interop/gateway.rs"]
mod gateway;
#[path = "../harness/lan.rs"]
mod lan;
mod machines;
#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "../harness/raw.rs"]
mod raw;
mod rebinding;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use callbridge::agent::{JoinRequest, Participant, RoomEvent, RoomFailure};
use callbridge::ids::{CallId, ParticipantId};
use callbridge::media::OpusPacket;
use callbridge::privacy::Secret;
use callbridge::rooms::whip::{Call, Caller};
use callbridge::rooms::{Places, PlacesConfig, RoomLink, Rooms, RoomsConfig};
use callbridge::sys::clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use endpoint::{Endpoint, Manners, stun_server};

#[tokio::test]
async fn an_agent_and_a_caller_hear_each_other_through_an_endpoint() {
    let mut endpoint = Endpoint::open(Manners::default()).await;
    let places = places();
    let mut agent = join(&places, &endpoint.whip("lobby"));
    let room = joined(&mut agent).await;
    assert_eq!(room.name, "lobby at 127.0.0.1");

    let mut ann = enter(&endpoint.rooms).await;
    let heard = says_until_heard(|packet| ann.send(&packet), &mut agent.packets).await;
    assert_eq!(heard.participant, room.id);
    let playout = agent.playout.clone();
    says_until_heard(move |packet| playout.try_send(packet).is_ok(), &mut ann.packets).await;

    drop(agent);
    let goodbye = endpoint.is_asked(|asked| asked.what.starts_with("DELETE /session/")).await;
    assert_eq!(goodbye.token.as_deref(), Some("Bearer rt_1"));
    within(places.part()).await;
}

#[tokio::test]
async fn a_redirect_is_followed_and_the_token_stays_where_it_belongs() {
    let places = places();
    let endpoint = Endpoint::open(Manners::default()).await;
    let mut agent = join(&places, &endpoint.whip("moved"));
    joined(&mut agent).await;
    let tokens = |endpoint: &Endpoint| -> Vec<_> {
        endpoint.asked().into_iter().map(|asked| (asked.what, asked.token)).collect()
    };
    let with_token = |what: &str| (what.to_owned(), Some("Bearer rt_1".to_owned()));
    let asked = [with_token("POST /whip/moved"), with_token("POST /whip/lobby")];
    assert_eq!(tokens(&endpoint)[..2], asked);

    let elsewhere = Some(endpoint.whip("lobby"));
    let first = Endpoint::open(Manners { elsewhere, ..Manners::default() }).await;
    let mut another = join(&places, &first.whip("gone"));
    joined(&mut another).await;
    assert_eq!(tokens(&first), [with_token("POST /whip/gone")]);
    let last = endpoint.asked().pop().unwrap();
    assert_eq!((last.what.as_str(), last.token), ("POST /whip/lobby", None));
    assert!(last.body.starts_with("v=0"), "the offer comes along");
}

#[tokio::test]
async fn a_circle_of_redirects_is_left() {
    let places = places();
    let elsewhere = Some("/whip/gone".to_owned());
    let endpoint = Endpoint::open(Manners { elsewhere, ..Manners::default() }).await;
    let failure = refused(&mut join(&places, &endpoint.whip("moved"))).await;
    assert_eq!(failure, RoomFailure::Unreachable("it redirects too often".to_owned()));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let places = places();
    let endpoint = Endpoint::open(Manners::default()).await;
    for (door, code) in [
        ("status/401", "ROOM_UNAUTHORIZED"),
        ("status/404", "ROOM_NOT_FOUND"),
        ("status/429", "ROOM_FULL"),
        ("status/415", "MEDIA_FAILED"),
        ("status/500", "ROOM_UNREACHABLE"),
        ("status/201", "MEDIA_FAILED"),
        ("nowhere/else", "ROOM_NOT_FOUND"),
        ("deaf", "MEDIA_FAILED"),
    ] {
        let failure = refused(&mut join(&places, &endpoint.whip(door))).await;
        assert_eq!(failure.code(), code, "{door}: {failure}");
    }
    let left = endpoint.asked().iter().filter(|asked| asked.what.starts_with("DELETE")).count();
    assert_eq!(left, 1, "who does not talk back is told goodbye");
}

#[tokio::test]
async fn where_nobody_listens_it_is_said_at_once() {
    let places = places();
    let listener = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = refused(&mut join(&places, &format!("http://{address}/whip"))).await;
    let RoomFailure::Unreachable(why) = &failure else { panic!("{failure}") };
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_in_time() {
    let places = places();
    let endpoint = Endpoint::open(Manners::default()).await;
    let mut agent = join(&places, &endpoint.whip("silent"));
    let event = tokio::time::timeout(Duration::from_secs(20), agent.events.recv()).await;
    let late = RoomFailure::Unreachable("it did not answer in time".to_owned());
    assert_eq!(event.expect("in time"), Some(RoomEvent::Failed(late)));
}

#[tokio::test]
async fn where_no_sound_gets_through_media_has_failed() {
    let places = places();
    let mut endpoint = Endpoint::open(Manners::default()).await;
    let mut agent = join(&places, &endpoint.whip("unreachable"));
    let event = tokio::time::timeout(Duration::from_secs(20), agent.events.recv()).await;
    let event = event.expect("in time");
    assert!(matches!(event, Some(RoomEvent::Failed(RoomFailure::Media(_)))), "{event:?}");
    endpoint.is_asked(|asked| asked.what.starts_with("DELETE")).await;
}

#[tokio::test]
async fn who_leaves_on_the_way_in_is_not_waited_for() {
    let mut endpoint = Endpoint::open(Manners::default()).await;
    let places = places();
    let agent = join(&places, &endpoint.whip("unreachable"));
    endpoint.is_asked(|asked| asked.what.starts_with("POST")).await;
    drop(agent);
    endpoint.is_asked(|asked| asked.what.starts_with("DELETE")).await;
    within(places.part()).await;
}

#[tokio::test]
async fn a_room_that_closes_is_not_entered_again() {
    let places = places();
    let endpoint = Endpoint::open(Manners::default()).await;
    let mut agent = join(&places, &endpoint.whip("lobby"));
    joined(&mut agent).await;
    assert!(endpoint.rooms.remove("lobby").await);
    let failure = refused(&mut agent).await;
    assert_eq!(failure.code(), "ROOM_CLOSED", "{failure}");
    assert_eq!(within(agent.events.recv()).await, None);
    let entered = endpoint.asked().iter().filter(|asked| asked.what.starts_with("POST")).count();
    assert_eq!(entered, 1);
}

#[tokio::test]
async fn addresses_that_a_recommended_server_tells_are_trickled() {
    let places = places();
    let mut tasks = JoinSet::new();
    let url = stun_server(&mut tasks).await;
    let link = Some(format!("<{url}>; rel=\"ice-server\""));
    let mut endpoint = Endpoint::open(Manners { link, ..Manners::default() }).await;
    let mut agent = join(&places, &endpoint.whip("lobby"));
    joined(&mut agent).await;
    let patch = endpoint.is_asked(|asked| asked.what.starts_with("PATCH /session/")).await;
    assert!(patch.body.contains(" 203.0.113.7 4321 typ srflx"), "{}", patch.body);
    assert!(patch.body.contains("a=ice-ufrag:") && patch.body.contains("a=mid:0"), "{patch:?}");
    assert_eq!(patch.body.matches("a=candidate:").count(), 1, "{}", patch.body);
    assert!(patch.tag.is_some_and(|tag| tag.starts_with('"')));
}

/// Says packets until one is heard; the first may be lost while the track is set up.
async fn says_until_heard(
    say: impl Fn(OpusPacket) -> bool,
    packets: &mut mpsc::Receiver<OpusPacket>,
) -> OpusPacket {
    let saying = async {
        for number in 0.. {
            say(packet(number));
            let pause = Duration::from_millis(20);
            if let Ok(heard) = tokio::time::timeout(pause, packets.recv()).await {
                return heard.expect("the call is up");
            }
        }
        panic!("nothing is heard")
    };
    within(saying).await
}

async fn enter(rooms: &Rooms) -> Call {
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let answer = rooms.enter("lobby", None, "Ann", caller.offer()).await.unwrap();
    caller.connect(&answer.sdp).await.unwrap()
}

fn places() -> Places {
    let media_listen = vec![SocketAddr::new(LOOPBACK, 0)];
    let rooms = Rooms::new(&RoomsConfig {
        media_listen,
        media_tcp_listen: None,
        public_ip: None,
        open: true,
    });
    Places::new(rooms.unwrap(), PlacesConfig::default())
}

fn join(places: &Places, url: &str) -> RoomLink {
    places.join(&JoinRequest {
        call: CallId::new("call_1"),
        room_url: url.to_owned(),
        token: Some(Secret::new("rt_1")),
        participant_name: Some("Ada".to_owned()),
    })
}

/// Waits until the agent is in; the one participant who stands for the room.
async fn joined(agent: &mut RoomLink) -> Participant {
    let event = within(agent.events.recv()).await.expect("the link is open");
    let RoomEvent::Joined { mut participants } = event else { panic!("{event:?}") };
    assert_eq!(participants.len(), 1);
    participants.remove(0)
}

/// The failure that the agent is told next.
async fn refused(agent: &mut RoomLink) -> RoomFailure {
    loop {
        let event = within(agent.events.recv()).await.expect("the link is open");
        if let RoomEvent::Failed(failure) = event {
            return failure;
        }
        assert!(matches!(event, RoomEvent::Quality { .. }), "{event:?}");
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens in time")
}

fn packet(number: u16) -> OpusPacket {
    OpusPacket {
        participant: ParticipantId::new("me"),
        sequence: 1000 + number,
        timestamp: u32::from(number) * 960,
        marker: number == 0,
        payload: Bytes::from(format!("packet {number}")),
        at: clock::now(),
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
