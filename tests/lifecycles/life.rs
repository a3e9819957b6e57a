//! One agent's life, in each of the ways that there are.

use std::sync::atomic::Ordering;

use callbridge::sys::clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Village;
use crate::client::Client;
use crate::house::House;

/// How a life goes on after the agent has answered once, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It is deleted, with its client there.
    Deleted,
    /// It calls a tool first.
    Acting,
    /// It joins a room and leaves it.
    Calling,
    /// It is deleted in its call.
    CutOff,
    /// Its time to live ends it.
    Expiring,
    /// Its client goes first.
    Deserted,
    /// Another goes on in its place.
    HandedOff,
}

impl Kind {
    /// All kinds in turn, the quicker ones more often.
    pub(crate) const fn of(number: usize) -> Self {
        match number % 10 {
            0 | 1 => Self::Deleted,
            2 | 3 => Self::Acting,
            4 => Self::Calling,
            5 => Self::CutOff,
            6 => Self::Expiring,
            7 | 8 => Self::Deserted,
            _ => Self::HandedOff,
        }
    }
}

/// Lives the life with this number.
pub(crate) async fn live(village: &Village, kind: Kind, number: usize) {
    match kind {
        Kind::Deleted => {
            let (user, agent, mut client) = born(village, number).await;
            answer(&mut client).await;
            end(village, &user, &agent, client).await;
        }
        Kind::Acting => {
            let (user, agent, mut client) = born(village, number).await;
            act(village, &mut client).await;
            end(village, &user, &agent, client).await;
        }
        Kind::Calling | Kind::CutOff => call(village, kind, number).await,
        Kind::Expiring => expire(village, number).await,
        Kind::Deserted => {
            let (user, agent, mut client) = born(village, number).await;
            answer(&mut client).await;
            client.leave().await;
            village.end(&user);
            timed_delete(village, &agent).await;
        }
        Kind::HandedOff => hand_off(village, number).await,
    }
}

/// Makes an agent that serves nobody in particular.
pub(crate) async fn make(house: &House) -> String {
    let (status, made) = house.ask(Method::POST, "/api/agents", Some(spec())).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn delete(house: &House, agent: &str) {
    let path = format!("/api/agents/{agent}");
    let (status, error) = house.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{error}");
    let (status, _) = house.ask(Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

/// An agent with a client, for a user who has no other.
async fn born(village: &Village, number: usize) -> (String, String, Client) {
    let user = format!("user-{}", number % USERS);
    let mut spec = spec();
    spec["userId"] = json!(user);
    let begun = clock::now();
    let (status, made) = village.house.ask(Method::POST, "/api/agents", Some(spec.clone())).await;
    let (user, made) = if status == StatusCode::CONFLICT {
        assert_eq!(made["code"], "DUPLICATE_SESSION", "{made}");
        village.refused_duplicates.fetch_add(1, Ordering::Relaxed);
        let user = format!("late-user-{number}");
        spec["userId"] = json!(user);
        let (status, made) = village.house.ask(Method::POST, "/api/agents", Some(spec)).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        (user, made)
    } else {
        assert_eq!(status, StatusCode::CREATED, "{made}");
        village.times.lock().unwrap().create.push(begun.elapsed());
        (user, made)
    };
    assert_eq!(made["userId"], user);
    let agent = made["id"].as_str().unwrap().to_owned();
    village.note(&agent);
    village.begin(&user, &agent);
    let client = village.house.connect(&agent).await.unwrap();
    (user, agent, client)
}

/// Something happens, and the agent thinks about it and answers.
async fn answer(client: &mut Client) {
    client.tell(told("new-message: Ann wrote: what is two plus two?")).await;
    client.event_where("status", |event| event["status"] == "thinking").await;
    let said = client.event_where("speak", |event| event["isFinal"] == true).await;
    assert_eq!(said["text"], "That is four.");
    client.event_where("status", |event| event["status"] == "idle").await;
}

/// Something happens, the agent calls a tool, and answers with what it has brought.
async fn act(village: &Village, client: &mut Client) {
    client.tell(told("What is the weather in Paris?")).await;
    let asked = client.event("tool-call").await;
    assert_eq!(asked["arguments"], json!({"place": "Paris"}));
    let tool_call = asked["toolCallId"].as_str().unwrap();
    village.note(tool_call);
    client
        .tell(json!({
            "type": "huma-0.1-event",
            "content": {
                "type": "tool-result", "toolCallId": tool_call,
                "status": "completed", "success": true, "result": { "sky": "clear" },
            },
        }))
        .await;
    let said = client.event_where("speak", |event| event["isFinal"] == true).await;
    assert_eq!(said["text"], "The sky is clear.");
    client.event_where("status", |event| event["status"] == "idle").await;
}

async fn call(village: &Village, kind: Kind, number: usize) {
    let _place = village.calls.acquire().await.unwrap();
    let (user, agent, mut client) = born(village, number).await;
    answer(&mut client).await;
    // Some have a room of their own, and others meet.
    let room = format!("rooms/room-{}", number % 40);
    client.tell(json!({ "type": "join-room", "roomUrl": room })).await;
    let joined = client.event("room_joined").await;
    village.note(joined["callId"].as_str().unwrap());
    if matches!(kind, Kind::Calling) {
        client.tell(json!({ "type": "leave-room" })).await;
        client.event("room_left").await;
    }
    end(village, &user, &agent, client).await;
}

async fn expire(village: &Village, number: usize) {
    let mut spec = spec();
    spec["ttlSeconds"] = json!(1 + number / 10 % 2);
    let (status, made) = village.house.ask(Method::POST, "/api/agents", Some(spec)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let agent = made["id"].as_str().unwrap();
    village.note(agent);
    // On a busy machine it may be over before anybody comes.
    match village.house.connect(agent).await {
        Ok(client) => assert_end(client, "AGENT_EXPIRED").await,
        Err(refusal) => assert_eq!(refusal, "AGENT_EXPIRED"),
    }
    let refusal = village.house.connect(agent).await.err();
    assert_eq!(refusal.as_deref(), Some("AGENT_EXPIRED"));
}

/// The user moves with the conversation: the heir serves him from then on.
async fn hand_off(village: &Village, number: usize) {
    let (user, agent, mut client) = born(village, number).await;
    answer(&mut client).await;
    let path = format!("/api/agents/{agent}/handoff");
    let (status, told) =
        village.house.ask(Method::POST, &path, Some(json!({ "to": spec() }))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    let seen = client.until_the_end().await;
    assert!(
        seen.ends_with(&["handoff", "state", "disconnect", "end"].map(str::to_owned)),
        "{seen:?}"
    );
    let heir = told["to"].as_str().unwrap();
    village.note(heir);
    let path = format!("/api/agents/{heir}");
    let (_, shown) = village.house.ask(Method::GET, &path, None).await;
    assert_eq!(shown["userId"], user, "{shown}");
    let mut client = village.house.connect(heir).await.unwrap();
    answer(&mut client).await;
    end(village, &user, heir, client).await;
}

/// Deletes an agent whose client is there, and sees the end from both sides.
async fn end(village: &Village, user: &str, agent: &str, client: Client) {
    village.end(user);
    let ((), ()) = tokio::join!(timed_delete(village, agent), assert_end(client, "AGENT_DELETED"));
}

async fn timed_delete(village: &Village, agent: &str) {
    let begun = clock::now();
    delete(&village.house, agent).await;
    village.times.lock().unwrap().delete.push(begun.elapsed());
}

async fn assert_end(client: Client, code: &str) {
    let seen = client.until_the_end().await;
    assert!(seen.ends_with(&[code, "disconnect", "end"].map(str::to_owned)), "{seen:?}");
}

fn spec() -> Value {
    json!({
        "name": "Ada",
        "agentType": "HUMA-0.1",
        "metadata": {
            "className": "Assistant",
            "personality": "Friendly and brief.",
            "instructions": "Answer what is asked.",
            "tools": [{
                "name": "weather",
                "description": "The weather at a place.",
                "parameters": [{
                    "name": "place", "type": "string", "description": "Where.", "required": true,
                }],
            }],
            "voice": { "enabled": true },
        },
    })
}

fn told(text: &str) -> Value {
    json!({
        "type": "huma-0.1-event",
        "content": { "name": "new-message", "context": {}, "description": text },
    })
}

/// Fewer than live at once, so that some meet.
const USERS: usize = 97;
