//! `kill -9`: what was acknowledged is kept, and what was live is closed with its reason.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::gateway::Gateway;
use super::{agent, agent_for, connect, create, id, join, listed};

#[tokio::test]
async fn a_call_that_was_live_is_in_the_archive_with_what_was_said() {
    let mut gateway = Gateway::start().await;
    let agent = create(&gateway, agent_for(3600)).await;
    let mut client = connect(&gateway, id(&agent)).await;
    client.tell(join("hall")).await;
    let call = client.event("room_joined").await["callId"].as_str().unwrap().to_owned();
    let caller = caller(&gateway, "hall");
    let heard = client.event_where("transcript", |event| event["isFinal"] == true).await;
    let said = client.event_where("speak-status", |event| event["status"] != "started").await;
    client.tell(json!({"type": "say", "text": "One, two, three, four, five, six, seven."})).await;
    client.event_where("speak-status", |event| event["status"] == "started").await;
    // What is older than this is kept: that is the promise.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.kill_and_restart().await;
    drop(caller);
    gateway.kill_and_restart().await;

    for _ in 0..2 {
        assert_archived(&gateway, &call, &[&heard["text"], &said["text"]]).await;
        let found = gateway.agent(id(&agent)).await;
        assert_eq!(found["state"], "created", "{found}");
        assert_eq!((&found["call"], &found["clients"]), (&Value::Null, &json!(0)));
        assert_eq!(found["expiresAt"], agent["expiresAt"]);
        assert!(gateway.watch("hall").await.names().await.is_empty());
        gateway.kill_and_restart().await;
    }
}

#[tokio::test]
async fn no_agent_that_was_acknowledged_is_lost() {
    let mut gateway = Gateway::start().await;
    let creating = (0..100).map(|_| create(&gateway, agent()));
    let made = join_all(creating).await;
    gateway.kill_and_restart().await;

    let mut made: Vec<&str> = made.iter().map(id).collect();
    let mut kept = listed(&gateway).await;
    made.sort_unstable();
    kept.sort_unstable();
    assert_eq!(kept, made);
    for agent in &made[..3] {
        let path = format!("/api/agents/{agent}");
        assert_eq!(gateway.ask(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    }
    gateway.kill_and_restart().await;
    let mut kept = listed(&gateway).await;
    kept.sort_unstable();
    assert_eq!(kept, made[3..], "what was deleted does not come back");
}

async fn assert_archived(gateway: &Gateway, call: &str, said: &[&Value]) {
    let (_, list) = gateway.ask(Method::GET, "/api/calls", None).await;
    let calls = list["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{list}");
    let (status, kept) = gateway.ask(Method::GET, &format!("/api/calls/{call}"), None).await;
    assert_eq!(status, StatusCode::OK, "{kept}");
    assert_eq!(kept["reason"], "server crashed", "{kept}");
    let lines: Vec<&Value> =
        kept["transcript"].as_array().unwrap().iter().map(|line| &line["text"]).collect();
    assert_eq!(&lines[..said.len()], said, "{kept}");
}

/// A caller over WebRTC, who says goodbye and stays until this is dropped.
pub(super) fn caller(gateway: &Gateway, room: &str) -> Child {
    let wav = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio/goodbye-16000hz-16bit-mono.wav");
    Command::new(env!("CARGO_BIN_EXE_callbridge"))
        .args(["call", &gateway.whip(room, "Ann"), "--wav", wav, "--quiet-ms", "120000"])
        .current_dir(gateway.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
