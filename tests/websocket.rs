//! The plain WebSocket over a real port: the same protocol, one JSON object a frame.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode};
use callbridge::{api, sys::tasks};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::{ADMIN, Answer, House, KEY};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

#[tokio::test]
async fn refusals_come_before_the_upgrade_as_rest_has_them() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let refusals = [
        (request(address, &id, ""), 401, "UNAUTHORIZED"),
        (request(address, &id, "?apiKey=ak_wrong"), 401, "UNAUTHORIZED"),
        (with(request(address, &id, ""), "authorization", ADMIN), 401, "UNAUTHORIZED"),
        (request(address, "ag_unknown", &format!("?apiKey={KEY}")), 404, "AGENT_NOT_FOUND"),
    ];
    for (request, status, code) in refusals {
        let answer = refused(request).await;
        assert_eq!(answer.refusal(), (status, code.into()));
    }
}

#[tokio::test]
async fn an_expired_agent_is_gone_and_tells_its_clients_so() {
    let (house, address) = served().await;
    let mut body = agent();
    body["ttlSeconds"] = json!(1);
    let id = house.agent(body).await;
    let mut client = Client::connect(address, &id).await;
    assert_eq!(client.event("error").await["code"], "AGENT_EXPIRED");
    client.ends_with(CloseCode::Normal, "AGENT_EXPIRED").await;
    let late = refused(request(address, &id, &format!("?apiKey={KEY}"))).await;
    assert_eq!(late.refusal(), (410, "AGENT_EXPIRED".into()));
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_to_ask_for() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let path = format!("/api/agents/{id}/socket");
    let plain = house.ask(Method::GET, &path, None).await;
    assert_eq!(plain.refusal(), (426, "UPGRADE_REQUIRED".into()));
    assert_eq!(
        (plain.header("upgrade"), plain.header("sec-websocket-version")),
        ("websocket", "13")
    );
    let known = |name, value| with(request(address, &id, &format!("?apiKey={KEY}")), name, value);
    let old = raw(address, known("sec-websocket-version", "8")).await;
    assert!(old.starts_with("HTTP/1.1 426"), "{old}");
    let mut keyless = known("x-a", "b");
    keyless.headers_mut().remove("sec-websocket-key");
    let keyless = raw(address, keyless).await;
    assert!(keyless.starts_with("HTTP/1.1 400"), "{keyless}");
}

#[tokio::test]
async fn nobody_is_let_in_while_the_gateway_goes_down() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    let gateway = house.gateway.clone();
    let drain = tasks::spawn("drain", async move { gateway.drain(Duration::from_secs(5)).await });
    assert_eq!(client.event("error").await["code"], "SERVER_SHUTDOWN");
    client.ends_with(CloseCode::Restart, "SERVER_SHUTDOWN").await;
    assert_eq!(drain.await.expect("a drain"), []);
    let late = refused(request(address, &id, &format!("?apiKey={KEY}"))).await;
    assert_eq!(late.refusal(), (503, "SERVER_SHUTDOWN".into()));
    assert!(!late.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_shutdown_lets_farewells_pass() {
    let house = House::open().await;
    let id = house.agent(agent()).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (gateway, (stop, stopped)) = (house.gateway.clone(), oneshot::channel::<()>());
    let served = api::serve(listener, house.router.clone(), async move {
        let _stopped = stopped.await;
        gateway.drain(Duration::from_secs(5)).await;
    });
    let client = async {
        let mut client = Client::connect(address, &id).await;
        stop.send(()).expect("it is served");
        client.ends_with(CloseCode::Restart, "SERVER_SHUTDOWN").await;
    };
    let (served, ()) = tokio::join!(served, client);
    served.expect("no failure");
}

#[tokio::test]
async fn a_key_may_come_in_three_ways() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let bearer = format!("Bearer {KEY}");
    for request in [
        request(address, &id, &format!("?apiKey={KEY}")),
        with(request(address, &id, ""), "x-api-key", KEY),
        with(request(address, &id, ""), "authorization", &bearer),
    ] {
        let mut client = Client::open(request).await;
        let taken = client.ask(&json!({"type": "interrupt"})).await;
        assert_eq!(taken, json!({"type": "ack", "ack": 1, "ok": true}));
    }
}

#[tokio::test]
async fn an_acknowledgement_comes_before_what_it_brings_about() {
    let (house, address) = served().await;
    let id = house.agent(voiced()).await;
    let mut client = Client::connect(address, &id).await;
    client.event("state").await;
    client.send(&json!({"type": "join-room", "roomUrl": "rooms/a", "ack": "join"})).await;
    let taken = client.next().await;
    assert_eq!(taken, json!({"type": "ack", "ack": "join", "ok": true}));
    let joining = client.event("voice-status").await;
    assert_eq!(joining["status"], "joining");
    assert!(joining["seq"].is_u64() && joining["timestamp"].is_string(), "{joining}");
}

#[tokio::test]
async fn a_refused_message_is_told_once_with_its_reason() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    client.event("state").await;
    let refused = client.ask(&json!({"type": "join-daily-room", "url": "rooms/a"})).await;
    assert_eq!((&refused["ok"], &refused["code"]), (&json!(false), &json!("VOICE_NOT_ENABLED")));
    let told = client.next().await;
    assert_eq!((&told["type"], &told["code"]), (&json!("error"), &json!("VOICE_NOT_ENABLED")));
    assert_eq!(client.ask(&json!({"type": "interrupt"})).await["ok"], true);
}

#[tokio::test]
async fn what_is_no_message_ends_nothing() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    client.event("state").await;
    for frame in [
        Message::text("{"),
        Message::text("[]"),
        Message::text("{}"),
        Message::text(r#"{"type":"dance"}"#),
        Message::text(r#"{"type":"interrupt","ack":{}}"#),
        Message::text(r#"{"type":"say","text":"a","x":{"constructor":1}}"#),
        Message::text(format!(r#"{{"type":"say","text":{}{}}}"#, "[".repeat(900), "]".repeat(900))),
        Message::binary(&b"{}"[..]),
    ] {
        client.0.send(frame.clone()).await.expect("sent");
        let told = client.next().await;
        let expected = (&json!("error"), &json!("BAD_MESSAGE"));
        assert_eq!((&told["type"], &told["code"]), expected, "{frame:?}: {told}");
    }
    assert_eq!(client.ask(&json!({"type": "interrupt"})).await["ok"], true);
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_by_name() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    let text = "x".repeat(8 * 1024 * 1024);
    // The server stops reading in the middle of it.
    let _broken =
        client.0.send(Message::text(json!({"type": "say", "text": text}).to_string())).await;
    client.ends_with(CloseCode::Size, "the message is too large").await;
}

#[tokio::test]
async fn deleting_tells_every_client_and_ends_every_connection() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut clients = [Client::connect(address, &id).await, Client::connect(address, &id).await];
    let path = format!("/api/agents/{id}");
    assert_eq!(house.ask(Method::GET, &path, None).await.json()["clients"], 2);
    let ended = house.ask(Method::DELETE, &path, None).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    let mut told = Vec::new();
    for client in &mut clients {
        told.push(client.event("error").await);
        client.ends_with(CloseCode::Normal, "AGENT_DELETED").await;
    }
    assert_eq!(told[0]["code"], "AGENT_DELETED");
    assert_eq!(told[0], told[1], "the same, with the same place in the order");
}

#[tokio::test]
async fn the_end_of_an_agent_ends_connections_whose_clients_do_nothing() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let client = Client::connect(address, &id).await;
    let MaybeTlsStream::Plain(mut stream) = client.0.into_inner() else { unreachable!("no TLS") };
    house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    let mut told = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut told);
    in_time(read).await.expect("an end");
    assert!(String::from_utf8_lossy(&told).contains("AGENT_DELETED"));
}

#[tokio::test]
async fn a_key_that_is_taken_back_ends_what_it_has_opened_and_nothing_else() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let (key, path) = house.spare_key().await;
    let mut thief = Client::open(request(address, &id, &format!("?apiKey={key}"))).await;
    let mut owner = Client::connect(address, &id).await;
    house.ask(Method::DELETE, &path, None).await;
    assert_eq!(thief.event("error").await["code"], "UNAUTHORIZED");
    thief.ends_with(CloseCode::Policy, "UNAUTHORIZED").await;
    assert_eq!(owner.ask(&json!({"type": "interrupt"})).await["ok"], true);
}

#[tokio::test]
async fn a_client_that_goes_is_gone_for_its_agent() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut leaves = Client::connect(address, &id).await;
    let breaks_off = Client::connect(address, &id).await;
    leaves.0.close(None).await.expect("closed");
    while in_time(leaves.0.next()).await.is_some() {}
    drop(breaks_off);
    let path = format!("/api/agents/{id}");
    let gone = async {
        while house.ask(Method::GET, &path, None).await.json()["clients"] != 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time(gone).await;
}

async fn served() -> (House, SocketAddr) {
    let mut house = House::open().await;
    let address = house.serve().await;
    (house, address)
}

fn agent() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}

fn voiced() -> Value {
    let mut body = agent();
    body["metadata"]["voice"] = json!({"enabled": true});
    body
}

fn request(address: SocketAddr, agent: &str, query: &str) -> Request {
    let url = format!("ws://{address}/api/agents/{agent}/socket{query}");
    url.into_client_request().expect("a request")
}

fn with(mut request: Request, name: &'static str, value: &str) -> Request {
    let value = HeaderValue::from_str(value).expect("a value");
    request.headers_mut().insert(name, value);
    request
}

/// The answer to a handshake that is refused.
async fn refused(request: Request) -> Answer {
    let Err(Error::Http(response)) = connect_async(request).await else {
        unreachable!("it is refused by HTTP")
    };
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(body.unwrap_or_default()).expect("text");
    Answer { status: parts.status, headers: parts.headers, text }
}

/// Sends the head of a request that the library would not send; the answer as it is on the wire.
async fn raw(address: SocketAddr, request: Request) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let uri = request.uri().path_and_query().expect("a path");
    let mut head = format!("GET {uri} HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("{head}\r\n").as_bytes()).await.expect("sent");
    let mut answer = vec![0; 64];
    in_time(stream.read_exact(&mut answer)).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

/// A client that speaks the protocol by hand.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(address: SocketAddr, agent: &str) -> Self {
        Self::open(request(address, agent, &format!("?apiKey={KEY}"))).await
    }

    async fn open(request: Request) -> Self {
        Self(connect_async(request).await.expect("a WebSocket").0)
    }

    async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sent");
    }

    /// Sends a message, and waits for its acknowledgement.
    async fn ask(&mut self, message: &Value) -> Value {
        let mut message = message.clone();
        message["ack"] = json!(1);
        self.send(&message).await;
        self.event("ack").await
    }

    /// The next frame.
    async fn next(&mut self) -> Value {
        loop {
            let message = in_time(self.0.next()).await.expect("a frame, not the end");
            match message.expect("a frame, not a failure") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) => {}
                Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                    unreachable!("only text and pings come before the end")
                }
            }
        }
    }

    /// The next frame of this type.
    async fn event(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Waits for the end of the WebSocket, with this farewell, and of its TCP connection.
    async fn ends_with(&mut self, code: CloseCode, reason: &str) {
        let mut farewell = None;
        while let Some(frame) = in_time(self.0.next()).await {
            match frame {
                Ok(Message::Close(frame)) => farewell = frame,
                Ok(_) => {}
                // The server has not read all that was sent.
                Err(Error::Io(_) | Error::Protocol(_)) => break,
                Err(error) => unreachable!("{error}"),
            }
        }
        let farewell = farewell.expect("a farewell");
        assert_eq!((farewell.code, farewell.reason.as_str()), (code, reason));
    }
}

/// Fails loudly, and soon, where something never comes.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes within 20 s")
}
