//! A hundred calls with a model of bad manners: none hangs, none is left behind, and what the
//! archive tells of each of them is true.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

#[path = "../harness/mod.rs"]
mod harness;
mod villain;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use callbridge::models::{Deadlines, ModelProfile};
use callbridge::rooms::whip;
use futures_util::future::join_all;
use harness::raw::Raw;
use harness::{House, KEY};
use serde_json::{Value, json};
use villain::Villain;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_with_a_faulty_model_leave_nothing_behind_but_true_records() {
    let villain = Villain::open(1).await;
    let deadlines = Deadlines {
        connect: Duration::from_secs(2),
        configure: Duration::from_millis(700),
        ping_every: Duration::from_millis(300),
        ping_limit: Duration::from_millis(700),
        ..Deadlines::default()
    };
    let profile = ModelProfile { deadlines, ..ModelProfile::local(villain.url.as_str()) };
    let mut house = House::with_profile(profile).await;
    let address = house.serve().await;
    let house = Arc::new(house);
    let mut endings = BTreeMap::new();
    for wave in 0..WAVES {
        let calls = (0..CALLS_AT_ONCE).map(|call| one_call(&house, address, (wave, call)));
        for (agent, reason) in join_all(calls).await {
            check_archive(&house, &agent, &reason).await;
            *endings.entry(reason).or_insert(0) += 1;
        }
    }
    assert_eq!(house.gateway.live_agents(), 0, "no agent is left");
    assert_eq!(endings.values().sum::<usize>(), WAVES * CALLS_AT_ONCE, "{endings:?}");
    assert!(endings.len() > 1, "some were lost and some were not: {endings:?}");
}

/// A call of a few seconds; then the agent leaves it, unless it was made to, and ends. Returns the
/// agent and why the call ended.
async fn one_call(house: &House, address: SocketAddr, at: (usize, usize)) -> (String, String) {
    let (wave, number) = at;
    let room = format!("w{wave}c{number}");
    let body = json!({
        "name": "Ada", "agentType": "HUMA-0.1", "metadata": {"voice": {"enabled": true}},
    });
    let agent = house.agent(body).await;
    let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
    let url = format!("http://{address}/rooms/{room}/whip");
    let mut caller = whip::dial(&url, None).await.expect("a call");
    client.say(json!({"type": "join-room", "roomUrl": format!("rooms/{room}")})).await;
    let told = listen(&mut client, &mut caller, Duration::from_secs(4)).await;
    let left = told.iter().find(|event| event["type"] == "room_left").cloned();
    let left = if let Some(left) = left {
        let fatal = told.iter().any(|event| event["type"] == "transcriber_fatal_error");
        assert!(fatal, "it has left because its model is lost: {left}");
        left
    } else {
        client.say(json!({"type": "leave-room"})).await;
        next(&mut client, "room_left").await
    };
    caller.hang_up().await;
    let seen = house.ask(Method::GET, &format!("/api/agents/{agent}"), None).await.json();
    assert_eq!((&seen["call"], &seen["state"]), (&Value::Null, &json!("connected")), "it lives");
    let gone = house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    client.ends().await;
    (agent, left["reason"].as_str().expect("a reason").to_owned())
}

/// What the client is told for a while, or until the call is left.
async fn listen(client: &mut Raw, caller: &mut whip::Call, time: Duration) -> Vec<Value> {
    let mut told = Vec::new();
    let listening = async {
        loop {
            let (_, event) = client.next().await;
            let is_over = event["type"] == "room_left";
            told.push(event);
            if is_over {
                return;
            }
        }
    };
    let hearing = async { while caller.packets.recv().await.is_some() {} };
    let both = async {
        tokio::select! {
            () = listening => {}
            () = async { hearing.await; std::future::pending().await } => {}
        }
    };
    let _ = tokio::time::timeout(time, both).await;
    told
}

/// The next event of this kind, whatever errors come before it.
async fn next(client: &mut Raw, kind: &str) -> Value {
    let waiting = async {
        loop {
            let (_, event) = client.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("nothing hangs")
}

/// The record of the agent's call is closed, and says nothing that was not said.
async fn check_archive(house: &House, agent: &str, reason: &str) {
    let path = format!("/api/calls?agentId={agent}");
    let list = house.ask(Method::GET, &path, None).await.json();
    let id = list["calls"][0]["id"].as_str().expect("one call").to_owned();
    assert_eq!(list["calls"].as_array().map(Vec::len), Some(1));
    let call = house.ask(Method::GET, &format!("/api/calls/{id}"), None).await.json();
    assert_eq!(call["reason"], reason, "{call}");
    assert!(call["endedAt"].is_string(), "{call}");
    for line in call["transcript"].as_array().expect("lines") {
        let text = line["text"].as_str().expect("text");
        match line["speaker"].as_str() {
            Some("agent") => assert!(is_part_of_an_answer(text), "never said: {text}"),
            _ => assert!(is_a_question(text), "never asked: {text}"),
        }
    }
}

/// The villain asks and answers by numbers only.
fn is_a_question(text: &str) -> bool {
    let numbers = numbers_in(text);
    matches!(numbers[..], [turn, session] if text == villain::question_text(session, turn))
}

fn is_part_of_an_answer(text: &str) -> bool {
    let mut numbers = numbers_in(text).into_iter();
    let (turn, session) = (numbers.next(), numbers.next());
    villain::answer_text(session.unwrap_or(0), turn.unwrap_or(0)).starts_with(text)
}

fn numbers_in(text: &str) -> Vec<usize> {
    text.split(' ').filter_map(|word| word.parse().ok()).collect()
}

const WAVES: usize = 5;
const CALLS_AT_ONCE: usize = 20;

/// How long the leaving of a call may take, with all that comes before it.
const PATIENCE: Duration = Duration::from_secs(20);
