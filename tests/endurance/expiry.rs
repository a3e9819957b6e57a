//! The end of an agent's time to live: in a call, across a crash, and while nothing runs.

use std::time::Duration;

use callbridge::store::Store;
use callbridge::sys::clock;
use reqwest::{Method, StatusCode};

use super::client::Client;
use super::gateway::Gateway;
use super::{agent_for, connect, create, id, join, listed, only, refusal};

#[tokio::test]
async fn an_agent_that_expires_in_its_call_tells_both_clients_and_is_gone() {
    let gateway = Gateway::start().await;
    let begun = clock::now();
    let agent = create(&gateway, agent_for(3)).await;
    let clients = in_call(&gateway, id(&agent)).await;
    assert_both_see_the_end(clients).await;
    assert!(begun.elapsed() >= Duration::from_secs(3), "after {:?}", begun.elapsed());
    assert_nothing_is_left(&gateway, id(&agent)).await;
}

#[tokio::test]
async fn time_to_live_runs_on_across_a_crash() {
    let mut gateway = Gateway::start().await;
    let begun = clock::now();
    let agent = create(&gateway, agent_for(10)).await;
    let _cut_off = in_call(&gateway, id(&agent)).await;
    gateway.kill_and_restart().await;

    let found = gateway.agent(id(&agent)).await;
    assert_eq!((&found["state"], found["call"].is_null()), (&"created".into(), true), "{found}");
    assert_eq!(found["expiresAt"], agent["expiresAt"]);
    let clients = in_call(&gateway, id(&agent)).await;
    assert_both_see_the_end(clients).await;
    let lived = begun.elapsed();
    assert!((10..15).contains(&lived.as_secs()), "it has lived for {lived:?}");
    assert_nothing_is_left(&gateway, id(&agent)).await;
}

#[tokio::test]
async fn an_agent_that_expires_while_nothing_runs_is_gone_at_the_start() {
    let mut gateway = Gateway::start().await;
    let agent = create(&gateway, agent_for(3)).await;
    let clients = in_call(&gateway, id(&agent)).await;
    gateway.kill().await;
    for client in clients {
        let seen = client.until_the_end().await;
        assert!(!seen.iter().any(|mark| mark == "AGENT_EXPIRED"), "{seen:?}");
    }
    let until: jiff::Timestamp = agent["expiresAt"].as_str().unwrap().parse().unwrap();
    let until_ms = u64::try_from(until.as_millisecond()).unwrap();
    tokio::time::sleep(clock::until_unix_ms(until_ms)).await;

    gateway.restart().await;
    assert_nothing_is_left(&gateway, id(&agent)).await;
    gateway.kill_and_restart().await;
    assert_nothing_is_left(&gateway, id(&agent)).await;
}

/// Two clients of an agent that is in a call.
async fn in_call(gateway: &Gateway, agent: &str) -> [Client; 2] {
    let mut clients = [connect(gateway, agent).await, connect(gateway, agent).await];
    clients[0].tell(join("hall")).await;
    for client in &mut clients {
        client.event("room_joined").await;
    }
    clients
}

async fn assert_both_see_the_end(clients: [Client; 2]) {
    let [first, second] = clients;
    let (first, second) = tokio::join!(first.until_the_end(), second.until_the_end());
    let end = ["room_left", "AGENT_EXPIRED", "disconnect", "end"];
    assert_eq!(only(&first, &end), end, "{first:?}");
    assert_eq!(only(&second, &end), end, "{second:?}");
    let after = |seen: &[String]| seen.iter().skip_while(|mark| *mark != "AGENT_EXPIRED").count();
    assert_eq!((after(&first), after(&second)), (3, 3), "{first:?}, {second:?}");
}

/// The row goes right after the connections, so it may be there for another moment.
async fn assert_nothing_is_left(gateway: &Gateway, agent: &str) {
    assert_eq!(refusal(gateway, agent).await.as_deref(), Some("AGENT_EXPIRED"));
    let path = format!("/api/agents/{agent}");
    assert_eq!(gateway.ask(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(listed(gateway).await, Vec::<String>::new());
    let file = gateway.folder().join("callbridge.db");
    let store = Store::open(&format!("sqlite:{}", file.display())).await.unwrap();
    assert_eq!(store.all_agents().await.unwrap(), []);
    store.close().await;
    assert!(gateway.watch("hall").await.names().await.is_empty());
}
