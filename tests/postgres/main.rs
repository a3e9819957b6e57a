//! A gateway over `PostgreSQL`: what it has acknowledged outlives the server's restart, and what it
//! says meanwhile and at the start.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helpers may fail the test")]

#[path = "../harness/mod.rs"]
mod harness;
mod server;

use std::process::Command;

use axum::http::{Method, StatusCode};
use callbridge::ids::{AgentId, UserId};
use callbridge::runtime::FindError;
use callbridge::store::Store;
use harness::House;
use serde_json::{Value, json};
use server::Server;

#[tokio::test]
async fn what_was_acknowledged_before_the_database_restarts_is_there_after_it() {
    let server = Server::start();
    let url = server.database("calls").await;
    let house = house(&url).await;
    let before = house.agent(ida()).await;
    let deleted = house.agent(ida()).await;
    server.stop();

    let made = house.ask(Method::POST, "/api/agents", Some(ida())).await;
    assert_eq!(made.refusal(), (503, "STORE_UNAVAILABLE".into()));
    assert_eq!(made.header("retry-after"), "5");
    let path = format!("/api/agents/{deleted}");
    // No answer but 204 says that it is deleted; the key cannot even be looked up.
    let unsure = house.ask(Method::DELETE, &path, None).await;
    assert_eq!(unsure.refusal(), (503, "STORE_UNAVAILABLE".into()));
    let (owner, id) = (UserId::new("usr_bootstrap"), AgentId::new(deleted.as_str()));
    let unsure = house.gateway.delete(&owner, &id).await;
    assert!(matches!(unsure, Err(FindError::Store(failure)) if failure.is_passing));
    assert_eq!(house.bare(Method::GET, "/healthz").await.status, StatusCode::OK);

    server.start_again();
    let after = house.agent(ida()).await;
    wait_for_the_end(&house, &owner, &id).await;
    let room = house.ask(Method::POST, "/api/rooms", Some(json!({"name": "office"}))).await;
    assert_eq!(room.status, StatusCode::CREATED, "{}", room.text);
    // As with a crash, nothing is told to anyone, and nothing is flushed.
    drop(house);

    let house = self::house(&url).await;
    let list = house.ask(Method::GET, "/api/agents", None).await.json();
    let agents = list["agents"].as_array().expect("agents").iter();
    let mut ids: Vec<_> = agents.map(|agent| agent["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    let mut expected = [before.as_str(), after.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let room = house.ask(Method::GET, "/api/rooms/office", None).await;
    assert_eq!(room.status, StatusCode::OK, "{}", room.text);
}

#[tokio::test]
async fn ids_that_no_database_can_hold_are_not_found() {
    let server = Server::start();
    let house = house(&server.database("calls").await).await;
    for path in ["/api/agents/ag%00", "/api/calls/call%00", "/api/rooms/a%00"] {
        let answer = house.ask(Method::GET, path, None).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_program_that_is_not_let_in_says_why_and_not_with_what() {
    let server = Server::start();
    server.database("calls").await;
    let url = server.url("the-wrong-one", "calls");
    let run = |command: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_callbridge"));
        program.env_clear().env("OPENAI_API_KEY", "none").env("CALLBRIDGE_DATABASE", &url);
        program.arg(command).output().expect("it runs")
    };
    let refused = run("serve");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{words}");
    assert!(words.contains("password authentication failed"), "{words}");
    assert!(!words.contains("the-wrong-one"), "{words}");

    let checked = run("check-config");
    let words = String::from_utf8_lossy(&checked.stdout);
    assert!(words.contains("database = postgres://…@") && words.contains("/calls"), "{words}");
    assert!(!words.contains("the-wrong-one"), "{words}");
}

/// Asks until the agent's end, which is tried again and again, has reached the database.
async fn wait_for_the_end(house: &House, owner: &UserId, id: &AgentId) {
    loop {
        match house.gateway.delete(owner, id).await {
            Ok(()) | Err(FindError::NotFound) => return,
            Err(FindError::Store(failure)) if failure.is_passing => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn house(url: &str) -> House {
    House::over(Store::open(url).await.expect("a store")).await
}

fn ida() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}
