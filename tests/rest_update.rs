//! Agents that are changed and handed off over REST: what is taken, refused, kept and not lost.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use callbridge::agent::{Command, JoinRequest, Notification, Phase};
use callbridge::ids::{AgentId, CallId, UserId};
use callbridge::runtime::Subscription;
use futures_util::future::join_all;
use harness::{ADMIN, Answer, House, KEY, SILENT};
use serde_json::{Value, json};

#[tokio::test]
async fn patch_and_put_merge_the_fields_that_are_there() {
    let house = House::open().await;
    let mut body = minimal();
    body["metadata"] = json!({"personality": "calm", "instructions": "be brief"});
    let id = house.agent(body).await;
    let before = read(&house, &id).await;

    let same = patch(&house, &id, json!({})).await;
    assert_eq!((same.status, same.json()), (StatusCode::OK, before.clone()));
    let unknown = patch(&house, &id, json!({"unknown": 1, "agentType": "HUMA-0.1"})).await;
    assert_eq!(unknown.json(), before);

    let renamed = patch(&house, &id, json!({"name": "Bo"})).await;
    let mut after = before;
    after["name"] = json!("Bo");
    assert_eq!((renamed.status, renamed.json()), (StatusCode::OK, after.clone()));

    let change = json!({"metadata": {"personality": "loud"}, "userId": "u1"});
    let put = house.ask(Method::PUT, &path(&id), Some(change)).await;
    after["metadata"] = json!({"personality": "loud"});
    after["userId"] = json!("u1");
    assert_eq!((put.status, put.json()), (StatusCode::OK, after.clone()));

    let list = house.ask(Method::GET, "/api/agents", None).await.json();
    assert_eq!(list["agents"], json!([after]));
    let kept = house.gateway.store().agent(&AgentId::new(id.as_str())).await;
    let kept = kept.expect("read").expect("kept");
    assert_eq!((kept.spec.name.as_str(), kept.user_id.as_deref()), ("Bo", Some("u1")));
    assert_eq!(kept.spec.instructions, "# Personality\nloud");
}

#[tokio::test]
async fn mistakes_are_named_and_change_nothing() {
    let house = House::open().await;
    let id = house.agent(minimal()).await;
    let before = read(&house, &id).await;
    for (change, paths) in [
        (json!({"agentType": "HUMA-1", "name": "Bo"}), vec!["agentType"]),
        (json!({"ttlSeconds": 1.5, "userId": 5}), vec!["ttlSeconds", "userId"]),
        (json!({"ttlSeconds": 0}), vec!["ttlSeconds"]),
        (json!({"ttlSeconds": "60"}), vec!["ttlSeconds"]),
        (json!({"metadata": {"tools": 5}, "name": "Bo"}), vec!["metadata.tools"]),
        (json!({"metadata": {"model": {"profile": "best"}}}), vec!["metadata.model.profile"]),
        (json!([]), vec![""]),
    ] {
        let refused = patch(&house, &id, change).await;
        assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".into()));
        assert_eq!(places(&refused), paths);
    }
    assert_eq!(read(&house, &id).await, before);
}

#[tokio::test]
async fn a_model_profile_must_be_there() {
    let house = House::open().await;
    let mut body = minimal();
    body["metadata"]["model"] = json!({"profile": "best"});
    let refused = house.ask(Method::POST, "/api/agents", Some(body.clone())).await;
    assert_eq!(places(&refused), ["metadata.model.profile"]);
    assert_eq!(refused.json()["details"][0]["message"], "must be one of: silent");
    body["metadata"]["model"]["profile"] = json!(SILENT);
    house.agent(body).await;
}

#[tokio::test]
async fn a_detector_must_be_there_when_an_agent_is_made_and_when_it_is_changed() {
    let house = House::open().await;
    let mut body = minimal();
    body["metadata"]["model"] = json!({"hearing": {"detector": "silero"}});
    let refused = house.ask(Method::POST, "/api/agents", Some(body.clone())).await;
    assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".into()));
    assert_eq!(places(&refused), ["metadata.model.hearing.detector"]);
    body["metadata"]["model"]["hearing"]["detector"] = json!("earshot");
    let id = house.agent(body).await;
    let silero = json!({"metadata": {"model": {"hearing": {"detector": "silero"}}}});
    let refused = patch(&house, &id, silero).await;
    assert_eq!(places(&refused), ["metadata.model.hearing.detector"]);
}

#[tokio::test]
async fn anothers_agent_cannot_be_changed_nor_handed_off() {
    let house = House::open().await;
    let id = house.agent(minimal()).await;
    let user = as_key(&house, ADMIN, Method::POST, "/api/users", json!({"email": "a@b.c"})).await;
    let keys = format!("/api/users/{}/api-keys", user.json()["id"].as_str().expect("an id"));
    let key = as_key(&house, ADMIN, Method::POST, &keys, json!({})).await.json();
    let key = key["key"].as_str().expect("a key");
    for (method, path, body) in [
        (Method::PATCH, path(&id), json!({"name": "Bo"})),
        (Method::PUT, path(&id), json!({})),
        (Method::POST, format!("{}/handoff", path(&id)), json!({"to": "ag_1"})),
    ] {
        let refused = as_key(&house, key, method, &path, body).await;
        assert_eq!(refused.refusal(), (404, "AGENT_NOT_FOUND".into()));
    }
    assert_eq!(read(&house, &id).await["name"], "Ida");
}

#[tokio::test]
async fn an_agent_in_a_call_is_busy_until_it_has_left() {
    let house = House::open().await;
    let mut body = minimal();
    body["metadata"] = json!({"voice": {"enabled": true}, "model": {"profile": SILENT}});
    let id = house.agent(body).await;
    let agent = AgentId::new(id.as_str());
    let mut client = subscribe(&house, &id).await;
    let join = Command::Join(JoinRequest {
        call: CallId::new("call_1"),
        room_url: "rooms/x".into(),
        token: None,
        participant_name: None,
    });
    house.gateway.command(&agent, join).await.expect("it joins");
    let busy = patch(&house, &id, json!({"name": "Bo"})).await;
    assert_eq!(busy.refusal(), (409, "AGENT_BUSY".into()));
    hear(&mut client, |told| matches!(told, Notification::RoomJoined { .. })).await;
    for change in [json!({"ttlSeconds": 60}), json!({"userId": "u1"}), json!({"metadata": {}})] {
        let busy = patch(&house, &id, change).await;
        assert_eq!(busy.refusal(), (409, "AGENT_BUSY".into()));
    }
    assert_eq!(patch(&house, &id, json!({})).await.status, StatusCode::OK);
    let shown = read(&house, &id).await;
    assert_eq!((&shown["name"], &shown["state"]), (&json!("Ida"), &json!("active")));

    house.gateway.command(&agent, Command::Leave).await.expect("it leaves");
    hear(
        &mut client,
        |told| matches!(told, Notification::State { to, .. } if *to == Phase::Connected),
    )
    .await;
    assert_eq!(patch(&house, &id, json!({"name": "Bo"})).await.json()["name"], "Bo");
}

#[tokio::test]
async fn a_time_to_live_may_be_made_longer_endless_or_shorter() {
    let house = House::open().await;
    let mut brief = minimal();
    brief["ttlSeconds"] = json!(1);
    let (longer, endless) = (house.agent(brief.clone()).await, house.agent(brief.clone()).await);
    // Made last, so the others would be over by the time that it is.
    let hourglass = house.agent(brief).await;
    let mut sand = subscribe(&house, &hourglass).await;

    let before = read(&house, &longer).await;
    let after = patch(&house, &longer, json!({"ttlSeconds": 3600})).await.json();
    assert_eq!(after["createdAt"], before["createdAt"]);
    let left = instant(&after["expiresAt"]).as_millisecond()
        - instant(&before["expiresAt"]).as_millisecond();
    assert!((3_599_000..3_601_000).contains(&left), "an hour from the change, not {left}");
    let after = patch(&house, &endless, json!({"ttlSeconds": null})).await.json();
    assert_eq!(after["expiresAt"], Value::Null);

    hear(&mut sand, is_expiry).await;
    for id in [&longer, &endless] {
        assert_eq!(read(&house, id).await["state"], "created");
    }
    let mut client = subscribe(&house, &endless).await;
    patch(&house, &endless, json!({"ttlSeconds": 1})).await;
    hear(&mut client, is_expiry).await;
}

#[tokio::test]
async fn a_user_who_has_an_agent_is_refused_by_its_name() {
    let house = House::open().await;
    let mut body = minimal();
    body["userId"] = json!("u1");
    let (first, second) = (house.agent(body).await, house.agent(minimal()).await);
    let refused = patch(&house, &second, json!({"userId": "u1", "name": "Bo"})).await;
    assert_eq!(refused.refusal(), (409, "DUPLICATE_SESSION".into()));
    assert_eq!(refused.json()["agentId"], first.as_str());
    assert_eq!(read(&house, &second).await["name"], "Ida");

    patch(&house, &first, json!({"userId": null})).await;
    let taken = patch(&house, &second, json!({"userId": "u1"})).await;
    assert_eq!(taken.json()["userId"], "u1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_changes_at_once_lose_nothing() {
    let house = House::open().await;
    let id = house.agent(minimal()).await;
    let changes = (0..100).map(|n| match n % 4 {
        0 => json!({"name": format!("name {n}")}),
        1 => json!({"metadata": {"personality": format!("personality {n}")}}),
        2 => json!({"userId": format!("user {n}")}),
        _ => json!({"ttlSeconds": 1000 + n}),
    });
    let answers = join_all(changes.map(|change| patch(&house, &id, change))).await;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    let shown = read(&house, &id).await;
    let begins = |value: &Value, with: &str| value.as_str().is_some_and(|v| v.starts_with(with));
    assert!(begins(&shown["name"], "name "), "{shown}");
    assert!(begins(&shown["metadata"]["personality"], "personality "), "{shown}");
    assert!(begins(&shown["userId"], "user "), "{shown}");
    assert!(shown["expiresAt"].is_string(), "{shown}");
    let kept = house.gateway.store().agent(&AgentId::new(id.as_str())).await;
    let live = house.gateway.read(&owner(&house).await, &AgentId::new(id.as_str())).await;
    assert_eq!(kept.expect("read"), Some(live.expect("there").record));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_makings_for_one_user_one_succeeds() {
    let house = House::open().await;
    let mut body = minimal();
    body["userId"] = json!("u1");
    let makings = (0..100).map(|_| house.ask(Method::POST, "/api/agents", Some(body.clone())));
    let answers = join_all(makings).await;
    let made: Vec<_> =
        answers.iter().filter(|answer| answer.status == StatusCode::CREATED).collect();
    assert_eq!(made.len(), 1);
    let id = &made[0].json()["id"];
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert_eq!(answer.refusal(), (409, "DUPLICATE_SESSION".into()));
        assert_eq!(answer.json()["agentId"], *id);
    }
    assert_eq!(house.gateway.live_agents(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_agents_that_want_one_user_one_gets_it() {
    let house = House::open().await;
    let ids = join_all((0..40).map(|_| house.agent(minimal()))).await;
    let change = json!({"userId": "u1", "name": "Bo"});
    let answers = join_all(ids.iter().map(|id| patch(&house, id, change.clone()))).await;
    let changed: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
    assert_eq!(changed.len(), 1);
    let winner = &changed[0].json()["id"];
    for (id, answer) in ids.iter().zip(&answers) {
        let is_winner = *winner == json!(id);
        assert_eq!(answer.status == StatusCode::OK, is_winner);
        let shown = read(&house, id).await;
        assert_eq!(shown["name"] == "Bo", is_winner, "{shown}");
        assert_eq!(shown["userId"] == "u1", is_winner, "{shown}");
    }
}

#[tokio::test]
async fn a_handoff_names_each_of_its_mistakes() {
    let house = House::open().await;
    let id = house.agent(minimal()).await;
    let handoff = format!("{}/handoff", path(&id));
    let hand_off = |body| house.ask(Method::POST, &handoff, Some(body));
    let mut spec = minimal();
    spec["userId"] = json!("u1");
    spec["metadata"]["tools"] = json!(5);
    let refused = hand_off(json!({"to": spec, "reason": "", "context": 5})).await;
    assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".into()));
    let found: BTreeSet<_> = places(&refused).into_iter().collect();
    let wanted = ["context", "reason", "to.metadata.tools", "to.userId"];
    assert_eq!(found, wanted.map(str::to_owned).into());

    let mut spec = minimal();
    spec["metadata"]["model"] = json!({"profile": "best"});
    let refused = hand_off(json!({"to": spec})).await;
    assert_eq!(places(&refused), ["to.metadata.model.profile"]);
    assert_eq!(places(&hand_off(json!({})).await), ["to"]);

    let nobody = "/api/agents/ag_nobody/handoff";
    let nobody = house.ask(Method::POST, nobody, Some(json!({"to": id}))).await;
    assert_eq!(nobody.refusal(), (404, "AGENT_NOT_FOUND".into()));
}

fn minimal() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}

fn path(id: &str) -> String {
    format!("/api/agents/{id}")
}

async fn read(house: &House, id: &str) -> Value {
    let answer = house.ask(Method::GET, &path(id), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

async fn patch(house: &House, id: &str, change: Value) -> Answer {
    house.ask(Method::PATCH, &path(id), Some(change)).await
}

async fn as_key(house: &House, key: &str, method: Method, path: &str, body: Value) -> Answer {
    let request = axum::http::Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {key}"));
    let request = request.header("content-type", "application/json");
    let body = axum::body::Body::from(body.to_string());
    house.send(request.body(body).expect("a request")).await
}

/// The places of the mistakes that an answer tells.
fn places(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let details = body["details"].as_array().expect("details").iter();
    details.map(|detail| detail["path"].as_str().expect("a path").to_owned()).collect()
}

async fn owner(house: &House) -> UserId {
    house.gateway.holder_of(KEY).await.expect("read").expect("valid").owner
}

async fn subscribe(house: &House, id: &str) -> Subscription {
    let owner = owner(house).await;
    house.gateway.subscribe(&owner, &AgentId::new(id)).await.expect("it is there")
}

/// Waits until the client is told what is wanted.
async fn hear(client: &mut Subscription, is_wanted: impl Fn(&Notification) -> bool) {
    let mut story = Vec::new();
    while let Some(stamped) = client.notifications.recv().await {
        if is_wanted(&stamped.notification) {
            return;
        }
        story.push(Arc::clone(&stamped));
    }
    assert!(story.is_empty(), "it ended, and was not told: {story:?}");
}

fn is_expiry(told: &Notification) -> bool {
    matches!(told, Notification::Error { code, .. } if *code == "AGENT_EXPIRED")
}

fn instant(value: &Value) -> jiff::Timestamp {
    value.as_str().expect("a time").parse().expect("ISO-8601")
}
