//! Agents that think outside of calls, with a library's client and with a bare one.

use reqwest::Method;
use serde_json::{Value, json};

use super::gateway::{Gateway, KEY};
use super::peer::Peer;
use super::raw::Raw;

#[tokio::test]
async fn the_official_client_runs_the_flows_in_both_generations() {
    let gateway = Gateway::start_patient().await;
    let mut client = Peer::node("huma_flows.cjs", &[gateway.url(), KEY]);
    assert_eq!(client.next().await, json!({"done": 11}));
    client.finish().await;
}

#[tokio::test]
async fn a_bare_client_runs_the_flows_in_both_generations() {
    let gateway = Gateway::start_patient().await;
    for generation in [Generation::Old, Generation::New] {
        tool_flow(&gateway, generation).await;
        cancel_flow(&gateway, generation).await;
    }
}

/// How a client wraps what it says.
#[derive(Clone, Copy)]
enum Generation {
    Old,
    New,
}

impl Generation {
    fn asks(self, question: &str) -> Value {
        let (name, description) = ("new-message", format!("Ann wrote: {question}"));
        let context = json!({"table": 4});
        match self {
            Self::Old => json!({
                "type": "huma-0.1-event",
                "content": {"name": name, "context": context, "description": description},
            }),
            Self::New => json!({
                "type": "context-update", "triggering": true,
                "name": name, "context": context, "description": description,
            }),
        }
    }

    fn result(self, call: &Value, more: &Value) -> Value {
        let mut result = json!({"type": "tool-result", "toolCallId": call["toolCallId"]});
        let fields = more.as_object().unwrap().clone();
        result.as_object_mut().unwrap().extend(fields);
        match self {
            Self::Old => json!({"type": "huma-0.1-event", "content": result}),
            Self::New => result,
        }
    }

    /// Where a client of this generation is told of its mistakes.
    fn errors(self) -> &'static str {
        match self {
            Self::Old => "event",
            Self::New => "error",
        }
    }
}

/// create, connect, update, `tool-call`, a result that ends the work; and one that does not.
async fn tool_flow(gateway: &Gateway, generation: Generation) {
    let agent = weather_agent(gateway).await;
    let mut client = Raw::connect(gateway.url(), KEY, &agent).await;
    client.say(generation.asks("What is the weather in Paris?")).await;
    let call = client.event("tool-call").await;
    assert_eq!(call["arguments"], json!({"place": "Paris"}));
    let quiet = json!({"success": true, "result": "sunny", "skipImmediateProcessing": true});
    client.say(generation.result(&call, &quiet)).await;
    client.status("idle").await;
    client.say(generation.asks("What is the weather in Rome?")).await;
    let call = client.event("tool-call").await;
    let result = json!({"success": true, "result": {"sky": "grey"}});
    client.say(generation.result(&call, &result)).await;
    let answer = client.event_where("speak", |event| event["isFinal"] == true).await;
    assert_eq!(answer["text"], "The sky is grey.");
    client.status("idle").await;
    let seen: Vec<&str> = client.seen.iter().map(String::as_str).collect();
    let first = ["state", "state", "thinking", "tool-call", "acting", "state", "idle"];
    assert_eq!(seen[..7], first);
    assert_eq!(seen[7..12], ["state", "thinking", "tool-call", "acting", "thinking"]);
    assert_eq!(seen[12..].iter().filter(|kind| **kind == "tool-call").count(), 0, "{seen:?}");

    let (status, _) = gateway.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    assert_eq!(status, 204);
    client.ends().await;
}

/// A call that is called off: the client says so, and nothing begins anew.
async fn cancel_flow(gateway: &Gateway, generation: Generation) {
    let agent = weather_agent(gateway).await;
    let mut client = Raw::connect(gateway.url(), KEY, &agent).await;
    client.say(generation.asks("What is the weather in Paris?")).await;
    let call = client.event("tool-call").await;
    client.say(json!({"type": "interrupt"})).await;
    let cancel = client.event("cancel-tool-call").await;
    let told = (&cancel["toolCallId"], cancel["reason"].as_str().unwrap());
    assert_eq!(told, (&call["toolCallId"], "interrupted"));
    client.status("idle").await;
    let canceled = json!({"success": false, "status": "canceled", "error": "stopped"});
    client.settled().await;
    let before = client.seen.len();
    for _ in 0..2 {
        client.say(generation.result(&call, &canceled)).await;
    }
    // The first one is taken, and begins nothing; the second has nothing left to confirm.
    let (channel, told) = client.next().await;
    let told = (channel.as_str(), told["code"].as_str().unwrap());
    assert_eq!(told, (generation.errors(), "UNKNOWN_TOOL_CALL"));
    client.say(generation.asks("What is two plus two?")).await;
    client.event_where("speak", |event| event["isFinal"] == true).await;
    let calls = client.seen[before..].iter().filter(|kind| *kind == "tool-call").count();
    assert_eq!(calls, 0, "{:?}", client.seen);
}

async fn weather_agent(gateway: &Gateway) -> String {
    let place =
        json!({"name": "place", "type": "string", "required": true, "description": "A town"});
    let weather = json!({"name": "weather", "description": "The weather", "parameters": [place]});
    let metadata = json!({"className": "Host", "tools": [weather]});
    let agent = json!({"name": "Ada", "agentType": "HUMA-0.1", "metadata": metadata});
    gateway.create(agent).await
}
