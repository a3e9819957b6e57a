//! What a gateway survives, as a process among others: time, crowds, SIGTERM and `kill -9`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod client;
mod crash;
mod crowd;
mod expiry;
#[path = "../interop/gateway.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod gateway;
mod recording;
mod shutdown;

use client::Client;
use gateway::{Gateway, KEY};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// An agent with a voice and a tool.
fn agent() -> Value {
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

/// The same, for so many seconds.
fn agent_for(seconds: u64) -> Value {
    let mut agent = agent();
    agent["ttlSeconds"] = json!(seconds);
    agent
}

/// Makes an agent; how REST shows it.
async fn create(gateway: &Gateway, agent: Value) -> Value {
    let (status, made) = gateway.ask(Method::POST, "/api/agents", Some(agent)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

/// The id in how REST shows something.
fn id(shown: &Value) -> &str {
    shown["id"].as_str().unwrap()
}

/// A client of this agent.
async fn connect(gateway: &Gateway, agent: &str) -> Client {
    Client::connect(gateway.url(), agent, KEY).await.unwrap()
}

/// Why no client of this agent is let in.
async fn refusal(gateway: &Gateway, agent: &str) -> Option<String> {
    Client::connect(gateway.url(), agent, KEY).await.err()
}

/// The ids of the agents that REST lists.
async fn listed(gateway: &Gateway) -> Vec<String> {
    let mut ids = Vec::new();
    let mut path = "/api/agents?limit=100".to_owned();
    loop {
        let (status, page) = gateway.ask(Method::GET, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        ids.extend(page["agents"].as_array().unwrap().iter().map(|shown| id(shown).to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { return ids };
        path = format!("/api/agents?limit=100&cursor={cursor}");
    }
}

/// Something from outside that the agent thinks about.
fn told(text: &str) -> Value {
    json!({
        "type": "huma-0.1-event",
        "content": { "name": "new-message", "context": {}, "description": text },
    })
}

/// The wish to join a room that the gateway hosts.
fn join(room: &str) -> Value {
    json!({ "type": "join-room", "roomUrl": format!("rooms/{room}") })
}

/// Those of `marks` that are `wanted`, in their order.
fn only<'a>(marks: &'a [String], wanted: &[&str]) -> Vec<&'a str> {
    marks.iter().map(String::as_str).filter(|mark| wanted.contains(mark)).collect()
}
