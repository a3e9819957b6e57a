//! What operators see of a gateway, and what it refuses when it has enough to do.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use callbridge::agent::{Command, JoinRequest, Rejection};
use callbridge::ids::{AgentId, CallId};
use callbridge::meter::Stage;
use callbridge::runtime::{AdmissionPolicy, CommandError, Subscription};
use futures_util::future::join_all;
use harness::{Answer, House, SILENT};
use serde_json::json;

#[tokio::test]
async fn metrics_are_for_everybody_and_in_the_format_that_is_asked_for() {
    let house = House::open().await;
    let id = house.agent(json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})).await;
    let plain = house.bare(Method::GET, "/metrics").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(plain.text.contains("\ncallbridge_agents{state=\"created\"} 1\n"), "{}", plain.text);
    assert!(plain.text.contains("# TYPE callbridge_clients_dropped_total counter\n"));
    assert!(plain.text.contains("\nprocess_resident_memory_bytes "), "{}", plain.text);
    assert!(!plain.text.contains(&id) && !plain.text.contains("Ida"));
    let request = Request::get("/metrics").header("accept", "application/openmetrics-text");
    let open = house.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(
        open.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.text.ends_with("# EOF\n"), "{}", open.text);
}

#[tokio::test]
async fn while_frames_are_late_new_calls_are_refused_and_agents_are_made() {
    let late = Duration::from_millis(10);
    let policy = AdmissionPolicy { late, late_percent: 1, ..AdmissionPolicy::OPEN };
    let house = House::admitting(policy).await;
    press(&house).await;
    let refused = knock(&house).await;
    assert_eq!(refused.refusal(), (503, "CAPACITY".into()));
    assert_eq!(refused.header("retry-after"), "5");
    let (agent, _client) = agent(&house, "Ida").await;
    assert_eq!(join(&house, &agent).await.map_err(|error| code(&error)), Err("CAPACITY"));
    assert_eq!(house.bare(Method::GET, "/readyz").await.status, StatusCode::OK);
    let metrics = house.bare(Method::GET, "/metrics").await.text;
    assert!(metrics.contains("\ncallbridge_admission_open 0\n"), "{metrics}");
    let refused = r#"callbridge_admission_refused_total{reason="pressure"} 2"#;
    assert!(metrics.contains(refused), "{metrics}");
}

#[tokio::test]
async fn who_may_not_come_in_is_told_that_and_not_that_it_is_full() {
    let late = Duration::from_millis(10);
    let policy = AdmissionPolicy { late, late_percent: 1, ..AdmissionPolicy::OPEN };
    let house = House::admitting(policy).await;
    let made = house.ask(Method::POST, "/api/rooms", Some(json!({"name": "office"}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    press(&house).await;
    let refused = knock_at(&house, "office").await;
    assert_eq!(refused.refusal(), (401, "ROOM_UNAUTHORIZED".into()));
}

#[tokio::test]
async fn a_rush_of_callers_waits_in_line_and_its_end_is_told_when_to_come_back() {
    let policy = AdmissionPolicy { setups_per_second: 4, ..AdmissionPolicy::OPEN };
    let house = House::admitting(policy).await;
    let answers = join_all((0..20).map(|_| knock(&house))).await;
    let refused: Vec<_> =
        answers.iter().filter(|one| one.status == StatusCode::SERVICE_UNAVAILABLE).collect();
    // An offer that makes no sense has got through the door.
    let taken = answers.iter().filter(|one| one.status == StatusCode::BAD_REQUEST).count();
    assert_eq!(taken + refused.len(), answers.len());
    assert!((14..20).contains(&taken), "ten at once, and four in a second, not {taken}");
    for answer in refused {
        assert_eq!(answer.refusal(), (503, "CAPACITY".into()));
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn over_the_cap_no_agent_joins_until_another_has_left() {
    let house = House::admitting(AdmissionPolicy { calls_max: 1, ..AdmissionPolicy::OPEN }).await;
    let (first, _client) = agent(&house, "Ida").await;
    let (second, _other) = agent(&house, "Bob").await;
    join(&house, &first).await.expect("it joins");
    let refused = join(&house, &second).await.expect_err("it is one too many");
    assert_eq!(code(&refused), "CAPACITY");
    assert!(refused.to_string().ends_with("try again in 5 s"), "{refused}");
    let again = join(&house, &first).await.expect_err("it is there already");
    assert_eq!(code(&again), "ALREADY_IN_CALL");
    house.gateway.delete(&owner(), &first).await.expect("it ends");
    join(&house, &second).await.expect("there is a place");
    let metrics = house.bare(Method::GET, "/metrics").await.text;
    assert!(metrics.contains(r#"admission_refused_total{reason="calls_max"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"calls_ended_total{reason="deleted"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_join_that_the_agent_refuses_keeps_no_place() {
    let house = House::admitting(AdmissionPolicy { calls_max: 1, ..AdmissionPolicy::OPEN }).await;
    let mute = json!({"name": "a", "agentType": "HUMA-0.1", "metadata": {}});
    let mute = AgentId::new(house.agent(mute).await);
    let _client = house.gateway.subscribe(&owner(), &mute).await.expect("it listens");
    let refused = join(&house, &mute).await.expect_err("it has no voice");
    assert_eq!(code(&refused), "VOICE_NOT_ENABLED");
    let (other, _client) = agent(&house, "Ida").await;
    join(&house, &other).await.expect("there is a place");
}

/// Lets frames be late until the gateway notices.
async fn press(house: &House) {
    while house.gateway.figures().takes_calls {
        house.gateway.meter().observe(Stage::PacerLate, Duration::from_millis(30));
        tokio::task::yield_now().await;
    }
}

/// A caller with an offer that makes no sense.
async fn knock(house: &House) -> Answer {
    knock_at(house, "hall").await
}

async fn knock_at(house: &House, room: &str) -> Answer {
    let request = Request::post(format!("/rooms/{room}/whip"));
    let request = request.header("content-type", "application/sdp");
    house.send(request.body(Body::from("v=0")).expect("a request")).await
}

/// An agent with a voice, and a client of it.
async fn agent(house: &House, name: &str) -> (AgentId, Subscription) {
    let metadata = json!({"voice": {"enabled": true}, "model": {"profile": SILENT}});
    let agent = json!({"name": name, "agentType": "HUMA-0.1", "metadata": metadata});
    let id = AgentId::new(house.agent(agent).await);
    let client = house.gateway.subscribe(&owner(), &id).await.expect("it listens");
    (id, client)
}

async fn join(house: &House, agent: &AgentId) -> Result<(), CommandError> {
    let request = JoinRequest {
        call: CallId::new(format!("call_{agent}")),
        room_url: "rooms/hall".into(),
        token: None,
        participant_name: None,
    };
    house.gateway.command(agent, Command::Join(request)).await
}

fn code(error: &CommandError) -> &'static str {
    match error {
        CommandError::Rejected(rejection) => Rejection::code(rejection),
        CommandError::Busy => "QUEUE_FULL",
        CommandError::Gone => "gone",
    }
}

fn owner() -> callbridge::ids::UserId {
    callbridge::ids::UserId::new("usr_bootstrap")
}
