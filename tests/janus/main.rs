//! The real gateway in AudioBridge rooms of a real Janus, with an aiortc participant: hears and is
//! heard, and comes back when a connection is lost. Each test has a network of its own, with Janus
//! and the participants on the machine next door.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "../interop/gateway.rs"]
mod gateway;
#[path = "../harness/lan.rs"]
mod lan;
#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "../interop/peer.rs"]
mod peer;
#[path = "../drops/relay.rs"]
mod relay;
mod server;
#[allow(dead_code, reason = "each test program uses its part of it")]
#[path = "../interop/sound.rs"]
mod sound;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::Duration;

use callbridge::sys::clock;
use gateway::Gateway;
use lan::{NEXT_DOOR, Neighbour};
use peer::{Agent, Peer, fixture, recording_of};
use relay::Relay;
use serde_json::{Value, json};
use server::{LOCKED_ROOM, Manner, PORT, ROOM, Road, SECRET, Server};
use sound::{missed, words_in};
use tokio::process::Command;

#[test]
fn an_agent_hears_and_is_heard_in_a_room_of_janus() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        let mut agent = Agent::create(&scene.gateway).await;
        let joined = agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(names(&joined["participants"]), ["Ann"]);
        is_answered(&mut ann, &mut agent).await;

        assert_eq!(agent.leave().await["reason"], "requested");
        ann.until("the agent leaves", |told| !told["plugin"]["leaving"].is_null()).await;
        ann.hang_up().await;
        let words = words_in(&recording_of(&scene.gateway, "Ann")).await;
        assert!(missed(FOX, &words).len() <= 2, "Ann has heard: {words}");
    });
}

#[test]
fn candidates_may_come_after_the_answer() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner { full_trickle: true, ..Manner::default() }).await;
        let mut agent = Agent::create(&scene.gateway).await;
        let joined = agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(joined["participants"], json!([]));
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        is_answered(&mut ann, &mut agent).await;
        ann.hang_up().await;
        assert_eq!(agent.event("participant_left").await["name"], "Ann");
    });
}

#[test]
fn of_two_who_are_mixed_each_is_known_by_their_speech() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        let mut ben = scene.participant("Ben", "my-name-is").await;
        let joined = agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        let named = |id: &Value| {
            let all = joined["participants"].as_array().unwrap();
            let one = all.iter().find(|one| one["id"] == *id || one["participantId"] == *id);
            one.map(|one| one["name"].clone())
        };
        for (speaker, name) in [(&mut ben, "Ben"), (&mut ann, "Ann")] {
            speaker.order("say").await;
            let heard = agent.event_where("transcript", |event| event["isFinal"] == true).await;
            assert_eq!(named(&heard["participantId"]), Some(json!(name)), "{heard} in {joined}");
            agent.spoken().await;
        }
        tokio::join!(ann.hang_up(), ben.hang_up());
    });
}

#[test]
fn a_session_is_claimed_again_and_nobody_notices() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner { reclaim_seconds: 15, ..Manner::default() }).await;
        let relay = Relay::to(janus()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url_by(relay.address, ROOM)})).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        ann.order("say").await;
        let started = |event: &Value| event["status"] == "started";
        agent.event_where("speak-status", started).await;
        relay.cut().await;
        let answer = agent.spoken().await;
        ann.order(r#"request {"request":"listparticipants","room":1234}"#).await;
        let still_there = |told: &Value| {
            assert!(told["plugin"]["leaving"].is_null(), "{told}");
            assert_ne!(told["connection"], "failed");
            told["answer"].is_object()
        };
        ann.until("who is there", still_there).await;
        agent.leave().await;
        ann.until("the agent leaves", |told| !told["plugin"]["leaving"].is_null()).await;
        ann.hang_up().await;
        let words = words_in(&recording_of(&scene.gateway, "Ann")).await;
        assert!(missed(&answer, &words).len() <= 1, "Ann has heard: {words}");
    });
}

#[test]
fn a_session_that_is_gone_is_made_anew() {
    lan::run(LIMIT, async {
        // Without a time to claim it in, Janus ends a session with its connection.
        let scene = Scene::open(Manner::default()).await;
        let relay = Relay::to(janus()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url_by(relay.address, ROOM)})).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        relay.cut().await;
        ann.until("the agent is back", is_agent_set_up).await;
        is_answered(&mut ann, &mut agent).await;
        ann.hang_up().await;
        assert_eq!(agent.event("participant_left").await["name"], "Ann");
    });
}

#[test]
fn sound_that_is_lost_comes_back_by_another_leg() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        Road::close();
        ann.until("the agent is lost", |told| !told["plugin"]["leaving"].is_null()).await;
        Road::open();
        ann.until("the agent is back", is_agent_set_up).await;
        is_answered(&mut ann, &mut agent).await;
        ann.hang_up().await;
    });
}

#[test]
fn a_janus_that_is_killed_ends_the_call_and_one_that_is_restarted_does_not() {
    lan::run(LIMIT, async {
        let mut scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        scene.janus.kill();
        scene.janus.restart(&scene.neighbour).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        is_answered(&mut ann, &mut agent).await;

        ann.kill().await;
        scene.janus.kill();
        let killed = clock::now();
        let left = agent.event("room_left").await;
        let reason = left["reason"].as_str().unwrap();
        assert!(reason.starts_with("the room cannot be reached"), "{left}");
        assert!(killed.elapsed() < ENDED_MAX, "{:?}", killed.elapsed());
    });
}

#[test]
fn who_is_sent_out_is_told_so() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut ann = scene.participant("Ann", "goodbye").await;
        for (request, reason) in [("kick", "kicked"), ("destroy", "the room was destroyed")] {
            let mut agent = Agent::create(&scene.gateway).await;
            agent.join_by(json!({"roomUrl": url(ROOM)})).await;
            let came = ann.until("the agent", is_agent_set_up).await;
            let id = &came["plugin"]["participants"][0]["id"];
            let room: u64 = ROOM.parse().unwrap();
            let body = json!({"request": request, "room": room, "id": id, "secret": SECRET});
            ann.order(&format!("request {body}")).await;
            let left = agent.event("room_left").await;
            assert_eq!(left["reason"], format!("the room has ended the call: {reason}"));
        }
    });
}

#[test]
fn a_room_is_made_on_request_and_goes_with_its_maker() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        let made = format!("{}&create=true&pin=p", url("77"));
        agent.join_by(json!({"roomUrl": made})).await;
        let mut other = Agent::create(&scene.gateway).await;
        let joined = other.join_by(json!({"roomUrl": made})).await;
        assert_eq!(names(&joined["participants"]), ["Ada"]);
        assert_eq!(agent.event("participant_joined").await["name"], "Ada");
        agent.leave().await;
        let left = other.event("room_left").await;
        assert_eq!(left["reason"], "the room has ended the call: the room was destroyed");
        let error = other.join_in_vain(json!({"roomUrl": url("77")})).await;
        assert_eq!(error["code"], "ROOM_NOT_FOUND");
    });
}

#[test]
fn a_server_may_name_its_rooms_by_texts() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner { string_ids: true, ..Manner::default() }).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        let mut other = Agent::create(&scene.gateway).await;
        let joined = other.join_by(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(names(&joined["participants"]), ["Ada"]);
        other.leave().await;
        assert_eq!(agent.event("participant_left").await["name"], "Ada");
        let lobby = url("lobby%20one") + "&create=true";
        other.join_by(json!({"roomUrl": lobby})).await;
        other.leave().await;
    });
}

#[test]
fn a_wire_that_is_pulled_and_put_in_again_ends_no_call() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        let mut ann = scene.participant("Ann", "repeat-after-me").await;
        assert_eq!(agent.event("participant_joined").await["name"], "Ann");
        scene.neighbour.plug(false);
        // So long is the wire out; nothing is waited for.
        tokio::time::sleep(OUTAGE).await;
        scene.neighbour.plug(true);
        ann.until("the agent is back", is_agent_set_up).await;
        is_answered(&mut ann, &mut agent).await;
        ann.hang_up().await;
    });
}

#[test]
fn each_door_that_stays_shut_says_why() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner { api_secret: Some("hush"), ..Manner::default() }).await;
        let mut agent = Agent::create(&scene.gateway).await;
        let server = |room: &str| format!("{}&apisecret=hush", url(room));
        for (url, token, code) in [
            (server("99"), None, "ROOM_NOT_FOUND"),
            (server("lobby"), None, "ROOM_NOT_FOUND"),
            (server(LOCKED_ROOM), None, "ROOM_UNAUTHORIZED"),
            (server(LOCKED_ROOM), Some("abracadabra"), "ROOM_UNAUTHORIZED"),
            (server(LOCKED_ROOM) + "&pin=1", Some("sesame"), "ROOM_UNAUTHORIZED"),
            (url(ROOM), None, "ROOM_UNAUTHORIZED"),
            (
                url_by(SocketAddr::new(NEXT_DOOR.parse().unwrap(), 9), ROOM),
                None,
                "ROOM_UNREACHABLE",
            ),
            ("janus+ws://10.77.0.9:8188/janus?room=1".to_owned(), None, "ROOM_UNREACHABLE"),
        ] {
            let begun = clock::now();
            let error = agent.join_in_vain(json!({"roomUrl": url, "token": token})).await;
            assert_eq!(error["code"], code, "{url}: {error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            assert!(begun.elapsed() < JOIN_MAX, "{url}: {:?}", begun.elapsed());
        }
        agent.join_by(json!({"roomUrl": server(LOCKED_ROOM), "token": "sesame"})).await;
        agent.leave().await;
    });
}

#[test]
fn sound_that_never_comes_fails_the_join_in_time() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        Road::close();
        let mut agent = Agent::create(&scene.gateway).await;
        let begun = clock::now();
        let error = agent.join_in_vain(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(error["code"], "MEDIA_FAILED", "{error}");
        assert!(begun.elapsed() < JOIN_MAX, "{:?}", begun.elapsed());
        Road::open();
        let joined = agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(joined["participants"], json!([]), "nothing is left of the first attempt");
    });
}

#[test]
fn a_janus_that_hangs_lets_nobody_wait() {
    lan::run(LIMIT, async {
        let scene = Scene::open(Manner::default()).await;
        let mut agent = Agent::create(&scene.gateway).await;
        agent.join_by(json!({"roomUrl": url(ROOM)})).await;
        let mut late = Agent::create(&scene.gateway).await;
        scene.janus.freeze();
        let begun = clock::now();
        let error = late.join_in_vain(json!({"roomUrl": url(ROOM)})).await;
        assert_eq!(error["code"], "ROOM_UNREACHABLE", "{error}");
        assert!(begun.elapsed() < JOIN_MAX, "{:?}", begun.elapsed());
        let left = agent.event("room_left").await;
        assert!(left["reason"].as_str().unwrap().contains("cannot be reached"), "{left}");
        assert!(begun.elapsed() < ENDED_MAX, "{:?}", begun.elapsed());
    });
}

/// A gateway here, and a Janus on the machine next door.
struct Scene {
    gateway: Gateway,
    janus: Server,
    neighbour: Neighbour,
}

impl Scene {
    async fn open(manner: Manner) -> Self {
        let neighbour = Neighbour::new();
        let janus = Server::start(&neighbour, manner).await;
        let gateway = Gateway::start_with(SETTINGS).await;
        Self { gateway, janus, neighbour }
    }

    /// Somebody in the room, on the machine next door.
    async fn participant(&self, name: &str, says: &str) -> Peer {
        let url = format!("ws://{}/janus", janus());
        let (fixture, recording) = (fixture(says), recording_of(&self.gateway, name));
        let args = [&url, ROOM, name].map(OsStr::new);
        let args = [&args[..], &[fixture.as_os_str(), recording.as_os_str()]].concat();
        let launcher = self.neighbour.command("env");
        let launcher = Command::from(launcher);

        let mut peer = Peer::python_by(launcher, "../janus/participant.py", &args);
        peer.until("connected", |told| told["connection"] == "connected").await;
        peer
    }
}

/// Ann asks, and the agent answers as it should.
async fn is_answered(ann: &mut Peer, agent: &mut Agent) {
    ann.order("say").await;
    let onset = agent.event("vad_start").await;
    let heard = agent.event_where("transcript", |event| event["isFinal"] == true).await;
    assert_eq!(heard["participantId"], onset["participantId"]);
    assert!(missed(REPEAT, heard["text"].as_str().unwrap()).len() <= 2, "{heard}");
    let answer = agent.spoken().await;
    assert!(missed(FOX, &answer).len() <= 2, "{answer}");
}

fn is_agent_set_up(told: &Value) -> bool {
    let people = told["plugin"]["participants"].as_array();
    let is_agent = |one: &Value| one["display"] == "Ada" && one["setup"] == true;
    people.is_some_and(|people| people.iter().any(is_agent))
}

fn janus() -> SocketAddr {
    SocketAddr::new(NEXT_DOOR.parse().unwrap(), PORT)
}

fn url(room: &str) -> String {
    url_by(janus(), room)
}

fn url_by(server: SocketAddr, room: &str) -> String {
    format!("janus+ws://{server}/janus?room={room}")
}

fn names(participants: &Value) -> Vec<&str> {
    participants.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// What one of the recordings says, and what the local model answers it with.
const REPEAT: &str = "Repeat after me. The quick brown fox jumps over the lazy dog.";
const FOX: &str = "The quick brown fox jumps over the lazy dog.";

/// The gateway waits for its clients longer than any test takes.
const SETTINGS: &[(&str, &str)] = &[("CALLBRIDGE_GRACE_CLIENT_SECONDS", "60")];

/// How long one of these tests may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(150);

/// Longer than the agent's leg, and what is asked of Janus meanwhile, can stand.
const OUTAGE: Duration = Duration::from_secs(11);

/// How soon a join that fails must have failed.
const JOIN_MAX: Duration = Duration::from_secs(16);

/// How soon a call without its server is over: what a way back may take, and what it takes to see
/// that one is needed.
const ENDED_MAX: Duration = Duration::from_secs(30);
