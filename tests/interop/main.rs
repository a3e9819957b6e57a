//! Other makers' clients against the real program: Socket.IO, aiortc, Chromium, and kill -9.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod console;
mod flows;
#[allow(dead_code, reason = "each test program uses its part of it")]
mod gateway;
mod handoff;
#[path = "../harness/lan.rs"]
mod lan;
mod nat;
mod page;
mod peer;
mod private;
#[path = "../harness/raw.rs"]
mod raw;
mod relay;
mod sound;
mod tcp;

use std::collections::HashMap;
use std::time::Duration;

use gateway::{Gateway, KEY};
use peer::{Agent, Peer, caller, recording_of, telephone};
use serde_json::{Value, json};
use sound::{missed, words_in};
use tokio::time::timeout;

#[tokio::test]
async fn the_official_socket_io_client_drives_an_agent() {
    let gateway = Gateway::start().await;
    let mut client = Peer::node("socketio.cjs", &[gateway.url(), KEY]);
    let seen = client.next().await;
    client.finish().await;

    let codes = [
        "MISSING_AGENT_ID",
        "UNAUTHORIZED",
        "UNAUTHORIZED",
        "AGENT_NOT_FOUND",
        "AGENT_EXPIRED",
        "MISSING_AGENT_ID",
    ];
    assert_eq!(seen["refused"], json!(codes));
    for road in ["websocket", "polling"] {
        let call = ["room_joined", "error", "room_left", "disconnect"];
        assert_eq!(in_order(&seen[road], &call), call, "{road}: {}", seen[road]);
    }
}

#[tokio::test]
async fn clients_of_both_generations_are_understood_at_any_pace() {
    let gateway = Gateway::start().await;
    let mut clients = Peer::node("socketio_flows.cjs", &[gateway.url(), KEY]);
    let done = clients.until("what was done", |told| told["done"].is_array()).await;
    clients.finish().await;
    assert_eq!(done["done"], json!(["official", "raw", "plain", "floods"]));
}

#[tokio::test]
async fn an_aiortc_caller_asks_and_is_answered() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("hello").await;
    let mut ann = caller(&gateway, "hello", "Ann", "repeat-after-me").await;
    assert_eq!(agent.event("participant_joined").await["name"], "Ann");
    ann.order("say").await;
    let heard = agent.event_where("transcript", |event| event["isFinal"] == true).await;
    assert!(missed(REPEAT, heard["text"].as_str().unwrap()).len() <= 2, "{heard}");
    let answer = agent.spoken().await;
    assert!(missed(FOX, &answer).len() <= 2, "{answer}");
    ann.hang_up().await;
    agent.event("participant_left").await;

    let words = words_in(&recording_of(&gateway, "Ann")).await;
    assert!(missed(&answer, &words).len() <= 2, "{words}");
}

#[tokio::test]
async fn telephones_ask_and_are_answered() {
    let gateway = Gateway::start().await;
    for codec in ["PCMU", "PCMA"] {
        let mut agent = Agent::create(&gateway).await;
        agent.join(codec).await;
        let mut ann = telephone(&gateway, codec, "repeat-after-me", codec).await;
        agent.event("participant_joined").await;
        ann.order("say").await;
        let heard = agent.event_where("transcript", |event| event["isFinal"] == true).await;
        assert!(missed(REPEAT, heard["text"].as_str().unwrap()).len() <= 3, "{codec}: {heard}");
        let answer = agent.spoken().await;
        ann.hang_up().await;
        agent.event("participant_left").await;

        let words = words_in(&recording_of(&gateway, codec)).await;
        assert!(missed(&answer, &words).len() <= 3, "{codec}: {words} for {answer}");
    }
}

#[tokio::test]
async fn two_callers_and_an_agent_hear_each_other() {
    let gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("three").await;
    let (mut ann, mut ben) = tokio::join!(
        caller(&gateway, "three", "Ann", "repeat-after-me"),
        caller(&gateway, "three", "Ben", "my-name-is"),
    );
    let mut names = HashMap::new();
    for _ in ["Ann", "Ben"] {
        let joined = agent.event("participant_joined").await;
        names.insert(joined["participantId"].clone(), joined["name"].clone());
    }
    let mut answers = Vec::new();
    for (speaker, name) in [(&mut ann, "Ann"), (&mut ben, "Ben")] {
        speaker.order("say").await;
        let onset = agent.event("vad_start").await;
        assert_eq!(names[&onset["participantId"]], name);
        let heard = agent.event_where("transcript", |event| event["isFinal"] == true).await;
        assert_eq!(names[&heard["participantId"]], name);
        answers.push(agent.spoken().await);
    }
    tokio::join!(ann.hang_up(), ben.hang_up());

    let answers = answers.join(" ");
    let (of_ann, of_ben) = (recording_of(&gateway, "Ann"), recording_of(&gateway, "Ben"));
    let (to_ann, to_ben) = tokio::join!(words_in(&of_ann), words_in(&of_ben));
    let from_ben = format!("My name is Alice. {answers}");
    assert!(missed(&from_ben, &to_ann).len() <= 3, "Ann has heard: {to_ann}");
    let from_ann = format!("{REPEAT} {answers}");
    assert!(missed(&from_ann, &to_ben).len() <= 4, "Ben has heard: {to_ben}");
    // Ann does not hear herself: the dog is in the answers, and nowhere else.
    let once_more = missed(&format!("dog {answers}"), &to_ann);
    assert!(once_more.contains(&"dog".to_owned()), "Ann has heard: {to_ann}");
}

#[tokio::test]
async fn whoever_is_killed_leaves_nothing_behind() {
    let mut gateway = Gateway::start().await;
    let mut agent = Agent::create(&gateway).await;
    agent.join("hall").await;
    let ann = caller(&gateway, "hall", "Ann", "goodbye").await;
    assert_eq!(agent.event("participant_joined").await["name"], "Ann");

    ann.kill().await;
    let left = timeout(SILENT_CALLER_MAX, agent.event("participant_left")).await;
    assert_eq!(left.expect("a silent caller is noticed")["name"], "Ann");

    let mut room = gateway.watch("hall").await;
    room.until(&["Ada"]).await;
    let id = agent.kill_client().await;
    room.until(&[]).await;
    let left = gateway.agent_in_state(&id, "created").await;
    assert_eq!((&left["call"], &left["clients"]), (&Value::Null, &json!(0)));

    let mut agent = Agent::connect(&gateway, id.clone()).await;
    agent.join("hall").await;
    let other = gateway.create_agent().await;
    gateway.kill_and_restart().await;
    for id in [&id, &other] {
        let found = gateway.agent(id).await;
        assert_eq!((&found["state"], &found["call"]), (&json!("created"), &Value::Null), "{found}");
    }
    assert!(gateway.watch("hall").await.names().await.is_empty());
    let mut agent = Agent::connect(&gateway, id).await;
    agent.join("hall").await;
    let ben = caller(&gateway, "hall", "Ben", "goodbye").await;
    assert_eq!(agent.event("participant_joined").await["name"], "Ben");
    ben.hang_up().await;
    assert_eq!(agent.event("participant_left").await["name"], "Ben");
}

/// What one of the recordings says, and what the local model answers it with.
const REPEAT: &str = "Repeat after me. The quick brown fox jumps over the lazy dog.";
const FOX: &str = "The quick brown fox jumps over the lazy dog.";

/// How soon a caller who says nothing at all, not even goodbye, is out: five seconds, and three
/// for a busy machine.
const SILENT_CALLER_MAX: Duration = Duration::from_secs(8);

/// Those of `kinds` that were seen, each once, in the order in which they first came.
fn in_order<'a>(seen: &Value, kinds: &[&'a str]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for one in seen.as_array().unwrap() {
        let kind = kinds.iter().find(|kind| one == **kind);
        found.extend(kind.filter(|kind| !found.contains(kind)));
    }
    found
}
