//! A call that passes from one agent to another under the caller's ear, and what is kept of it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::gateway::{Gateway, KEY};
use super::peer::{Peer, caller, fixture, recording_of};
use super::raw::Raw;
use super::sound::{cut, missed, pitch, words_in};

#[tokio::test]
async fn a_caller_is_passed_on_and_never_hangs_up() {
    let gateway = Gateway::start_patient().await;
    let first = gateway.create(agent("Ada", "rms", "Hello, I am Ada.", json!("u1"))).await;
    let mut ada = Raw::connect(gateway.url(), KEY, &first).await;
    ada.say(json!({"type": "join-room", "roomUrl": "rooms/desk"})).await;
    let joined = ada.event("room_joined").await;
    let mut ann = caller(&gateway, "desk", "Ann", "my-name-is").await;
    talk(&mut ada, &mut ann).await;
    ada.say(json!({"type": "say", "text": COUNTING})).await;
    ada.event_where("speak-status", |event| event["status"] == "started").await;
    ann.order("hear 1000").await;
    ann.until("a second of the sentence", |told| told["heard"] == true).await;

    let heir = agent("Ben", "slt", GREETING, Value::Null);
    let wish = json!({"to": heir, "reason": "billing", "context": "Ann wants her bill."});
    let path = format!("/api/agents/{first}/handoff");
    let (status, handed) = gateway.ask(Method::POST, &path, Some(wish)).await;
    assert_eq!((status, &handed["from"]), (StatusCode::ACCEPTED, &json!(first)), "{handed}");
    ann.order("mark").await;
    let mark = ann.until("where we are", |told| told["at"].is_u64()).await;
    let mark = mark["at"].as_u64().unwrap();
    let second = handed["to"].as_str().unwrap();
    let mut ben = Raw::connect(gateway.url(), KEY, second).await;
    told_of_the_handoff(&mut ada, second).await;
    taken_over(&gateway, &first, second, &joined).await;
    assert!(missed(GREETING, &ben.spoken().await).is_empty());

    ann.order(&format!("say {}", fixture("what-is-my-name").display())).await;
    let answer = ben.spoken().await;
    assert_eq!(answer, "Your name is Alice.");
    ben.say(json!({"type": "leave-room"})).await;
    let left = ben.event("room_left").await;
    assert_eq!((&left["callId"], left["reason"].as_str()), (&joined["callId"], Some("requested")));
    never_interrupted(ann).await;
    voices_change(&gateway, mark).await;
    kept(&gateway, &[&first, second], joined["callId"].as_str().unwrap()).await;
}

/// A question that needs a tool, and a name that is worth remembering.
async fn talk(ada: &mut Raw, ann: &mut Peer) {
    ada.event("participant_joined").await;
    assert_eq!(ada.spoken().await, "Hello, I am Ada.");
    ann.order(&format!("say {}", fixture("tell-me-the-weather-in-paris").display())).await;
    let call = ada.event("tool-call").await;
    assert_eq!(call["arguments"], json!({"place": "Paris"}));
    let result = json!({"sky": "clear"});
    ada.say(json!({"type": "tool-result", "toolCallId": call["toolCallId"], "result": result}))
        .await;
    assert_eq!(ada.spoken().await, "The sky is clear.");
    ann.order("say").await;
    assert_eq!(ada.spoken().await, "Nice to meet you, Alice.");
}

/// The clients of the first: silent, out, told, ended, closed; in this order.
async fn told_of_the_handoff(ada: &mut Raw, heir: &str) {
    let begun = ada.event("state").await;
    assert_eq!((&begun["from"], &begun["to"]), (&json!("active"), &json!("handing_off")));
    ada.seen.clear();
    let cut = ada.event("speak-status").await;
    assert_eq!(cut["status"], "interrupted");
    let heard = (cut["heardMs"].as_u64().unwrap(), cut["text"].as_str().unwrap());
    assert!(heard.0 >= 900 && !heard.1.is_empty() && COUNTING.starts_with(heard.1), "{cut}");
    let told = ada.event("handoff").await;
    assert_eq!((&told["toAgentId"], &told["reason"]), (&json!(heir), &json!("billing")));
    assert_eq!(ada.event("state").await["to"], "ended");
    ada.ends().await;
    let order = ["speak-status", "voice-status", "room_left", "handoff", "state"];
    assert_eq!(ada.seen, order);
}

/// The heir has the call and the user; the first is nowhere.
async fn taken_over(gateway: &Gateway, first: &str, second: &str, joined: &Value) {
    let held = gateway.agent(second).await;
    assert_eq!((&held["state"], &held["userId"]), (&json!("active"), &json!("u1")));
    let call = &held["call"];
    assert_eq!((&call["id"], &call["stage"]), (&joined["callId"], &json!("in_call")));
    assert_eq!(call["participants"][0]["name"], "Ann");
    let (status, _) = gateway.ask(Method::GET, &format!("/api/agents/{first}"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let third = agent("Cleo", "awb", "Hello.", json!("u1"));
    let (status, refused) = gateway.ask(Method::POST, "/api/agents", Some(third)).await;
    let told = (status, &refused["code"], &refused["agentId"]);
    assert_eq!(told, (StatusCode::CONFLICT, &json!("DUPLICATE_SESSION"), &json!(second)));
}

/// One connection and one stream of sound, whoever speaks in it.
async fn never_interrupted(mut ann: Peer) {
    ann.order("hang up").await;
    let told = ann.until("its last words", |told| told["rtp"].is_object()).await;
    ann.finish().await;
    assert_eq!(told["states"], json!(["connecting", "connected"]));
    let rtp = &told["rtp"];
    assert_eq!(rtp["sources"], 1, "{rtp}");
    // A machine that stalls may lose a few; a stream that begins anew would jump by thousands.
    assert!(rtp["missing"].as_u64().unwrap() <= 25, "{rtp}");
}

/// A man's voice until the handoff, a woman's after it, and nothing of him any more.
async fn voices_change(gateway: &Gateway, mark: u64) {
    let (before, after) = (gateway.folder().join("before.wav"), gateway.folder().join("after.wav"));
    cut(&recording_of(gateway, "Ann"), mark, &before, &after);
    let (man, woman) = (pitch(&before), pitch(&after));
    assert!(man < 140.0 && woman > 150.0, "{man} Hz, then {woman} Hz");
    let words = words_in(&after).await;
    assert!(missed(GREETING, &words).len() <= 2, "{words}");
    assert!(missed("five six seven eight nine", &words).len() == 5, "{words}");
}

/// The archive has one call, found under both agents; then it has none.
async fn kept(gateway: &Gateway, agents: &[&str], id: &str) {
    for agent in agents {
        let path = format!("/api/calls?agentId={agent}");
        let (_, list) = gateway.ask(Method::GET, &path, None).await;
        let calls = list["calls"].as_array().unwrap();
        assert_eq!((calls.len(), &calls[0]["id"]), (1, &json!(id)), "{list}");
    }
    let path = format!("/api/calls/{id}");
    let (_, call) = gateway.ask(Method::GET, &path, None).await;
    assert_eq!((&call["reason"], &call["agentName"]), (&json!("requested"), &json!("Ben")));
    assert_eq!((&call["userId"], &call["incomplete"]), (&json!("u1"), &Value::Null));
    let handoff = &call["handoffs"][0];
    let passed = (&handoff["fromAgentId"], &handoff["toAgentId"], &handoff["reason"]);
    assert_eq!(passed, (&json!(agents[0]), &json!(agents[1]), &json!("billing")));
    check_transcript(&call);
    check_turns(&call);
    let tool = &call["toolCalls"][0];
    assert_eq!((&tool["toolName"], &tool["outcome"]), (&json!("weather"), &json!("completed")));
    assert_eq!(tool["output"], r#"{"sky":"clear"}"#);

    let (status, _) = gateway.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = gateway.ask(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = gateway.ask(Method::GET, "/api/calls", None).await;
    assert_eq!(list["calls"], json!([]));
}

/// What both agents have said, as far as it was heard, and what Ann has.
fn check_transcript(call: &Value) {
    let lines = call["transcript"].as_array().unwrap();
    let said_by = |speaker: &str| {
        let lines = lines.iter().filter(|line| line["speaker"] == speaker);
        lines.map(|line| line["text"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    let agents = format!("Nice to meet you, Alice. {GREETING} Your name is Alice.");
    assert!(missed(&agents, &said_by("agent")).is_empty(), "{call}");
    assert!(!said_by("agent").contains("twelve"), "{call}");
    assert!(missed("My name is Alice. What is my name?", &said_by("participant")).len() <= 2);
    let times: Vec<_> = lines.iter().map(|line| line["atMs"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// Three answers to three questions, each after its question and soon.
fn check_turns(call: &Value) {
    let turns = call["turns"].as_array().unwrap();
    let asked = turns.iter().filter(|turn| turn["speechStartMs"].is_u64());
    let asked: Vec<_> = asked.filter(|turn| turn["firstAudioMs"].is_u64()).collect();
    assert_eq!(asked.len(), 3, "{call}");
    for turn in asked {
        let at = |name: &str| turn[name].as_u64().unwrap_or_else(|| panic!("{name} in {turn}"));
        assert!(at("speechStartMs") < at("speechEndMs"), "{turn}");
        assert!(
            at("speechEndMs") < at("answerMs") && at("answerMs") <= at("firstAudioMs"),
            "{turn}"
        );
        assert!(at("firstAudioMs") < at("lastAudioMs"), "{turn}");
        assert_eq!(at("latencyMs"), at("firstAudioMs") - at("speechEndMs"), "{turn}");
        assert!((100..8_000).contains(&at("latencyMs")), "{turn}");
        check_latency(turn);
    }
}

/// What the caller has waited for adds up, and our own share is known.
fn check_latency(turn: &Value) {
    let latency = &turn["latency"];
    let ms = |name: &str| latency[name].as_u64().unwrap_or_else(|| panic!("{name} in {turn}"));
    assert_eq!(ms("totalMs"), turn["latencyMs"].as_u64().unwrap(), "{turn}");
    assert!(ms("endOfTurnMs") + ms("modelMs") <= ms("totalMs"), "{turn}");
    assert_eq!(latency["endOfTurnBy"], "model", "{turn}");
    let share = &latency["gatewayUs"];
    assert!(share["uplink"].is_u64() && share["downlink"].is_u64(), "{turn}");
}

fn agent(name: &str, voice: &str, greeting: &str, user_id: Value) -> Value {
    let place =
        json!({"name": "place", "type": "string", "description": "A town", "required": true});
    let weather = json!({"name": "weather", "description": "The weather", "parameters": [place]});
    let mut agent = json!({
        "name": name, "agentType": "HUMA-0.1",
        "metadata": {
            "className": "Clerk", "tools": [weather], "voice": {"enabled": true},
            "model": {"voice": voice, "greeting": greeting},
        },
    });
    if !user_id.is_null() {
        agent["userId"] = user_id;
    }
    agent
}

const COUNTING: &str =
    "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen.";
const GREETING: &str = "Hello, this is Ben. I know all about the bill, and I will help you.";
