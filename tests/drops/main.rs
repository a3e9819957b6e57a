//! A call whose model is lost again and again: every question is heard and answered all the same.
//!
//! `CALLBRIDGE_QUESTIONS` says how many are asked, about six seconds each.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

#[path = "../local_model/client.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test program uses its part of it, and fails with it"
)]
mod client;
#[path = "../harness/mod.rs"]
mod harness;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use callbridge::media::OpusPacket;
use callbridge::models::ModelProfile;
use callbridge::rooms::whip::{self, Call};
use callbridge::sys::tasks;
use client::Server;
use harness::raw::Raw;
use harness::talk::Talk;
use harness::{House, KEY};
use relay::Relay;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// When the connection to the model is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    /// While the caller speaks.
    InQuestion,
    /// While the agent speaks.
    InAnswer,
    /// After the answer, when all is quiet.
    AtRest,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_loses_no_turn_though_its_model_is_lost_three_times() {
    let server = Server::start().await;
    let relay = Arc::new(Relay::to(([127, 0, 0, 1], server.port).into()).await);
    let url = format!("ws://{}/v1/realtime?model=local", relay.address);
    let mut house = House::with_profile(ModelProfile::local(url)).await;
    let address = house.serve().await;
    let body = json!({
        "name": "Ada", "agentType": "HUMA-0.1", "metadata": {"voice": {"enabled": true}},
    });
    let agent = house.agent(body).await;
    let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
    client.say(json!({"type": "join-room", "roomUrl": "rooms/drops"})).await;
    client.event("room_joined").await;
    let call = whip::dial(&format!("http://{address}/rooms/drops/whip"), None).await;
    let (mouth, _speaking) = open_mouth(call.expect("a call"));

    let questions = questions();
    for number in 0..questions {
        let (fixture, words) = QUESTIONS[number % QUESTIONS.len()];
        let cut = when_to_cut(number, questions);
        ask(&mouth, &relay, fixture, cut).await;
        let heard = told(&mut client, "transcript", has_words).await;
        let text = heard["text"].as_str().expect("text").to_lowercase();
        assert!(text.contains(words), "question {number}, cut {cut:?}: {text}");
        let status = |status: &'static str| move |event: &Value| event["status"] == status;
        told(&mut client, "speak-status", status("started")).await;
        if cut == Cut::InAnswer {
            relay.cut().await;
        }
        told(&mut client, "speak-status", status("finished")).await;
        if cut == Cut::AtRest {
            relay.cut().await;
        }
    }
    client.say(json!({"type": "leave-room"})).await;
    let left = told(&mut client, "room_left", |_| true).await;
    assert_eq!(left["reason"], "requested");
}

fn questions() -> usize {
    let wanted = std::env::var_os("CALLBRIDGE_QUESTIONS");
    let wanted = wanted.map(|count| count.to_string_lossy().parse().expect("a number"));
    wanted.unwrap_or(4)
}

/// Whether these are the final words of a turn. What a lost session has heard and another will
/// hear again is settled by no words at all.
fn has_words(event: &Value) -> bool {
    event["isFinal"] == true && event["text"] != ""
}

/// Three cuts, spread over the call, one of each kind.
fn when_to_cut(number: usize, questions: usize) -> Cut {
    match number {
        n if n == questions / 4 => Cut::InQuestion,
        n if n == questions / 2 => Cut::InAnswer,
        n if n == questions * 3 / 4 => Cut::AtRest,
        _ => Cut::Never,
    }
}

/// The caller's side: says what it is given, a packet every 20 ms.
fn open_mouth(mut call: Call) -> (mpsc::Sender<OpusPacket>, tasks::Task) {
    let (mouth, mut said) = mpsc::channel::<OpusPacket>(1);
    let speaking = tasks::spawn("caller", async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = 0;
        loop {
            tokio::select! {
                heard = call.packets.recv() => assert!(heard.is_some(), "the call is up"),
                Some(packet) = said.recv() => {
                    clock.tick().await;
                    let (sequence, timestamp) = (sent, u32::from(sent) * 960);
                    call.send(&OpusPacket { sequence, timestamp, ..packet });
                    sent += 1;
                }
            }
        }
    });
    (mouth, speaking)
}

async fn ask(mouth: &mpsc::Sender<OpusPacket>, relay: &Relay, fixture: &str, cut: Cut) {
    let talk = Talk::of(fixture);
    let middle = talk.onset + (talk.packets.len() - talk.onset) / 3;
    for (number, packet) in talk.packets.into_iter().enumerate() {
        if cut == Cut::InQuestion && number == middle {
            relay.cut().await;
        }
        mouth.send(packet).await.expect("the caller is there");
    }
}

/// The next event of this kind that fits; that the model was lost may be told before it.
async fn told(client: &mut Raw, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (channel, event) = client.next().await;
        if event["type"] == "error" {
            assert_eq!(event["code"], "MODEL_RECONNECTING", "{event}");
        }
        assert_ne!(event["type"], "transcriber_fatal_error", "{event}");
        if channel == "event" && event["type"] == kind && fits(&event) {
            return event;
        }
    }
}

/// What is asked, and words that are heard in it.
const QUESTIONS: [(&str, &str); 2] = [
    ("what-time-is-it-16000hz-16bit-mono.wav", "time"),
    ("repeat-after-me-16000hz-16bit-mono.wav", "fox"),
];
