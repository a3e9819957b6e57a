//! What people and their pages ask of a room.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use callbridge::rooms::whip::{Call, Caller};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::harness::{ADMIN, Answer, House};
use super::in_time;

/// Comes into a room as Ann; the call, and the answer that let her in.
pub(crate) async fn call(house: &House, room: &str, token: Option<&str>) -> (Call, Answer) {
    let caller = Caller::prepare(IpAddr::V4(Ipv4Addr::LOCALHOST)).await.expect("a caller");
    let answer = offer(house, room, token, caller.offer()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let call = in_time(caller.connect(&answer.text)).await.expect("the call is up");
    (call, answer)
}

pub(crate) async fn offer(house: &House, room: &str, token: Option<&str>, sdp: &str) -> Answer {
    let request = Request::builder().method(Method::POST);
    let request = request.uri(format!("/rooms/{room}/whip?name=Ann"));
    let mut request = request.header("content-type", "application/sdp");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    house.send(request.body(Body::from(sdp.to_owned())).expect("a request")).await
}

/// Trickles a candidate.
pub(crate) async fn patch(house: &House, path: &str, if_match: Option<&str>) -> Answer {
    let request = Request::builder().method(Method::PATCH).uri(path);
    let mut request = request.header("content-type", "application/trickle-ice-sdpfrag");
    if let Some(tags) = if_match {
        request = request.header("if-match", tags);
    }
    let fragment = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2113937151 127.0.0.1 9 typ host\r\n";
    house.send(request.body(Body::from(fragment)).expect("a request")).await
}

/// The first of a room's captions.
pub(crate) async fn first_caption(house: &House, path: &str, token: Option<&str>) -> String {
    let mut request = Request::builder().uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = house.router.clone().oneshot(request).await.expect("it never fails");
    assert_eq!(response.status(), StatusCode::OK);
    let mut events = response.into_body().into_data_stream();
    let first = in_time(events.next()).await.expect("an event").expect("no error");
    let text = String::from_utf8(first.to_vec()).expect("text");
    text.trim().strip_prefix("data: ").expect("data").to_owned()
}

pub(crate) async fn key_of_another(house: &House) -> String {
    let body = json!({"email": "a@b.c"});
    let user = as_bearer(house, ADMIN, Method::POST, "/api/users", body).await.json();
    let path = format!("/api/users/{}/api-keys", user["id"].as_str().expect("an id"));
    let key = as_bearer(house, ADMIN, Method::POST, &path, json!({})).await.json();
    key["key"].as_str().expect("a key").to_owned()
}

pub(crate) async fn as_bearer(
    house: &House,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json");
    house.send(request.body(Body::from(body.to_string())).expect("a request")).await
}
