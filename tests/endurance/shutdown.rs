//! SIGTERM: the running turn may end, nothing new begins, and a second signal is the end.

use std::time::Duration;

use callbridge::sys::clock;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::Client;
use super::gateway::Gateway;
use super::{agent, connect, create, id, join, only, told};

#[tokio::test]
async fn the_sentence_is_finished_and_then_the_gateway_is_down() {
    let mut gateway = Gateway::start().await;
    let agent = create(&gateway, agent()).await;
    let (mut client, call) = speaking(&gateway, id(&agent), SENTENCE).await;
    gateway.terminate().await;

    assert_nothing_new_is_taken(&gateway).await;
    let said = client.event("speak-status").await;
    assert_eq!((&said["status"], &said["text"]), (&json!("finished"), &json!(SENTENCE)));
    let end = ["room_left", "SERVER_SHUTDOWN", "disconnect", "end"];
    let seen = client.until_the_end().await;
    assert_eq!(only(&seen, &end), end, "{seen:?}");
    assert_eq!(gateway.ended().await, Some(0));

    gateway.restart().await;
    let (_, kept) = gateway.ask(Method::GET, &format!("/api/calls/{call}"), None).await;
    assert_eq!(kept["reason"], "shutdown", "{kept}");
    assert_eq!(kept["transcript"][0]["text"], SENTENCE, "{kept}");
    assert_eq!(gateway.agent(id(&agent)).await["state"], "created");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut gateway = Gateway::start().await;
    let agent = create(&gateway, agent()).await;
    let (_client, _) = speaking(&gateway, id(&agent), &SENTENCE.repeat(3)).await;
    gateway.terminate().await;
    until_draining(&gateway).await;
    gateway.terminate().await;
    assert_eq!(gateway.ended().await, Some(143));
}

#[tokio::test]
async fn a_tool_that_answers_in_time_is_waited_for() {
    let mut gateway = Gateway::start().await;
    let (mut client, tool_call) = waiting_for_a_tool(&gateway).await;
    gateway.terminate().await;
    until_draining(&gateway).await;
    client.tell(result(&tool_call)).await;
    assert_eq!(client.event("speak").await["text"], "The sky is clear.");
    let seen = client.until_the_end().await;
    let end = ["SERVER_SHUTDOWN", "disconnect", "end"];
    assert_eq!(only(&seen, &end), end, "{seen:?}");
    assert_eq!(gateway.ended().await, Some(0));
}

#[tokio::test]
async fn a_tool_that_does_not_answer_is_waited_for_no_longer_than_the_grace() {
    let mut gateway = Gateway::start_with(&[("CALLBRIDGE_GRACE_SHUTDOWN_SECONDS", "2")]).await;
    let (client, _) = waiting_for_a_tool(&gateway).await;
    let begun = clock::now();
    gateway.terminate().await;
    let seen = client.until_the_end().await;
    let end = ["cancel-tool-call", "SERVER_SHUTDOWN", "disconnect", "end"];
    assert_eq!(only(&seen, &end), end, "{seen:?}");
    assert_eq!(gateway.ended().await, Some(0));
    let took = begun.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
}

const SENTENCE: &str = "The first sentence takes a while, for there are many words in it.";

/// A client of an agent that is saying this in a call, and the call's id.
async fn speaking(gateway: &Gateway, agent: &str, text: &str) -> (Client, String) {
    let mut client = connect(gateway, agent).await;
    client.tell(join("hall")).await;
    let call = client.event("room_joined").await["callId"].as_str().unwrap().to_owned();
    client.tell(json!({"type": "say", "text": text})).await;
    client.event_where("speak-status", |event| event["status"] == "started").await;
    (client, call)
}

/// A client of an agent that thinks about the weather, and the id of the tool call it waits for.
async fn waiting_for_a_tool(gateway: &Gateway) -> (Client, Value) {
    let agent = create(gateway, agent()).await;
    let mut client = connect(gateway, id(&agent)).await;
    client.tell(told("What is the weather in Paris?")).await;
    let asked = client.event("tool-call").await;
    assert_eq!(asked["toolName"], "weather", "{asked}");
    (client, asked["toolCallId"].clone())
}

fn result(tool_call: &Value) -> Value {
    json!({
        "type": "huma-0.1-event",
        "content": {
            "type": "tool-result",
            "toolCallId": tool_call,
            "status": "completed",
            "success": true,
            "result": { "sky": "clear" },
        },
    })
}

/// Waits until the gateway says that it goes down.
async fn until_draining(gateway: &Gateway) {
    while gateway.request(Method::GET, "/readyz", None).await.status() == StatusCode::OK {}
}

async fn assert_nothing_new_is_taken(gateway: &Gateway) {
    until_draining(gateway).await;
    for (method, path, body) in
        [(Method::GET, "/readyz", None), (Method::POST, "/api/agents", Some(agent()))]
    {
        let answer = gateway.request(method, path, body).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let retry_after = answer.headers()["retry-after"].to_str().unwrap().parse::<u32>();
        assert!(retry_after.is_ok_and(|seconds| seconds > 0), "{path}");
    }
}
