//! Humans and agents in a hosted room, over real ICE, DTLS and SRTP on loopback.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may fail the test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::routing;
use bytes::Bytes;
use callbridge::agent::{JoinRequest, RoomEvent, RoomFailure};
use callbridge::ids::{CallId, ParticipantId};
use callbridge::media::OpusPacket;
use callbridge::privacy::{Secret, SecretHash};
use callbridge::rooms::whip::{self, Call, Caller};
use callbridge::rooms::{
    Codec, IceSession, MakeRoomError, Places, PlacesConfig, RoomAnswer, RoomLink, RoomName, Rooms,
    RoomsConfig, TrickleAnswer,
};
use callbridge::sys::clock;
use tokio::sync::mpsc;

use tones::{Recording, Tone};

mod doors;
mod lanes;
mod lines;
mod tcp;
mod tones;

#[tokio::test]
async fn a_caller_and_an_agent_hear_each_other_untouched() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    assert_eq!(event(&mut agent).await, RoomEvent::Joined { participants: vec![] });

    let (mut call, ann) = enter(&rooms, "lobby", "Ann").await;
    let RoomEvent::ParticipantJoined(participant) = event(&mut agent).await else {
        panic!("the agent is told who has come in")
    };
    assert_eq!((participant.id, participant.name.as_str()), (ann.clone(), "Ann"));

    say(&call, 0, 10).await;
    let heard = hear_until(&mut agent.packets, 9).await;
    assert!(heard.iter().all(|packet| packet.participant == ann));
    assert!(heard.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1));
    assert!(heard.len() >= 9, "only the first may be lost while the track is set up");

    for number in 0..10 {
        agent.playout.send(packet(number)).await.unwrap();
    }
    let heard = hear_until(&mut call.packets, 9).await;
    assert!(heard.len() >= 9);
    assert!(heard.windows(2).all(|pair| {
        pair[1].sequence == pair[0].sequence.wrapping_add(1)
            && pair[1].timestamp == pair[0].timestamp.wrapping_add(960)
    }));
}

#[tokio::test]
async fn two_humans_hear_each_other() {
    let rooms = open_rooms();
    let (mut ann, _) = enter(&rooms, "lobby", "Ann").await;
    let (mut ben, _) = enter(&rooms, "lobby", "Ben").await;
    say_until(&ann, &mut ben.packets, 0).await;
    say_until(&ben, &mut ann.packets, 100).await;
}

#[tokio::test]
async fn in_company_everyone_hears_a_mix_of_all_others() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (mut ann, ann_id) = enter(&rooms, "lobby", "Ann").await;
    let (mut ben, ben_id) = enter(&rooms, "lobby", "Ben").await;
    assert_eq!([arrival(&mut agent).await, arrival(&mut agent).await], [ann_id.clone(), ben_id]);

    let (mut ann_tone, mut agent_tone) = (Tone::new(ANN_HERTZ), Tone::new(AGENT_HERTZ));
    let (mut to_ann, mut to_ben, mut to_agent) = (Recording::new(), Recording::new(), Vec::new());
    for _ in 0..100 {
        ann.send(&ann_tone.next());
        agent.playout.send(agent_tone.next()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        to_ann.take(&mut ann.packets);
        to_ben.take(&mut ben.packets);
        while let Ok(packet) = agent.packets.try_recv() {
            to_agent.push(packet);
        }
    }
    assert!(to_ben.has(ANN_HERTZ) && to_ben.has(AGENT_HERTZ));
    assert!(to_ann.has(AGENT_HERTZ) && !to_ann.has(ANN_HERTZ));
    assert!(to_ann.is_continuous() && to_ben.is_continuous());
    assert!(to_agent.iter().all(|packet| packet.participant == ann_id), "agents get no mix");
    assert!(to_agent.len() > 80);
}

#[tokio::test]
async fn agents_hear_and_see_each_other() {
    let rooms = open_rooms();
    let mut first = join(&rooms, "lobby");
    assert_eq!(event(&mut first).await, RoomEvent::Joined { participants: vec![] });
    let mut second = join(&rooms, "lobby");
    let RoomEvent::Joined { participants } = event(&mut second).await else {
        panic!("the second is in")
    };
    let RoomEvent::ParticipantJoined(newcomer) = event(&mut first).await else {
        panic!("the first is told")
    };

    second.playout.send(packet(1)).await.unwrap();
    let heard = within(first.packets.recv()).await.unwrap();
    assert_eq!((heard.participant, heard.payload), (newcomer.id.clone(), payload(1)));

    drop(second);
    assert_eq!(event(&mut first).await, left(newcomer.id, "it left the room"));
    assert_eq!(participants.len(), 1);
}

#[tokio::test]
async fn hanging_up_puts_a_human_out_at_once() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (_call, ann) = enter_and_keep(&rooms, "lobby", "Ann").await;
    arrival(&mut agent).await;

    assert!(!rooms.hang_up("lobby", &Secret::new("p_another")).await, "there is no such key");
    assert!(rooms.hang_up("lobby", &ann.key).await);
    assert_eq!(event(&mut agent).await, left(ann.participant, "it hung up"));
    assert!(!rooms.hang_up("lobby", &ann.key).await, "they are gone");
}

#[tokio::test]
async fn a_human_who_vanishes_has_left_within_five_seconds() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (call, ann) = enter(&rooms, "lobby", "Ann").await;
    arrival(&mut agent).await;

    let vanished = clock::now();
    drop(call);
    assert_eq!(event(&mut agent).await, left(ann, "it fell silent"));
    assert!(clock::now() - vanished < Duration::from_secs(5));
}

#[tokio::test]
async fn who_says_goodbye_and_nothing_after_it_has_left() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let (call, ann) = enter(&rooms, "lobby", "Ann").await;
    arrival(&mut agent).await;
    say_until(&call, &mut agent.packets, 0).await;

    call.say_goodbye().await;
    assert_eq!(event(&mut agent).await, left(ann, "it said goodbye"));
}

#[tokio::test]
async fn twenty_callers_share_one_port() {
    let rooms = open_rooms();
    let [address] = rooms.media_addresses() else { panic!("one address, one port") };
    let candidate = format!(" {} {} typ host", address.ip(), address.port());
    let mut agent = join(&rooms, "lobby");
    assert_eq!(event(&mut agent).await, RoomEvent::Joined { participants: vec![] });

    let mut calls = Vec::new();
    for number in 0..20 {
        let caller = Caller::prepare(LOOPBACK).await.unwrap();
        let answer = rooms.enter("lobby", None, "", caller.offer()).await.unwrap();
        assert_eq!(answer.sdp.matches(" udp ").count(), 1);
        assert!(answer.sdp.contains(&candidate), "{}", answer.sdp);
        let call = caller.connect(&answer.sdp).await.unwrap();
        assert_eq!(arrival(&mut agent).await, answer.participant);
        calls.push((call, answer.participant, number));
    }
    for (call, participant, number) in &calls {
        let heard = say_until(call, &mut agent.packets, 100 * number).await;
        assert_eq!(heard.participant, *participant);
    }
}

#[tokio::test]
async fn an_offer_that_makes_no_sense_is_refused_at_once() {
    let rooms = open_rooms();
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let opus_only = Caller::prepare_with(LOOPBACK, &[Codec::Opus]).await.unwrap();
    let offers = [
        String::new(),
        "hello".to_owned(),
        "v=0\r\nthis is not SDP\r\n".to_owned(),
        caller.offer().replace("m=audio", "m=video"),
        opus_only.offer().replace("opus/48000/2", "G722/8000"),
        caller.offer().replace("a=mid:", "a=nothing:"),
        caller.offer().replace("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
        caller.offer()[..caller.offer().len() / 2].to_owned(),
        caller.offer().replace("m=audio 9", "m=audio nine"),
    ];
    for offer in offers {
        let refused = rooms.enter("lobby", None, "Ann", &offer).await.unwrap_err();
        assert!(matches!(refused, RoomFailure::Media(_)), "{refused:?} of {offer}");
    }
    // And nothing is the worse for it.
    enter(&rooms, "lobby", "Ann").await;
}

#[tokio::test]
async fn candidates_that_cannot_be_used_are_ignored_quietly() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let own: Vec<&str> =
        caller.offer().lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let mut offer = caller.offer().to_owned();
    for candidate in own {
        let hidden = "a=candidate:1 1 udp 2113937151 0b1c.local 50000 typ host\r\n\
            a=candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active\r\n\
            a=candidate:nonsense";
        offer = offer.replace(candidate, hidden);
    }
    let answer = rooms.enter("lobby", None, "Ann", &offer).await.unwrap();
    let call = caller.connect(&answer.sdp).await.unwrap();
    arrival(&mut agent).await;
    say_until(&call, &mut agent.packets, 0).await;
}

#[tokio::test]
async fn candidates_may_come_later() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let (candidates, rest): (Vec<&str>, Vec<&str>) =
        caller.offer().lines().partition(|line| line.starts_with("a=candidate:"));
    let offer = rest.join("\r\n") + "\r\n";
    let answer = rooms.enter("lobby", None, "Ann", &offer).await.unwrap();

    let credentials = rest.iter().filter(|line| line.starts_with("a=ice-")).copied();
    let fragment: Vec<&str> = credentials.chain(candidates).collect();
    let fragment = fragment.join("\r\n") + "\r\na=candidate:1 1 udp 1 x.local 1 typ host\r\n";
    let trickle = async |key: &Secret, of: IceSession, fragment: &str| {
        rooms.trickle("lobby", key, of, fragment).await
    };
    let of = |tag: &str| IceSession::OneOf(vec!["another".to_owned(), tag.to_owned()]);
    let outdated = trickle(&answer.key, of("one"), &fragment).await;
    assert_eq!(outdated, Ok(TrickleAnswer::Outdated));
    let trickled = trickle(&answer.key, of(&answer.ice_etag), &fragment).await;
    assert_eq!(trickled, Ok(TrickleAnswer::Added));
    let trickled = trickle(&answer.key, IceSession::Any, &fragment).await;
    assert_eq!(trickled, Ok(TrickleAnswer::Added));
    let refused = trickle(&Secret::new("p_another"), IceSession::Any, &fragment).await;
    assert_eq!(refused, Err(RoomFailure::NotFound));
    let nonsense = trickle(&answer.key, IceSession::Any, "{}").await;
    assert!(matches!(nonsense, Err(RoomFailure::Media(_))));

    let call = caller.connect(&answer.sdp).await.unwrap();
    arrival(&mut agent).await;
    say_until(&call, &mut agent.packets, 0).await;
}

#[tokio::test]
async fn any_of_several_fingerprints_will_do() {
    let rooms = open_rooms();
    let wrong_256 = format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":"));
    let wrong_384 = format!("a=fingerprint:sha-384 {}", ["AB"; 48].join(":"));
    let weak = format!("a=fingerprint:sha-1 {}", ["AB"; 20].join(":"));
    for more in [&wrong_256, &wrong_384, &weak] {
        let mut agent = join(&rooms, "lobby");
        let caller = Caller::prepare(LOOPBACK).await.unwrap();
        let offer = caller.offer().replace("a=fingerprint", &format!("{more}\r\na=fingerprint"));
        let answer = rooms.enter("lobby", None, "Ann", &offer).await.unwrap();
        let _call = caller.connect(&answer.sdp).await.unwrap();
        arrival(&mut agent).await;
        rooms.hang_up("lobby", &answer.key).await;
    }
}

#[tokio::test]
async fn whoever_shows_another_certificate_never_comes_in() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    assert_eq!(event(&mut agent).await, RoomEvent::Joined { participants: vec![] });
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let start = caller.offer().find("a=fingerprint:").unwrap();
    let end = start + caller.offer()[start..].find("\r\n").unwrap();
    let wrong = format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":"));
    let offer = [&caller.offer()[..start], &wrong, &caller.offer()[end..]].concat();
    let answer = rooms.enter("lobby", None, "Eve", &offer).await.unwrap();
    let call = caller.connect(&answer.sdp).await;
    // Whatever she says is not believed, and her leg is ended.
    for number in 0..20 {
        if let Ok(call) = &call {
            call.send(&packet(number));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!rooms.hang_up("lobby", &answer.key).await);
    assert!(agent.events.try_recv().is_err() && agent.packets.try_recv().is_err());
}

#[tokio::test]
async fn a_place_that_no_adapter_takes_is_refused_as_the_first_event() {
    let rooms = open_rooms();
    let url = "sip:ann@call.example".to_owned();
    let mut link = join_as(&rooms, &JoinRequest { room_url: url.clone(), ..request("") });
    assert_eq!(event(&mut link).await, RoomEvent::Failed(RoomFailure::Unsupported(url)));
    assert_eq!(within(link.events.recv()).await, None);
}

#[tokio::test]
async fn a_whip_endpoint_can_be_dialled() {
    let rooms = open_rooms();
    let mut agent = join(&rooms, "lobby");
    let endpoint = Endpoint::serve(rooms.clone()).await;
    let call = whip::dial(&format!("{}/rooms/lobby/whip", endpoint.url), None).await.unwrap();
    let ann = arrival(&mut agent).await;
    say_until(&call, &mut agent.packets, 0).await;
    call.hang_up().await;
    assert_eq!(event(&mut agent).await, left(ann, "it hung up"));

    let wrong = whip::dial(&format!("{}/elsewhere", endpoint.url), None).await;
    assert_eq!(wrong.unwrap_err(), RoomFailure::NotFound);
    let nonsense = whip::dial("no url", None).await;
    assert_eq!(nonsense.unwrap_err(), RoomFailure::Unsupported("no url".to_owned()));
}

/// A WHIP endpoint of rooms, as small as it can be.
struct Endpoint {
    url: String,
    _server: tokio::task::JoinSet<()>,
}

impl Endpoint {
    async fn serve(rooms: Rooms) -> Self {
        let post = async |State(rooms): State<Rooms>, Path(room): Path<String>, offer: String| {
            let answer = rooms.enter(&room, None, "Ann", &offer).await.unwrap();
            let location = format!("/rooms/{room}/participants/{}", answer.key.expose());
            (StatusCode::CREATED, [(header::LOCATION, location)], answer.sdp)
        };
        let delete = async |State(rooms): State<Rooms>,
                            Path((room, key)): Path<(String, String)>| {
            rooms.hang_up(&room, &Secret::new(key)).await;
        };
        let router = Router::new()
            .route("/rooms/{room}/whip", routing::post(post))
            .route("/rooms/{room}/participants/{key}", routing::delete(delete))
            .with_state(rooms);
        let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, _server: server }
    }
}

async fn enter(rooms: &Rooms, room: &str, name: &str) -> (Call, ParticipantId) {
    let (call, answer) = enter_and_keep(rooms, room, name).await;
    (call, answer.participant)
}

/// As `enter`, for those who want the key as well.
async fn enter_and_keep(rooms: &Rooms, room: &str, name: &str) -> (Call, RoomAnswer) {
    let caller = Caller::prepare(LOOPBACK).await.unwrap();
    let answer = rooms.enter(room, None, name, caller.offer()).await.unwrap();
    let call = caller.connect(&answer.sdp).await.unwrap();
    (call, answer)
}

async fn say(call: &Call, from: u16, to: u16) {
    for number in from..to {
        assert!(call.send(&packet(number)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says packets until one is heard; the first may be lost while the track is set up.
async fn say_until(
    call: &Call,
    packets: &mut mpsc::Receiver<OpusPacket>,
    first: u16,
) -> OpusPacket {
    let mut number = first;
    let saying = async {
        loop {
            call.send(&packet(number));
            number += 1;
            let pause = Duration::from_millis(20);
            if let Ok(heard) = tokio::time::timeout(pause, packets.recv()).await {
                return heard.expect("the call is up");
            }
        }
    };
    within(saying).await
}

/// The next human's arrival, as the agent is told of it.
async fn arrival(link: &mut RoomLink) -> ParticipantId {
    loop {
        if let RoomEvent::ParticipantJoined(participant) = event(link).await {
            return participant.id;
        }
    }
}

/// Everything up to the packet of this number.
async fn hear_until(packets: &mut mpsc::Receiver<OpusPacket>, number: u16) -> Vec<OpusPacket> {
    let mut heard: Vec<OpusPacket> = Vec::new();
    while heard.last().is_none_or(|packet| packet.payload != payload(number)) {
        heard.push(within(packets.recv()).await.expect("the call is up"));
    }
    heard
}

fn join(rooms: &Rooms, room: &str) -> RoomLink {
    join_as(rooms, &request(room))
}

fn join_as(rooms: &Rooms, request: &JoinRequest) -> RoomLink {
    Places::new(rooms.clone(), PlacesConfig::default()).join(request)
}

fn request(room: &str) -> JoinRequest {
    JoinRequest {
        call: CallId::new("call_1"),
        room_url: format!("rooms/{room}"),
        token: None,
        participant_name: Some("Agent".to_owned()),
    }
}

/// The next event, but for how lines are, which comes at its own times.
async fn event(link: &mut RoomLink) -> RoomEvent {
    loop {
        let event = within(link.events.recv()).await.expect("the link is open");
        if !matches!(event, RoomEvent::Quality { .. }) {
            return event;
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens in time")
}

fn left(id: ParticipantId, reason: &str) -> RoomEvent {
    RoomEvent::ParticipantLeft { id, reason: reason.to_owned() }
}

fn open_rooms() -> Rooms {
    Rooms::new(&config()).unwrap()
}

fn config() -> RoomsConfig {
    let media_listen = vec![SocketAddr::new(LOOPBACK, 0)];
    RoomsConfig { media_listen, media_tcp_listen: None, public_ip: None, open: true }
}

fn packet(number: u16) -> OpusPacket {
    OpusPacket {
        participant: ParticipantId::new("me"),
        sequence: 1000 + number,
        timestamp: u32::from(number) * 960,
        marker: number == 0,
        payload: payload(number),
        at: clock::now(),
    }
}

fn payload(number: u16) -> Bytes {
    Bytes::from(format!("packet {number}"))
}

const ANN_HERTZ: f32 = 400.0;
const AGENT_HERTZ: f32 = 1000.0;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
