//! Socket.IO over a real port, by a client that speaks the protocol by hand.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::{House, KEY};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

#[tokio::test]
async fn refusals_are_connect_errors_with_the_bare_code() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut refused = Vec::new();
    for (query, code) in [
        (format!("apiKey={KEY}"), "MISSING_AGENT_ID"),
        (format!("agentId=&apiKey={KEY}"), "MISSING_AGENT_ID"),
        (format!("agentId={id}"), "UNAUTHORIZED"),
        (format!("agentId={id}&apiKey=ak_wrong"), "UNAUTHORIZED"),
        (format!("agentId=ag_unknown&apiKey={KEY}"), "AGENT_NOT_FOUND"),
    ] {
        let mut client = Client::open(address, &query).await;
        client.send("40").await;
        assert_eq!(client.packet().await, format!(r#"44{{"message":"{code}"}}"#));
        refused.push(client);
    }
    for mut client in refused {
        client.ends().await;
    }
}

#[tokio::test]
async fn credentials_may_come_as_auth_payload() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::open(address, "").await;
    client.send(&format!("40{}", json!({"agentId": id, "apiKey": KEY}))).await;
    assert!(client.packet().await.starts_with("40{"));
}

#[tokio::test]
async fn a_client_is_told_and_let_go_when_its_key_is_taken_back() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let (key, path) = house.spare_key().await;
    let mut client = Client::open(address, &format!("agentId={id}&apiKey={key}")).await;
    client.send("40").await;
    assert!(client.packet().await.starts_with("40{"));
    house.ask(Method::DELETE, &path, None).await;
    assert_eq!(client.event("event", "error").await["code"], "UNAUTHORIZED");
    assert_eq!(client.skip_to("41").await, "41");
    client.ends().await;
}

#[tokio::test]
async fn an_expired_agent_tells_its_clients_and_is_refused_by_name() {
    let (house, address) = served().await;
    let mut body = agent();
    body["ttlSeconds"] = json!(1);
    let id = house.agent(body).await;
    let mut client = Client::connect(address, &id).await;
    let told = client.event("event", "error").await;
    assert_eq!(told["code"], "AGENT_EXPIRED");
    assert_eq!(client.skip_to("41").await, "41");
    client.ends().await;

    let mut late = Client::open(address, &format!("agentId={id}&apiKey={KEY}")).await;
    late.send("40").await;
    assert_eq!(late.packet().await, r#"44{"message":"AGENT_EXPIRED"}"#);
}

#[tokio::test]
async fn deleting_tells_every_client_and_ends_every_connection() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut clients = [Client::connect(address, &id).await, Client::connect(address, &id).await];
    let shown = house.ask(Method::GET, &format!("/api/agents/{id}"), None).await.json();
    assert_eq!((&shown["state"], &shown["clients"]), (&json!("connected"), &json!(2)));

    let ended = house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    for client in &mut clients {
        let told = client.event("event", "error").await;
        assert_eq!(told["code"], "AGENT_DELETED");
        assert!(told["seq"].is_u64() && told["timestamp"].is_string(), "{told}");
        client.skip_to("41").await;
        client.ends().await;
    }
}

#[tokio::test]
async fn an_acknowledgement_comes_before_what_it_brings_about() {
    let (house, address) = served().await;
    let mut client = voiced(&house, address).await;
    client.send(r#"421["join-room",{"roomUrl":"rooms/kitchen"}]"#).await;
    assert_eq!(client.packet().await, r#"431[{"ok":true}]"#);
    let joining = client.event("event", "voice-status").await;
    assert_eq!(joining["status"], "joining");
}

#[tokio::test]
async fn a_refused_command_is_told_to_its_sender_with_its_reason() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    client.event("event", "state").await;
    client.send(r#"427["message",{"type":"join-daily-room","url":"rooms/kitchen"}]"#).await;
    let ack = client.packet().await;
    assert!(ack.starts_with(r#"437[{"ok":false,"code":"VOICE_NOT_ENABLED","message":""#), "{ack}");
    for channel in ["event", "error"] {
        assert_eq!(client.event(channel, "error").await["code"], "VOICE_NOT_ENABLED");
    }
    client.send(r#"42["leave-room"]"#).await;
    assert_eq!(client.event("event", "error").await["code"], "NOT_IN_CALL");
}

#[tokio::test]
async fn a_room_nobody_can_reach_is_told_with_its_reason_and_ends_nothing() {
    let (house, address) = served().await;
    let mut client = voiced(&house, address).await;
    for url in ["https://example.daily.co/room", "sip:somebody", "wav:a.wav", "rooms/no name"] {
        let join = json!(["message", {"type": "join-room", "roomUrl": url}]);
        client.send(&format!("42{join}")).await;
        assert_eq!(client.event("event", "error").await["code"], "UNSUPPORTED_ROOM", "{url}");
        let back = client.event("event", "state").await;
        assert_eq!((&back["from"], &back["to"]), (&json!("active"), &json!("connected")));
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_had_ends_the_call_and_not_the_agent() {
    let (house, address) = served().await;
    let mut client = voiced(&house, address).await;
    for _ in 0..2 {
        client.send(r#"42["join-room",{"roomUrl":"rooms/kitchen"}]"#).await;
        client.event("event", "room_joined").await;
        let fatal = client.event("event", "transcriber_fatal_error").await;
        assert_eq!(fatal["code"], "MODEL_UNAVAILABLE");
        assert_eq!(client.event("event", "room_left").await["reason"], "MODEL_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_malformed_message_ends_nothing() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut client = Client::connect(address, &id).await;
    client.event("event", "state").await;
    for text in [
        r#"["message"]"#,
        r#"["message","hello"]"#,
        r#"["message",{"type":"dance"}]"#,
        r#"["message",{"type":"huma-0.1-event"}]"#,
        r#"["unheard-of",{}]"#,
        r#"["say",{"text":"a","x":{"__proto__":1}}]"#,
    ] {
        client.send(&format!("429{text}")).await;
        let ack = client.skip_to("439").await;
        assert!(ack.starts_with(r#"439[{"ok":false,"code":"BAD_MESSAGE","#), "{text}: {ack}");
    }
    client.send(r#"421["interrupt"]"#).await;
    assert_eq!(client.skip_to("431").await, r#"431[{"ok":true}]"#);
}

#[tokio::test]
async fn errors_come_on_the_channel_of_the_generation_that_is_spoken() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let old = r#"42["message",{"type":"huma-0.1-event","content":{}}]"#;
    let new = r#"42["message",{"type":"context-update"}]"#;
    for (message, channel, other) in [(old, "event", "error"), (new, "error", "event")] {
        let mut client = Client::connect(address, &id).await;
        client.send(message).await;
        client.send(r#"421["dance"]"#).await;
        let mut packets = Vec::new();
        let mut errors = 0;
        while errors < 2 {
            let packet = client.packet().await;
            errors += usize::from(packet.contains("BAD_MESSAGE") && packet.starts_with("42"));
            packets.push(packet);
        }
        let on = |channel: &str| {
            let start = format!(r#"42["{channel}",{{"type":"error""#);
            packets.iter().filter(|packet| packet.starts_with(&start)).count()
        };
        assert_eq!((on(channel), on(other)), (2, 0), "{packets:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_is_gone_for_its_agent_and_on_the_wire() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let mut stays = Client::connect(address, &id).await;
    let mut client = Client::connect(address, &id).await;
    client.send("41").await;
    client.ends().await;
    let path = format!("/api/agents/{id}");
    while house.ask(Method::GET, &path, None).await.json()["clients"] != 1 {
        tokio::task::yield_now().await;
    }
    stays.send(r#"421["interrupt"]"#).await;
    assert_eq!(stays.skip_to("431").await, r#"431[{"ok":true}]"#);
}

#[tokio::test]
async fn a_session_that_moved_from_polling_to_a_websocket_ends_there() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let polling = "/socket.io/?EIO=4&transport=polling";
    let open = http(address, "GET", &format!("{polling}&agentId={id}&apiKey={KEY}"), "").await;
    let sid = session(&open);
    http(address, "POST", &format!("{polling}&sid={sid}"), "40").await;
    let mut client = Client::dial(address, &format!("sid={sid}")).await;
    client.send("2probe").await;
    assert_eq!(client.packet().await, "3probe");
    client.send("5").await;
    client.skip_to("40{").await;

    house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    assert_eq!(client.event("event", "error").await["code"], "AGENT_DELETED");
    client.skip_to("41").await;
    client.ends().await;
}

#[tokio::test]
async fn a_polling_session_that_has_ended_is_unknown() {
    let (house, address) = served().await;
    let id = house.agent(agent()).await;
    let polling = "/socket.io/?EIO=4&transport=polling";
    let open = http(address, "GET", &format!("{polling}&agentId={id}&apiKey={KEY}"), "").await;
    let path = format!("{polling}&sid={}", session(&open));
    http(address, "POST", &path, "40").await;
    while !http(address, "GET", &path, "").await.contains("40{") {}
    house.ask(Method::DELETE, &format!("/api/agents/{id}"), None).await;
    let mut told = String::new();
    loop {
        let answer = http(address, "GET", &path, "").await;
        if answer.contains("Session ID unknown") {
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            break;
        }
        told.push_str(&answer);
    }
    assert!(told.contains("AGENT_DELETED"), "{told}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_polls() {
    let (_house, address) = served().await;
    let polling = "/socket.io/?EIO=4&transport=polling";
    let open = http(address, "GET", &format!("{polling}&agentId=ag_1&apiKey=ak_wrong"), "").await;
    let path = format!("{polling}&sid={}", session(&open));
    http(address, "POST", &path, "40").await;
    let mut told = String::new();
    while !told.contains("44{") {
        // A ping may come first, and alone.
        told = http(address, "GET", &path, "").await;
    }
    assert!(told.contains(r#"44{"message":"UNAUTHORIZED"}"#), "{told}");
}

async fn served() -> (House, SocketAddr) {
    let mut house = House::open().await;
    let address = house.serve().await;
    (house, address)
}

/// A client of an agent that may join calls; the agent is connected.
async fn voiced(house: &House, address: SocketAddr) -> Client {
    let mut body = agent();
    body["metadata"]["voice"] = json!({"enabled": true});
    let id = house.agent(body).await;
    let mut client = Client::connect(address, &id).await;
    client.event("event", "state").await;
    client
}

fn agent() -> Value {
    json!({"name": "Ida", "agentType": "HUMA-0.1", "metadata": {}})
}

/// A WebSocket on which Engine.IO is spoken by hand.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    /// A client of this agent, connected.
    async fn connect(address: SocketAddr, agent: &str) -> Self {
        let mut client = Self::open(address, &format!("agentId={agent}&apiKey={KEY}")).await;
        client.send("40").await;
        let packet = client.packet().await;
        assert!(packet.starts_with("40{"), "{packet}");
        client
    }

    /// A connection that has begun a session, and no more.
    async fn open(address: SocketAddr, query: &str) -> Self {
        let mut client = Self::dial(address, query).await;
        assert!(client.packet().await.starts_with("0{"));
        client
    }

    async fn dial(address: SocketAddr, query: &str) -> Self {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket&{query}");
        let (stream, _) = connect_async(url).await.expect("a WebSocket");
        Self(stream)
    }

    async fn send(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).await.expect("sent");
    }

    /// The next packet but pings, which are answered.
    async fn packet(&mut self) -> String {
        loop {
            let message = in_time(self.0.next()).await.expect("a packet, not the end");
            let text = message.expect("a packet, not a failure").into_text().expect("text");
            if text.as_str() != "2" {
                return text.to_string();
            }
            self.send("3").await;
        }
    }

    /// The next packet that begins so.
    async fn skip_to(&mut self, start: &str) -> String {
        loop {
            let packet = self.packet().await;
            if packet.starts_with(start) {
                return packet;
            }
        }
    }

    /// The next event of this type on this channel.
    async fn event(&mut self, channel: &str, kind: &str) -> Value {
        loop {
            let packet = self.skip_to("42").await;
            let event: Value = serde_json::from_str(&packet[2..]).expect("JSON");
            if event[0] == channel && event[1]["type"] == kind {
                return event[1].clone();
            }
        }
    }

    /// Waits for the end of the TCP connection, which this side does nothing for.
    async fn ends(&mut self) {
        while let Some(Ok(message)) = in_time(self.0.next()).await {
            let text = message.into_text().expect("text");
            assert!(["1", "2", "6"].contains(&text.as_str()), "after the end: {text}");
        }
    }
}

/// The session id in the answer to a first poll.
fn session(answer: &str) -> String {
    let start = answer.find("0{").expect("an open packet") + 1;
    let open: Value = serde_json::from_str(&answer[start..]).expect("JSON");
    open["sid"].as_str().expect("a session").to_owned()
}

/// One request on a connection of its own; the answer as it is on the wire.
async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.expect("an answer");
    answer
}

/// Fails loudly, and soon, where something never comes.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes within 20 s")
}
