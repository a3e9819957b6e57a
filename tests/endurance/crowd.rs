//! A hundred at once: creates for one user, clients of one agent, joins of one agent.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::gateway::Gateway;
use super::{agent, connect, create, id, join, listed, told};

#[tokio::test]
async fn a_hundred_creates_for_one_user_make_one_agent() {
    let gateway = Gateway::start().await;
    let mut spec = agent();
    spec["userId"] = json!("u1");
    let creating = |spec| async { gateway.ask(Method::POST, "/api/agents", Some(spec)).await };
    let answers = join_all((0..100).map(|_| creating(spec.clone()))).await;
    let made: Vec<&str> = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CREATED)
        .map(|(_, agent)| id(agent))
        .collect();
    let refused = answers.iter().filter(|(status, error)| {
        *status == StatusCode::CONFLICT && error["code"] == "DUPLICATE_SESSION"
    });
    assert_eq!((made.len(), refused.count()), (1, 99));

    spec["onDuplicate"] = json!("return");
    let answers = join_all((0..100).map(|_| creating(spec.clone()))).await;
    let first: BTreeSet<_> =
        answers.iter().map(|(status, agent)| (status.as_u16(), id(agent))).collect();
    assert_eq!(first, [(200, made[0])].into());
    assert_eq!(listed(&gateway).await, made);
}

#[tokio::test]
async fn a_hundred_clients_of_one_agent_hear_the_same_in_one_order() {
    let gateway = Gateway::start().await;
    let agent = create(&gateway, agent()).await;
    let mut clients = join_all((0..100).map(|_| connect(&gateway, id(&agent)))).await;
    assert_eq!(gateway.agent(id(&agent)).await["clients"], 100);
    clients[0].tell(told("new-message: Ann wrote: what is two plus two?")).await;
    let hearing = clients.iter_mut().map(|client| async {
        let mut heard = Vec::new();
        loop {
            let event = client.next_event().await;
            if event["type"] == "status" || event["type"] == "speak" {
                heard.push((event["seq"].as_u64(), event.clone()));
            }
            if event["status"] == "idle" {
                return heard;
            }
        }
    });
    let heard = join_all(hearing).await;
    let kinds: Vec<_> = heard[0].iter().map(|(_, event)| event["type"].clone()).collect();
    assert!(kinds.contains(&json!("speak")), "{kinds:?}");
    assert!(heard[0].is_sorted_by(|(one, _), (next, _)| one < next));
    for other in &heard {
        assert_eq!(other, &heard[0]);
    }

    let path = format!("/api/agents/{}", id(&agent));
    assert_eq!(gateway.ask(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    for seen in join_all(clients.into_iter().map(super::Client::until_the_end)).await {
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen[seen.len() - 3..], ["AGENT_DELETED", "disconnect", "end"], "{seen:?}");
    }
}

#[tokio::test]
async fn a_hundred_joins_of_one_agent_are_one_call() {
    let gateway = Gateway::start().await;
    let agent = create(&gateway, agent()).await;
    let mut clients = join_all((0..100).map(|_| connect(&gateway, id(&agent)))).await;
    let joining = clients
        .iter_mut()
        .enumerate()
        .map(|(number, client)| async move { client.ask(join(&format!("room-{number}"))).await });
    let answers = join_all(joining).await;
    let taken = answers.iter().filter(|answer| answer["ok"] == true).count();
    let refused = answers
        .iter()
        .filter(|answer| answer["code"] == "ALREADY_IN_CALL" || answer["code"] == "QUEUE_FULL");
    assert_eq!((taken, refused.count()), (1, 99), "{answers:?}");
    for client in &mut clients {
        client.event("room_joined").await;
    }
    join_all(clients.into_iter().map(super::Client::leave)).await;
    gateway.agent_in_state(id(&agent), "created").await;
}
