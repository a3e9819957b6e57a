//! REST and rooms over HTTP, asked as a service: shapes, refusals, and who may see what.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, Request, StatusCode};
use futures_util::StreamExt as _;
use harness::{ADMIN, Answer, House, KEY};
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[tokio::test]
async fn without_a_valid_key_nothing_is_told() {
    let house = House::open().await;
    for key in [None, Some("ak_wrong"), Some("")] {
        let mut request = Request::builder().uri("/api/agents");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let answer = house.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.refusal(), (401, "UNAUTHORIZED".into()));
    }
    let bearer = Request::builder().uri("/api/agents").header("authorization", bearer(KEY));
    let answer = house.send(bearer.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn an_agent_is_made_read_listed_and_ended() {
    let house = House::open().await;
    let body = json!({
        "name": "Ida", "agentType": "HUMA-0.1", "ttlSeconds": 3600,
        "metadata": {"personality": "calm", "unknown": {"kept": [1, null]}},
    });
    let made = house.ask(Method::POST, "/api/agents", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let agent = made.json();
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("/api/agents/{}", agent["id"].as_str().expect("an id")));
    assert_eq!(agent["state"], "created");
    assert_eq!(agent["activity"], "idle");
    assert_eq!((&agent["call"], &agent["userId"]), (&Value::Null, &Value::Null));
    assert_eq!(agent["clients"], 0);
    assert_eq!(agent["metadata"], json!({"personality": "calm", "unknown": {"kept": [1, null]}}));
    let times = ["createdAt", "expiresAt"].map(|field| instant(&agent[field]));
    assert_eq!(times[1].as_millisecond() - times[0].as_millisecond(), 3_600_000);

    assert_eq!(house.ask(Method::GET, &path, None).await.json(), agent);
    let list = house.ask(Method::GET, "/api/agents", None).await.json();
    assert_eq!(list, json!({"agents": [agent], "nextCursor": null}));

    let ended = house.ask(Method::DELETE, &path, None).await;
    assert_eq!((ended.status, ended.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for method in [Method::GET, Method::DELETE] {
        let gone = house.ask(method, &path, None).await;
        assert_eq!(gone.refusal(), (404, "AGENT_NOT_FOUND".into()));
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused_and_never_as_422() {
    let house = House::open().await;
    let post = |kind: &str, body: Vec<u8>| {
        let request = Request::builder().method(Method::POST).uri("/api/agents");
        let request = request.header("x-api-key", KEY).header("content-type", kind);
        house.send(request.body(Body::from(body)).expect("a request"))
    };
    let invalid = (400, "VALIDATION_ERROR".to_owned());
    assert_eq!(post("application/json", b"{\"name\":".to_vec()).await.refusal(), invalid);
    assert_eq!(post("application/json", vec![0xff]).await.refusal(), invalid);
    assert_eq!(post("application/json", Vec::new()).await.refusal(), invalid);
    assert_eq!(post("application/json; charset=utf-8", b"[]".to_vec()).await.refusal(), invalid);
    let form = post("application/x-www-form-urlencoded", b"name=a".to_vec()).await;
    assert_eq!(form.refusal(), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
    let large = post("application/json", vec![b' '; (8 << 20) + 1]).await;
    assert_eq!(large.refusal(), (413, "PAYLOAD_TOO_LARGE".into()));
}

#[tokio::test]
async fn every_mistake_of_a_body_is_named() {
    let house = House::open().await;
    let body = json!({"name": "", "agentType": "OTHER", "metadata": {"tools": 5}});
    let answer = house.ask(Method::POST, "/api/agents", Some(body)).await;
    assert_eq!(answer.refusal(), (400, "VALIDATION_ERROR".into()));
    let body = answer.json();
    let paths: Vec<_> = body["details"]
        .as_array()
        .expect("details")
        .iter()
        .map(|detail| detail["path"].as_str().expect("a path"))
        .collect();
    assert_eq!(paths, ["name", "agentType", "metadata.tools"]);
}

#[tokio::test]
async fn unknown_paths_and_methods_have_the_same_envelope() {
    let house = House::open().await;
    let nowhere = house.ask(Method::GET, "/api/nowhere", None).await;
    assert_eq!(nowhere.refusal(), (404, "NOT_FOUND".into()));
    let wrong = house.ask(Method::PUT, "/api/agents", None).await;
    assert_eq!(wrong.refusal(), (405, "METHOD_NOT_ALLOWED".into()));
    let allowed = wrong.header("allow");
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    let query = house.ask(Method::GET, "/api/agents?limit=0", None).await;
    assert_eq!(query.refusal(), (400, "VALIDATION_ERROR".into()));
    let cursor = house.ask(Method::GET, "/api/agents?cursor=x", None).await;
    assert_eq!(cursor.refusal(), (400, "VALIDATION_ERROR".into()));
}

#[tokio::test]
async fn a_user_has_one_live_agent() {
    let house = House::open().await;
    let mut body = minimal();
    body["userId"] = json!("u1");
    let first = house.agent(body.clone()).await;
    let second = house.ask(Method::POST, "/api/agents", Some(body.clone())).await;
    assert_eq!(second.refusal(), (409, "DUPLICATE_SESSION".into()));
    assert_eq!(second.json()["agentId"], first.as_str());

    body["onDuplicate"] = json!("return");
    let again = house.ask(Method::POST, "/api/agents", Some(body.clone())).await;
    assert_eq!((again.status, &again.json()["id"]), (StatusCode::OK, &json!(first)));

    house.ask(Method::DELETE, &format!("/api/agents/{first}"), None).await;
    assert_ne!(house.agent(body).await, first);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let house = House::open().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(house.agent(minimal()).await);
    }
    let ids = |page: &Value| -> Vec<String> {
        let agents = page["agents"].as_array().expect("agents").iter();
        agents.map(|agent| agent["id"].as_str().expect("an id").to_owned()).collect()
    };
    let first = house.ask(Method::GET, "/api/agents?limit=2", None).await.json();
    let cursor = first["nextCursor"].as_str().expect("more");
    let path = format!("/api/agents?limit=2&cursor={cursor}");
    let second = house.ask(Method::GET, &path, None).await.json();
    assert_eq!(second["nextCursor"], Value::Null);
    let mut seen = [ids(&first), ids(&second)].concat();
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
}

#[tokio::test]
async fn users_and_keys_are_the_operators_business_and_each_users_own() {
    let house = House::open().await;
    let user = as_admin(&house, Method::POST, "/api/users", json!({"email": "a@b.c"})).await;
    assert_eq!(user.status, StatusCode::CREATED, "{}", user.text);
    let path = format!("/api/users/{}", user.json()["id"].as_str().expect("an id"));
    let taken = as_admin(&house, Method::POST, "/api/users", json!({"email": "A@b.c"})).await;
    assert_eq!(taken.refusal(), (409, "EMAIL_TAKEN".into()));

    let keys = format!("{path}/api-keys");
    let key = as_admin(&house, Method::POST, &keys, json!({"name": "laptop"})).await;
    assert_eq!(key.status, StatusCode::CREATED, "{}", key.text);
    let text = key.json()["key"].as_str().expect("a key").to_owned();
    assert!(text.starts_with("ak_"));

    let own = as_bearer(&house, &text, Method::GET, &path, json!({})).await;
    let shown = own.json();
    assert_eq!(shown["apiKeys"][0]["name"], "laptop");
    assert_eq!(shown["apiKeys"][0]["keyPreview"], format!("...{}", &text[text.len() - 4..]));
    assert!(!own.text.contains(&text), "a key is told once");

    let foreign = house.ask(Method::GET, &path, None).await;
    assert_eq!(foreign.refusal(), (404, "NOT_FOUND".into()));
    let body = json!({"email": "c@d.e"});
    let no_admin = house.ask(Method::POST, "/api/users", Some(body.clone())).await;
    assert_eq!(no_admin.refusal(), (403, "FORBIDDEN".into()));
    let nobody = as_bearer(&house, "wrong", Method::POST, "/api/users", body).await;
    assert_eq!(nobody.refusal(), (401, "UNAUTHORIZED".into()));

    let key_path = format!("{keys}/{}", key.json()["id"].as_str().expect("an id"));
    let revoked = as_bearer(&house, &text, Method::DELETE, &key_path, json!({})).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let shut = as_bearer(&house, &text, Method::GET, &path, json!({})).await;
    assert_eq!(shut.refusal(), (401, "UNAUTHORIZED".into()));
}

#[tokio::test]
async fn anothers_agent_is_as_good_as_none() {
    let house = House::open().await;
    let id = house.agent(minimal()).await;
    let user = as_admin(&house, Method::POST, "/api/users", json!({"email": "a@b.c"})).await;
    let user = user.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/users/{user}/api-keys");
    let key = as_admin(&house, Method::POST, &path, json!({})).await.json();
    let key = key["key"].as_str().expect("a key");
    for method in [Method::GET, Method::DELETE] {
        let path = format!("/api/agents/{id}");
        let answer = as_bearer(&house, key, method, &path, json!({})).await;
        assert_eq!(answer.refusal(), (404, "AGENT_NOT_FOUND".into()));
    }
    let list = as_bearer(&house, key, Method::GET, "/api/agents", json!({})).await.json();
    assert_eq!(list["agents"], json!([]));
}

#[tokio::test]
async fn a_draining_gateway_says_so_and_takes_nothing_new() {
    let house = House::open().await;
    assert_eq!(house.ask(Method::GET, "/readyz", None).await.status, StatusCode::OK);
    house.gateway.drain(Duration::ZERO).await;
    assert_eq!(house.ask(Method::GET, "/healthz", None).await.status, StatusCode::OK);
    let ready = house.ask(Method::GET, "/readyz", None).await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!ready.header("retry-after").is_empty());
    let create = house.ask(Method::POST, "/api/agents", Some(minimal())).await;
    assert_eq!(create.refusal(), (503, "SERVER_SHUTDOWN".into()));
    assert!(!create.header("retry-after").is_empty());
}

#[tokio::test]
async fn an_owner_sees_what_all_own_agents_tell_and_no_others() {
    let house = House::open().await;
    let stranger = key_of_another(&house).await;
    let mut own = feed(&house, KEY).await;
    let mut other = feed(&house, &stranger).await;
    let make =
        async |key| as_bearer(&house, key, Method::POST, "/api/agents", minimal()).await.json();
    let (mine, theirs) = (make(KEY).await, make(&stranger).await);
    let path = |agent: &Value| format!("/api/agents/{}", agent["id"].as_str().expect("an id"));
    let shown = house.ask(Method::GET, &path(&mine), None).await.json();
    assert_eq!(shown["clients"], 0, "who watches is no client");
    for (key, agent) in [(&*stranger, &theirs), (KEY, &mine)] {
        let ended = as_bearer(&house, key, Method::DELETE, &path(agent), json!(null)).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT);
    }
    for (feed, agent) in [(&mut own, &mine), (&mut other, &theirs)] {
        let told = next_told(feed).await.expect("an event");
        assert_eq!((&told["agentId"], &told["agentName"]), (&agent["id"], &agent["name"]));
        let event = &told["event"];
        assert_eq!((&event["type"], &event["seq"]), (&json!("state"), &json!(1)), "{told}");
        assert_eq!(next_told(feed).await.expect("an event")["event"]["code"], "AGENT_DELETED");
    }
    house.gateway.drain(Duration::ZERO).await;
    assert_eq!(next_told(&mut own).await, None, "the feed ends with the gateway");
    let refused = house.bare(Method::GET, "/api/feed").await;
    assert_eq!(refused.refusal().0, 503);
}

#[tokio::test]
async fn a_feed_ends_with_the_key_that_has_opened_it() {
    let house = House::open().await;
    let (key, path) = house.spare_key().await;
    let (mut ended, mut other) = (feed(&house, &key).await, feed(&house, KEY).await);
    house.ask(Method::DELETE, &path, None).await;
    assert_eq!(next_told(&mut ended).await, None);
    let id = house.agent(minimal()).await;
    house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    assert_eq!(next_told(&mut other).await.expect("an event")["agentId"], json!(id));
}

#[tokio::test]
async fn the_console_comes_with_its_modules_and_a_policy() {
    let house = House::open().await;
    let page = house.bare(Method::GET, "/console").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    let script = house.bare(Method::GET, "/assets/console/console.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let missing = house.bare(Method::GET, "/assets/console/nothing.js").await;
    assert_eq!(missing.refusal(), (404, "NOT_FOUND".into()));
}

#[tokio::test]
async fn the_room_page_comes_with_its_script_and_a_policy() {
    let house = House::open().await;
    let page = house.ask(Method::GET, "/rooms/kitchen", None).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(page.text.contains(r#"data-open="true""#), "the room is open");
    let script = house.ask(Method::GET, "/assets/room.js", None).await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let client = house.ask(Method::GET, "/assets/callbridge.js", None).await;
    assert_eq!(client.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(client.header("access-control-allow-origin"), "*", "any page may import it");
    let bad = house.ask(Method::GET, "/rooms/no%20such%2Fname", None).await;
    assert_eq!(bad.refusal(), (404, "ROOM_NOT_FOUND".into()));
}

#[tokio::test]
async fn whip_refuses_what_makes_no_sense_and_lets_other_origins_read_it() {
    let house = House::open().await;
    let whip = |kind: &str, body: &str| {
        let request = Request::builder().method(Method::POST).uri("/rooms/kitchen/whip");
        let request = request.header("content-type", kind);
        house.send(request.body(Body::from(body.to_owned())).expect("a request"))
    };
    let json = whip("application/json", "{}").await;
    assert_eq!(json.refusal(), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
    assert_eq!(json.header("access-control-allow-origin"), "*");
    let sdp = whip("application/sdp", "this is no session description").await;
    assert_eq!(sdp.refusal(), (400, "MEDIA_FAILED".into()));
    let large = whip("application/sdp", &"a=x\r\n".repeat(20_000)).await;
    assert_eq!(large.refusal(), (413, "PAYLOAD_TOO_LARGE".into()));

    let preflight = house.ask(Method::OPTIONS, "/rooms/kitchen/whip", None).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert!(preflight.header("access-control-allow-methods").contains("DELETE"));
    assert!(preflight.header("access-control-expose-headers").contains("Location"));
    assert_eq!(preflight.header("accept-post"), "application/sdp");

    let path = "/rooms/kitchen/participants/p_nobody";
    assert_eq!(house.ask(Method::DELETE, path, None).await.status, StatusCode::NOT_FOUND);
    let patch = house.ask(Method::PATCH, path, Some(json!({}))).await;
    assert_eq!(patch.refusal(), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
}

#[tokio::test]
async fn a_page_of_another_host_enters_and_watches_no_open_room_whatever_token_it_shows() {
    let house = House::open().await;
    for (method, path) in [
        (Method::POST, "/rooms/kitchen/whip"),
        (Method::GET, "/rooms/kitchen/events"),
        (Method::GET, "/rooms/kitchen/events?participant=p_any"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "call.example").header("origin", "https://else.where");
        let request = request.header("authorization", "Bearer rt_any");
        let request = request.header("content-type", "application/sdp").body(Body::from("v=0"));
        let refused = house.send(request.expect("a request")).await;
        assert_eq!(refused.refusal(), (401, "ROOM_UNAUTHORIZED".into()), "{path}");
        assert_eq!(refused.header("access-control-allow-origin"), "*", "the page can read why");
    }
}

#[tokio::test]
async fn captions_begin_with_who_is_there() {
    use futures_util::StreamExt as _;
    let house = House::open().await;
    let request = Request::builder().uri("/rooms/kitchen/events");
    let request = request.body(Body::empty()).expect("a request");
    let response = house.router.clone().oneshot(request).await.expect("it never fails");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = events.next().await.expect("an event").expect("no error");
    assert_eq!(first, "data: {\"type\":\"participants\",\"participants\":[]}\n\n");
}

#[tokio::test]
async fn no_key_and_no_prompt_reaches_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    // This runtime has one thread, so its log is the log of everything below.
    let _guard = tracing::subscriber::set_default(subscriber);
    let house = House::open().await;
    let mut body = minimal();
    body["metadata"]["instructions"] = json!("never mention the heron");
    let id = house.agent(body.clone()).await;
    body["metadata"]["tools"] = json!("the heron");
    house.ask(Method::POST, "/api/agents", Some(body)).await;
    house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    as_admin(&house, Method::POST, "/api/users", json!({"email": "a@b.c"})).await;
    let text = String::from_utf8(log.0.lock().expect("whole").clone()).expect("text");
    assert!(!text.is_empty(), "something is logged at DEBUG");
    for secret in [KEY, ADMIN, "heron"] {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

fn minimal() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}

async fn as_admin(house: &House, method: Method, path: &str, body: Value) -> Answer {
    as_bearer(house, ADMIN, method, path, body).await
}

async fn as_bearer(house: &House, token: &str, method: Method, path: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", bearer(token));
    let request = request.header("content-type", "application/json");
    house.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn instant(value: &Value) -> jiff::Timestamp {
    let text = value.as_str().expect("a time");
    assert!(text.ends_with('Z') && text.len() == 24, "{text}");
    text.parse().expect("ISO-8601")
}

/// Where the log of a test goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The events of a feed, as they come.
async fn feed(house: &House, key: &str) -> BodyDataStream {
    let request = Request::builder().uri("/api/feed").header("x-api-key", key);
    let request = request.body(Body::empty()).expect("a request");
    let answer = house.router.clone().oneshot(request).await.expect("it never fails");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer.into_body().into_data_stream()
}

/// What a feed tells next; nothing when it has ended.
async fn next_told(feed: &mut BodyDataStream) -> Option<Value> {
    let chunk = tokio::time::timeout(PATIENCE, feed.next()).await.expect("it tells something")?;
    let text = String::from_utf8(chunk.expect("no error").to_vec()).expect("text");
    let data = text.trim().strip_prefix("data: ").expect("data");
    Some(serde_json::from_str(data).expect("JSON"))
}

async fn key_of_another(house: &House) -> String {
    let user = as_admin(house, Method::POST, "/api/users", json!({"email": "f@b.c"})).await.json();
    let path = format!("/api/users/{}/api-keys", user["id"].as_str().expect("an id"));
    let key = as_admin(house, Method::POST, &path, json!({})).await.json();
    key["key"].as_str().expect("a key").to_owned()
}

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(10);
