//! What REST refuses before anyone looks at it: too much, too often, at the wrong moment.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use callbridge::api::Rates;
use harness::{ADMIN, Answer, House, KEY};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let house = House::open_with(Rates { requests_per_second: 1, ..Rates::default() }).await;
    let mut answered = 0;
    let refused = loop {
        let answer = house.ask(Method::GET, "/api/agents", None).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        answered += 1;
        assert!(answered < 100, "there is no limit");
    };
    assert!(answered >= 2, "twice the rate may come at once, not {answered}");
    assert_eq!(refused.refusal(), (429, "RATE_LIMITED".into()));
    assert_eq!(refused.header("retry-after"), "1");
    let unknown = with_key(&house, "ak_unknown").await;
    assert_eq!(unknown.refusal(), (401, "UNAUTHORIZED".into()));
    let other = another_key(&house).await;
    assert_eq!(with_key(&house, &other).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_tries_wrong_keys_must_wait() {
    let rates = Rates { wrong_keys_per_second: 1, ..Rates::default() };
    let mut house = House::open_with(rates).await;
    let address = house.serve().await;
    let mut refused = 0;
    let last = loop {
        let (status, head) = get(address, "ak_wrong").await;
        if status != 401 {
            break (status, head);
        }
        refused += 1;
        assert!(refused < 100, "there is no limit");
    };
    assert!(refused >= 5, "five times the rate may come at once, not {refused}");
    assert_eq!(last.0, 429);
    let seconds: u64 = last.1.split("retry-after: ").nth(1).map_or(0, |rest| {
        rest.lines().next().and_then(|line| line.parse().ok()).unwrap_or_default()
    });
    assert!(seconds >= 1, "{}", last.1);
    let inside = house.ask(Method::GET, "/api/agents", None).await;
    assert_eq!(inside.status, StatusCode::OK, "it came from no address");
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_counted_one_by_one() {
    let rates = Rates { wrong_keys_per_second: 1, ..Rates::default() };
    let mut house = House::behind_proxy(rates).await;
    let address = house.serve().await;
    let guesser = "ak_wrong\r\nX-Forwarded-For: 203.0.113.9";
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(get(address, guesser).await.0);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let other = get(address, "ak_wrong\r\nX-Forwarded-For: 203.0.113.10").await;
    assert_eq!(other.0, 401, "somebody else has not guessed yet");
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_counts_as_one_whatever_they_say() {
    let rates = Rates { wrong_keys_per_second: 1, ..Rates::default() };
    let mut house = House::open_with(rates).await;
    let address = house.serve().await;
    let mut statuses = Vec::new();
    for turn in 0..20 {
        let spoofed = format!("ak_wrong\r\nX-Forwarded-For: 203.0.113.{turn}");
        statuses.push(get(address, &spoofed).await.0);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

#[tokio::test]
async fn right_keys_do_not_count_as_wrong_ones() {
    let rates = Rates { wrong_keys_per_second: 1, ..Rates::default() };
    let mut house = House::open_with(rates).await;
    let address = house.serve().await;
    for _ in 0..20 {
        assert_eq!(get(address, KEY).await.0, 200);
    }
}

#[tokio::test]
async fn while_it_goes_down_all_of_rest_says_when_to_come_back() {
    let house = House::open().await;
    let id = house.agent(json!({"name": "a", "agentType": "HUMA-0.1", "metadata": {}})).await;
    house.gateway.drain(Duration::ZERO).await;
    let agent = format!("/api/agents/{id}");
    for (method, path) in [
        (Method::GET, "/api/agents"),
        (Method::POST, "/api/agents"),
        (Method::GET, &agent),
        (Method::PATCH, &agent),
        (Method::PUT, &agent),
        (Method::DELETE, &agent),
        (Method::POST, &format!("{agent}/handoff")),
        (Method::GET, "/api/users/usr_bootstrap"),
    ] {
        let refused = house.ask(method, path, Some(json!({}))).await;
        assert_eq!(refused.refusal(), (503, "SERVER_SHUTDOWN".into()), "{path}");
        assert_eq!(refused.header("retry-after"), "5", "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_its_body_and_405_tells_what_is_allowed() {
    let house = House::open().await;
    let id = house.agent(json!({"name": "a", "agentType": "HUMA-0.1", "metadata": {}})).await;
    let agent = format!("/api/agents/{id}");
    for path in ["/api/agents", &agent, "/healthz", "/readyz"] {
        let head = house.ask(Method::HEAD, path, None).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""), "{path}");
        assert_eq!(head.header("content-type"), "application/json", "{path}");
    }
    for (method, path, allowed) in [
        (Method::POST, agent.as_str(), "GET,HEAD,PATCH,PUT,DELETE"),
        (Method::DELETE, "/api/agents", "GET,HEAD,POST"),
        (Method::GET, &format!("{agent}/handoff"), "POST"),
        (Method::PATCH, "/api/users", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
    ] {
        let refused = house.ask(method, path, None).await;
        assert_eq!(refused.refusal(), (405, "METHOD_NOT_ALLOWED".into()), "{path}");
        assert_eq!(refused.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_read_in_two_ways_is_refused_with_the_place() {
    let house = House::open().await;
    let deep = format!(r#"{{"name": {}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let deeper = format!(r#"{{"name": {}"#, "[".repeat(1000));
    for (body, place) in [
        (r#"{"name": "a", "name": "b"}"#, "name"),
        (
            r#"{"metadata": {"voice": {"enabled": true, "enabled": false}}}"#,
            "metadata.voice.enabled",
        ),
        (r#"{"name": "a"} {}"#, ""),
        (r#"{"unknown": {"__proto__": {}}}"#, "unknown"),
        (r#"{"__proto__": {}}"#, "__proto__"),
        (&deep, "name"),
        (&deeper, ""),
        ("", ""),
        ("null", ""),
    ] {
        let answer = send(&house, Method::POST, "/api/agents", body.to_owned().into_bytes()).await;
        assert_eq!(answer.refusal(), (400, "VALIDATION_ERROR".into()), "{body}");
        assert_eq!(answer.json()["details"][0]["path"], place, "{body}");
    }
}

#[tokio::test]
async fn a_body_may_have_eight_mebibytes_and_metadata_less() {
    let house = House::open().await;
    let id = house.agent(json!({"name": "a", "agentType": "HUMA-0.1", "metadata": {}})).await;
    let agent = format!("/api/agents/{id}");
    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2)).into_bytes();
    let whole = send(&house, Method::PATCH, &agent, padded(8 << 20)).await;
    assert_eq!(whole.status, StatusCode::OK, "{}", whole.text);
    let large = send(&house, Method::PATCH, &agent, padded((8 << 20) + 1)).await;
    assert_eq!(large.refusal(), (413, "PAYLOAD_TOO_LARGE".into()));
    let metadata = json!({"metadata": {"notes": "x".repeat(256 << 10)}});
    let refused = house.ask(Method::PATCH, &agent, Some(metadata)).await;
    assert_eq!(refused.json()["details"][0]["path"], "metadata");
}

async fn send(house: &House, method: Method, path: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-api-key", KEY);
    house.send(request.body(Body::from(body)).expect("a request")).await
}

async fn with_key(house: &House, key: &str) -> Answer {
    let request = Request::builder().uri("/api/agents").header("x-api-key", key);
    house.send(request.body(Body::empty()).expect("a request")).await
}

/// A key of another user.
async fn another_key(house: &House) -> String {
    let make = |path: String, body: serde_json::Value| {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header("authorization", format!("Bearer {ADMIN}"));
        house.send(request.body(Body::from(body.to_string())).expect("a request"))
    };
    let user = make("/api/users".into(), json!({"email": "a@b.c"})).await.json();
    let path = format!("/api/users/{}/api-keys", user["id"].as_str().expect("an id"));
    make(path, json!({})).await.json()["key"].as_str().expect("a key").to_owned()
}

/// Asks for the agents over the network; the status, and the head of the answer in lower case.
async fn get(address: SocketAddr, key: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "GET /api/agents HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), head)
}
