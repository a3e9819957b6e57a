//! The console in a real browser: what it shows of a call, live and past, and an agent to talk to.

use std::ffi::{OsStr, OsString};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::gateway::{Gateway, KEY};
use super::page::{TURN, question};
use super::peer::{Agent, Peer, caller, chromium, fixture};
use super::sound::{missed, words_in};

#[tokio::test]
async fn the_console_follows_a_call_and_shows_the_finished_one() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start_with(&[RECORDINGS]).await;
    let (browser, folder) = (chromium(), screenshots(&gateway));
    let args = [browser.as_os_str(), gateway.url().as_ref(), KEY.as_ref(), folder.as_os_str()];
    let mut page = Peer::node("console.cjs", &args);
    let door = page.next().await;
    assert_eq!(door["refused"], "This key is not known here. Check it, and try again.");
    assert_eq!(door["access"], json!([]));

    let mut agent = Agent::connect(&gateway, gateway.create(ada()).await).await;
    agent.join("lobby").await;
    let mut ann = caller(&gateway, "lobby", "Ann", "tell-me-the-weather-in-paris").await;
    ann.order("say").await;
    let call = agent.event("tool-call").await;
    agent
        .send(json!({
            "type": "tool-result", "toolCallId": call["toolCallId"], "success": true,
            "result": {"sky": "clear"},
        }))
        .await;
    let weather = agent.spoken().await;
    agent.send(json!({"type": "say", "text": STORY})).await;
    agent.event_where("speak-status", |event| event["status"] == "started").await;
    ann.order(&format!("say {}", fixture("what-time-is-it").display())).await;
    let cut = agent.event_where("speak-status", |event| event["status"] == "interrupted").await;
    let time = agent.spoken().await;

    page.order("\"live\"").await;
    let live = page.next().await;
    assert!(live["row"].as_str().unwrap().contains("in lobby"), "{live}");
    ann.hang_up().await;
    agent.leave().await;
    page.order("\"ended\"").await;
    let past = page.next().await;
    for shown in [&live, &past] {
        assert_eq!(shown["lanes"], json!(["Ann", "Ada", "Thinking", "Tools"]));
        assert_eq!((&shown["tools"], &shown["cut"]), (&json!(1), &json!(1)), "{shown}");
        for kind in ["speech", "thinking", "turns"] {
            assert!(shown[kind].as_u64() >= Some(2), "{kind}: {shown}");
        }
        assert!(shown["heard"].as_u64() >= Some(3), "{shown}");
        assert_eq!(shown["access"], json!([]));
        let (ann, ada) = (said_by(shown, "Ann"), said_by(shown, "Ada"));
        assert!(missed("Tell me the weather in Paris.", &ann[0]).len() <= 1, "{ann:?}");
        assert!(missed("What time is it?", &ann[1]).len() <= 1, "{ann:?}");
        assert_eq!(ada, [&weather, cut["text"].as_str().unwrap(), &time]);
    }
    assert_eq!(live["lines"], past["lines"], "the archive has the same transcript");
    let told: Vec<&str> =
        past["told"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert!(told.iter().any(|label| label.contains("Ann")), "{told:?}");
    assert!(past["tip"].as_str().unwrap().contains("0:"), "{}", past["tip"]);
    assert!(past["zoomed"].as_f64() > Some(1.2), "{}", past["zoomed"]);
    assert!(!past["stages"].as_array().unwrap().is_empty());
    assert_eq!(past["overflow"], 0, "the page fits 400 pixels");

    page.order("\"erase\"").await;
    let erased = page.next().await;
    page.finish().await;
    assert_eq!((&erased["kept"], &erased["stored"]), (&json!(1), &json!(0)));
    assert_eq!((&erased["faults"], &erased["leaked"]), (&json!([]), &json!([])));
    let (status, calls) = gateway.ask(Method::GET, "/api/calls", None).await;
    assert_eq!((status, &calls["calls"]), (StatusCode::OK, &json!([])));
}

#[tokio::test]
async fn an_agent_is_made_and_talked_to_in_the_console() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start().await;
    let (browser, folder) = (chromium(), screenshots(&gateway));
    let (microphone, heard) = (question(&gateway), gateway.folder().join("heard.wav"));
    let args = [
        browser.as_os_str(),
        gateway.url().as_ref(),
        KEY.as_ref(),
        microphone.as_os_str(),
        folder.as_os_str(),
        heard.as_os_str(),
    ];
    let mut page = Peer::node("console_talk.cjs", &args);
    let shown = page.next().await;
    page.finish().await;

    let asked = shown["captions"]["asked"].as_str().unwrap();
    assert!(missed("What time is it?", asked).len() <= 1, "{asked}");
    let words = words_in(&heard).await;
    assert!(missed("It is", &words).is_empty(), "the page has heard {words:?}");
    assert_eq!((&shown["isMuted"], &shown["isListening"]), (&json!("true"), &json!(false)));
    assert_eq!((&shown["overflow"], &shown["access"]), (&json!(0), &json!([])));
    assert_eq!((&shown["faults"], &shown["leaked"]), (&json!([]), &json!([])));
    let (_, agents) = gateway.ask(Method::GET, "/api/agents", None).await;
    assert_eq!(agents["agents"], json!([]), "an agent that was made to be tried has ended");
    let (_, rooms) = gateway.ask(Method::GET, "/api/rooms", None).await;
    assert_eq!(rooms["rooms"], json!([]), "and so has its room");
}

#[tokio::test]
async fn a_recording_plays_beside_the_timeline_of_its_call() {
    let _turn = TURN.lock().await;
    let gateway = Gateway::start_with(&[RECORDINGS]).await;
    let mut agent = Agent::connect(&gateway, gateway.create(ada()).await).await;
    agent.join("lobby").await;
    let mut ann = caller(&gateway, "lobby", "Ann", "what-time-is-it").await;
    ann.order("say").await;
    agent.spoken().await;
    ann.hang_up().await;
    let call = agent.leave().await;
    let path = format!("/api/calls/{}", call["callId"].as_str().unwrap());
    let (_, call) = gateway.ask(Method::GET, &path, None).await;

    let (browser, folder) = (chromium(), screenshots(&gateway));
    let args = [browser.as_os_str(), gateway.url().as_ref(), KEY.as_ref(), folder.as_os_str()];
    let mut page = Peer::node("console_recording.cjs", &args);
    let shown = page.next().await;
    page.finish().await;
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} in {shown}"));
    let near = |one: &Value, other: f64| (number(one) - other).abs() < 0.5;
    let turn = &call["turns"][0];
    // What Chromium decodes lies where the record of the call says that it was heard.
    let [ann, ada] = [0, 1].map(|side| &shown["loud"][side]);
    assert!(near(&ann[0], number(&turn["speechStartMs"]) / 1000.0), "{turn} {shown}");
    assert!(near(&ada[0], number(&turn["firstAudioMs"]) / 1000.0), "{turn} {shown}");
    assert!(number(&ann[1]) < number(&ada[0]), "nobody is on the other's side: {shown}");
    for side in [0, 1] {
        assert!(number(&shown["played"]["loudest"][side]) > 0.05, "both are heard: {shown}");
    }
    let half = number(&shown["length"]) / 2.0;
    assert!(near(&shown["seeked"]["sound"], half), "a click leads there: {shown}");
    assert!(near(&shown["stepped"]["sound"], number(&ann[0])), "so does a key: {shown}");
    let seen = shown["played"]["seen"].as_array().unwrap();
    for place in seen.iter().chain(["seeked", "stepped", "paused"].map(|place| &shown[place])) {
        assert!(near(&place["head"], number(&place["sound"])), "{place}");
    }
    let heads: Vec<f64> = seen.iter().map(|place| number(&place["head"])).collect();
    assert!(heads.is_sorted() && heads[heads.len() - 1] > heads[0] + 0.5, "{heads:?}");
    assert_eq!((&shown["overflow"], &shown["access"]), (&json!(0), &json!([])));
    assert_eq!((&shown["faults"], &shown["leaked"]), (&json!([]), &json!([])));
}

/// An agent with a tool, whose calls are recorded.
fn ada() -> Value {
    json!({
        "name": "Ada",
        "agentType": "HUMA-0.1",
        "metadata": {
            "className": "Assistant",
            "instructions": "Answer what the caller asks.",
            "tools": [{
                "name": "weather", "description": "The weather in a place",
                "parameters": [{ "name": "place", "type": "string", "description": "A town",
                    "required": true }],
            }],
            "voice": {
                "enabled": true, "recording": { "enabled": true, "consent": "announced" },
            },
        },
    })
}

/// What somebody has said, line by line.
fn said_by(shown: &Value, who: &str) -> Vec<String> {
    let lines = shown["lines"].as_array().unwrap().iter().filter(|line| line["who"] == who);
    lines.map(|line| line["said"].as_str().unwrap().to_owned()).collect()
}

/// Where pictures of the page go: kept, if that is asked for.
fn screenshots(gateway: &Gateway) -> OsString {
    let kept = std::env::var_os("INTEROP_SCREENSHOTS");
    kept.unwrap_or_else(|| OsStr::new(gateway.folder()).to_owned())
}

const RECORDINGS: (&str, &str) = ("CALLBRIDGE_RECORDINGS_DIRECTORY", "recordings");
const STORY: &str = "Once upon a time there was a small house at the edge of a large forest, and \
    in it lived an old woman who had never in her life been to the town behind the hills.";
