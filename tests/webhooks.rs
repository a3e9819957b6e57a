//! Webhooks, with a receiver that listens: what comes, signed, in order, again, and to whom.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::{Router, routing};
use callbridge::store::Store;
use callbridge::sys::tasks::{self, Task};
use harness::raw::Raw;
use harness::{ADMIN, Answer, House, KEY, SILENT};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_call_is_told_from_its_beginning_to_the_agents_end() {
    let mut receiver = Receiver::open(&[]).await;
    let (house, url) = house(in_memory().await).await;
    let made = make(&house, &receiver, json!({"description": "ledger"})).await;
    let agent = house.agent(voiced()).await;
    let mut client = call(&url, &agent).await;
    let started = receiver.next().await;
    client.say(json!({"type": "leave-room"})).await;
    let ended = receiver.next().await;
    house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    let over = receiver.next().await;

    let all = [&started, &ended, &over];
    assert_eq!(all.map(Delivery::event), ["call.started", "call.ended", "agent.ended"]);
    for delivery in all {
        assert_eq!(delivery.body["data"]["agentId"], agent, "{}", delivery.text);
        assert_eq!(delivery.body["event"], delivery.event());
        assert!(delivery.is_signed_by(&made["secret"]), "{}", delivery.text);
    }
    let (began, data) = (&started.body["data"], &ended.body["data"]);
    assert!(began["callId"].as_str().expect("an id").starts_with("call_"));
    assert_eq!((&began["roomUrl"], &began["participants"]), (&json!("rooms/hall"), &json!([])));
    assert_eq!((&data["callId"], &data["startedAt"]), (&began["callId"], &began["startedAt"]));
    assert_eq!((&data["reason"], &data["turns"]), (&json!("requested"), &json!(0)));
    assert_eq!(data["latency"]["medianMs"], Value::Null);
    assert!(data["durationMs"].is_u64(), "{data}");
    assert_eq!(over.body["data"]["reason"], "deleted");
    let metrics = house.bare(Method::GET, "/metrics").await.text;
    assert!(metrics.contains("callbridge_webhook_deliveries_total{outcome=\"delivered\"}"));
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_keeps_nobody_from_theirs() {
    let mut receiver = Receiver::open(&[]).await;
    let (house, _) = house(in_memory().await).await;
    // Whoever connects to it is let in, and never heard.
    let silent = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let made = house.ask(Method::POST, "/api/webhooks", Some(json!({"url": url}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    make(&house, &receiver, json!({})).await;
    for _ in 0..3 {
        let agent = house.agent(voiced()).await;
        house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
        assert_eq!(receiver.next().await.body["data"]["agentId"], agent);
    }
    let waiting = house.gateway.store().waiting_deliveries().await.expect("listed");
    assert!(waiting.len() >= 3, "{waiting:?}");
}

#[tokio::test]
async fn the_documentations_examples_tell_genuine_deliveries_from_others() {
    let mut receiver = Receiver::open(&[]).await;
    let (house, _) = house(in_memory().await).await;
    let made = make(&house, &receiver, json!({})).await;
    let agent = house.agent(voiced()).await;
    house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    let delivery = receiver.next().await;
    let secret = made["secret"].as_str().expect("a secret");
    for (language, program, option, call) in EXAMPLES {
        let code = format!("{}\n{call}", example(language));
        let judge = |secret: &str, body: String| {
            let signature = delivery.header("callbridge-signature").to_owned();
            let mut run = Command::new(program);
            run.args([option, code.as_str(), secret, signature.as_str()]);
            said(run, body)
        };
        assert_eq!(judge(secret, delivery.text.clone()).await, "true", "{program}");
        assert_eq!(judge(secret, delivery.text.replace("deleted", "crashed")).await, "false");
        assert_eq!(judge("whsec_other", delivery.text.clone()).await, "false");
    }
}

#[tokio::test]
async fn what_is_not_taken_comes_again_and_lets_others_pass() {
    let mut receiver = Receiver::open(&[500]).await;
    let (house, url) = house(in_memory().await).await;
    make(&house, &receiver, json!({})).await;
    let agent = house.agent(voiced()).await;
    let mut client = call(&url, &agent).await;
    let refused = receiver.next().await;
    client.say(json!({"type": "leave-room"})).await;
    let ended = receiver.next().await;
    let again = receiver.next().await;
    let all = [&refused, &ended, &again].map(Delivery::event);
    assert_eq!(all, ["call.started", "call.ended", "call.started"]);
    assert_eq!((again.id(), &again.text), (refused.id(), &refused.text));
    assert_ne!(ended.id(), refused.id());
}

#[tokio::test]
async fn what_was_not_delivered_is_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::open(&[302]).await;
    let (first, url) = house(in_file(folder.path()).await).await;
    make(&first, &receiver, json!({})).await;
    let agent = first.agent(voiced()).await;
    let client = call(&url, &agent).await;
    let refused = receiver.next().await;
    // As with a crash, nothing is told to anyone, and nothing is flushed but the record.
    first.ask(Method::GET, "/api/calls", None).await;
    drop((client, first));

    let (second, _) = house(in_file(folder.path()).await).await;
    let mut later = [receiver.next().await, receiver.next().await];
    later.sort_by_key(|delivery| delivery.event() == "call.ended");
    let [again, ended] = later;
    assert_eq!((again.id(), again.event()), (refused.id(), "call.started"));
    assert_eq!(
        (ended.event(), &ended.body["data"]["reason"]),
        ("call.ended", &json!("server crashed"))
    );
    assert_eq!(ended.body["data"]["callId"], refused.body["data"]["callId"]);
    drop(second);
}

#[tokio::test]
async fn a_shutdown_keeps_the_ends_of_its_calls_for_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::open(&[]).await;
    let (first, url) = house(in_file(folder.path()).await).await;
    make(&first, &receiver, json!({"events": ["call.ended"]})).await;
    let agent = first.agent(voiced()).await;
    let client = call(&url, &agent).await;
    first.gateway.drain(Duration::ZERO).await;
    drop((client, first));
    let (_second, _) = house(in_file(folder.path()).await).await;
    let ended = receiver.next().await;
    assert_eq!((ended.event(), &ended.body["data"]["reason"]), ("call.ended", &json!("shutdown")));
}

#[tokio::test]
async fn a_deleted_webhook_is_told_nothing_more() {
    let mut receiver = Receiver::open(&[500, 500]).await;
    let (house, url) = house(in_memory().await).await;
    let made = make(&house, &receiver, json!({"events": ["call.started"]})).await;
    let agent = house.agent(voiced()).await;
    let _client = call(&url, &agent).await;
    receiver.next().await;
    let path = format!("/api/webhooks/{}", made["id"].as_str().expect("an id"));
    let deleted = house.ask(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let again = house.ask(Method::DELETE, &path, None).await;
    assert_eq!(again.refusal(), (404, "NOT_FOUND".into()));
    let waiting = house.gateway.store().waiting_deliveries().await.expect("listed");
    assert_eq!(waiting, []);
    // What another one is told from here on comes, and comes again, without the first one's.
    make(&house, &receiver, json!({"events": ["agent.ended"]})).await;
    house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    for _ in 0..2 {
        assert_eq!(receiver.next().await.event(), "agent.ended");
    }
}

#[tokio::test]
async fn other_owners_see_and_hear_nothing() {
    let (mut own, mut foreign) = (Receiver::open(&[]).await, Receiver::open(&[]).await);
    let (house, _) = house(in_memory().await).await;
    let key = other_key(&house).await;
    let made = make(&house, &own, json!({})).await;
    let theirs = as_user(&house, &key, Method::POST, "/api/webhooks", json!({"url": foreign.url}));
    assert_eq!(theirs.await.status, StatusCode::CREATED);
    let list = as_user(&house, &key, Method::GET, "/api/webhooks", Value::Null).await.json();
    assert_eq!(list["webhooks"].as_array().expect("a list").len(), 1);
    assert_eq!(list["webhooks"][0]["url"], foreign.url);
    let path = format!("/api/webhooks/{}", made["id"].as_str().expect("an id"));
    let tried = as_user(&house, &key, Method::DELETE, &path, Value::Null).await;
    assert_eq!(tried.refusal(), (404, "NOT_FOUND".into()));

    let mine = house.agent(voiced()).await;
    house.ask(Method::DELETE, &format!("/api/agents/{mine}"), None).await;
    assert_eq!(own.next().await.body["data"]["agentId"], mine);
    let other = as_user(&house, &key, Method::POST, "/api/agents", voiced()).await.json();
    let other = other["id"].as_str().expect("an id");
    as_user(&house, &key, Method::DELETE, &format!("/api/agents/{other}"), Value::Null).await;
    assert_eq!(foreign.next().await.body["data"]["agentId"], other, "the first they hear of");
}

#[tokio::test]
async fn a_webhook_is_listed_without_its_secret_and_there_are_ten() {
    let receiver = Receiver::open(&[]).await;
    let (house, _) = house(in_memory().await).await;
    let mut made = make(&house, &receiver, json!({"events": ["agent.ended"]})).await;
    assert!(made["secret"].as_str().expect("a secret").starts_with("whsec_"));
    made.as_object_mut().expect("an object").remove("secret");
    let list = house.ask(Method::GET, "/api/webhooks", None).await;
    assert_eq!(list.json(), json!({"webhooks": [made]}));
    assert_eq!(list.json()["webhooks"][0]["events"], json!(["agent.ended"]));
    for _ in 1..10 {
        make(&house, &receiver, json!({})).await;
    }
    let body = json!({"url": receiver.url});
    let refused = house.ask(Method::POST, "/api/webhooks", Some(body)).await;
    assert_eq!(refused.refusal(), (409, "WEBHOOK_LIMIT".into()));
}

#[tokio::test]
async fn nothing_is_delivered_to_private_addresses_unless_it_is_allowed() {
    let house = House::open().await;
    for url in ["http://127.0.0.1:1/", "https://10.0.0.1/", "http://[::1]/", "http://2130706433/"] {
        let refused = house.ask(Method::POST, "/api/webhooks", Some(json!({"url": url}))).await;
        assert_eq!(refused.refusal(), (400, "VALIDATION_ERROR".into()), "{url}");
        assert_eq!(refused.json()["details"][0]["path"], "url");
    }
    // What a name leads to is known when it is asked.
    let receiver = Receiver::open(&[]).await;
    let url = receiver.url.replace("127.0.0.1", "localhost");
    let made = house.ask(Method::POST, "/api/webhooks", Some(json!({"url": url}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let agent = house.agent(voiced()).await;
    house.ask(Method::DELETE, &format!("/api/agents/{agent}"), None).await;
    let tried = async {
        while !house.bare(Method::GET, "/metrics").await.text.contains(RETRIED_ONCE) {
            tokio::task::yield_now().await;
        }
    };
    in_time(tried).await;
    let mut receiver = receiver;
    assert!(receiver.came.try_recv().is_err(), "nobody has knocked");
}

/// The language of an example, the program that runs it, and how, and what asks it.
const EXAMPLES: [(&str, &str, &str, &str); 2] = [
    (
        "python",
        "python3",
        "-c",
        "import sys; print(str(is_genuine(*sys.argv[1:], sys.stdin.buffer.read())).lower())",
    ),
    (
        "js",
        "node",
        "-e",
        "console.log(isGenuine(...process.argv.slice(1), require('node:fs').readFileSync(0)))",
    ),
];

const RETRIED_ONCE: &str = "callbridge_webhook_deliveries_total{outcome=\"retried\"} 1\n";

/// Somebody else's server, who notes what comes.
struct Receiver {
    url: String,
    came: mpsc::Receiver<Delivery>,
    _serving: Task,
}

/// What came in one request.
struct Delivery {
    headers: HeaderMap,
    text: String,
    body: Value,
}

impl Receiver {
    /// Answers the first requests with these, and then 204.
    async fn open(answers: &[u16]) -> Self {
        let (notes, came) = mpsc::channel(64);
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
        let take = move |headers: HeaderMap, text: String| {
            let (notes, answers) = (notes.clone(), Arc::clone(&answers));
            async move {
                let body = serde_json::from_str(&text).expect("JSON");
                notes.send(Delivery { headers, text, body }).await.expect("the test listens");
                let status = answers.lock().expect("unharmed").pop_front().unwrap_or(204);
                let status = StatusCode::from_u16(status).expect("a status");
                // A redirect would lead back here, and to a second note.
                (status, [("location", "/hook")])
            }
        };
        let router = Router::new().route("/hook", routing::any(take));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let serving = tasks::spawn("receiver", async {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, came, _serving: serving }
    }

    async fn next(&mut self) -> Delivery {
        in_time(self.came.recv()).await.expect("a delivery")
    }
}

impl Delivery {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).expect(name).to_str().expect("text")
    }

    fn event(&self) -> &str {
        self.header("callbridge-event")
    }

    fn id(&self) -> &str {
        self.header("callbridge-delivery")
    }

    /// As a receiver would check it, with what the documentation says.
    fn is_signed_by(&self, secret: &Value) -> bool {
        let signature = self.header("callbridge-signature");
        let (time, signed) = signature.split_once(',').expect("two parts");
        let time = time.strip_prefix("t=").expect("a time");
        let signed = signed.strip_prefix("v1=").expect("a signature");
        let key = secret.as_str().expect("a secret").as_bytes();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let bytes: Vec<_> = (0..signed.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&signed[at..at + 2], 16).expect("hex"))
            .collect();
        let text = format!("{time}.{}", self.text);
        ring::hmac::verify(&key, text.as_bytes(), &bytes).is_ok()
    }
}

/// The first code in this language that the documentation shows on webhooks.
fn example(language: &str) -> &'static str {
    let (_, text) =
        include_str!("../docs/protocol.md").split_once("### Webhooks\n").expect("a section");
    let (_, code) = text.split_once(&format!("```{language}\n")).expect("an example");
    code.split_once("```").expect("its end").0
}

/// What a program says that is told this.
async fn said(mut program: Command, told: String) -> String {
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn().expect("Python and Node.js are installed");
    let mut stdin = child.stdin.take().expect("an ear");
    stdin.write_all(told.as_bytes()).await.expect("it listens");
    drop(stdin);
    let output = in_time(child.wait_with_output()).await.expect("it has run");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A gateway that may tell this machine, served; and where.
async fn house(store: Store) -> (House, String) {
    let mut house = House::hooking(store).await;
    let address = house.serve().await;
    (house, format!("http://{address}"))
}

async fn in_memory() -> Store {
    Store::open("sqlite::memory:").await.expect("a store")
}

async fn in_file(folder: &Path) -> Store {
    let url = format!("sqlite:{}", folder.join("callbridge.db").display());
    Store::open(&url).await.expect("a store")
}

async fn make(house: &House, receiver: &Receiver, mut body: Value) -> Value {
    body["url"] = json!(receiver.url);
    let made = house.ask(Method::POST, "/api/webhooks", Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json()
}

/// A client that has brought its agent into a call.
async fn call(url: &str, agent: &str) -> Raw {
    let mut client = Raw::connect(url, KEY, agent).await;
    client.say(json!({"type": "join-room", "roomUrl": "rooms/hall"})).await;
    client.event("room_joined").await;
    client
}

fn voiced() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {
        "className": "c", "personality": "p", "instructions": "i",
        "voice": {"enabled": true}, "model": {"profile": SILENT}, "tools": [],
    }})
}

/// The key of another user.
async fn other_key(house: &House) -> String {
    let body = json!({"email": "a@b.c"});
    let user = as_user(house, ADMIN, Method::POST, "/api/users", body).await.json();
    let path = format!("/api/users/{}/api-keys", user["id"].as_str().expect("an id"));
    let key = as_user(house, ADMIN, Method::POST, &path, json!({})).await.json();
    key["key"].as_str().expect("a key").to_owned()
}

async fn as_user(house: &House, key: &str, method: Method, path: &str, body: Value) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {key}"));
    let request = request.header("content-type", "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    house.send(request.body(body).expect("a request")).await
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}
