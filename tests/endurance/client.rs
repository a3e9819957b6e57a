//! A Socket.IO client by hand: it shows what is on the wire, up to the end of the connection.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// A bound on every single wait, far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// A client of one agent.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    acks: u64,
    /// Events that came while an acknowledgement was waited for.
    early: std::collections::VecDeque<Value>,
}

/// What is on the wire.
enum Packet {
    /// The channel and the body of an event.
    Event(String, Value),
    Ack(u64, Value),
    /// The session is over.
    Disconnect,
    /// The connection is over.
    End,
}

impl Client {
    /// Connects to an agent; the server's code, if it refuses.
    pub(crate) async fn connect(at: &str, agent: &str, key: &str) -> Result<Self, String> {
        let at = at.trim_start_matches("http://");
        let url =
            format!("ws://{at}/socket.io/?EIO=4&transport=websocket&agentId={agent}&apiKey={key}");
        // There are many of these in one process, and all that they read is small.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let connecting = connect_async_with_config(url, Some(config), true);
        let (socket, _) = timeout(PATIENCE, connecting).await.expect("an answer").unwrap();
        let mut client = Self { socket, acks: 0, early: [].into() };
        assert!(client.text().await.is_some_and(|open| open.starts_with("0{")));
        client.send_text("40").await;
        let mut answer = client.text().await.expect("an answer");
        while answer == PING {
            client.send_text(PONG).await;
            answer = client.text().await.expect("an answer");
        }
        if answer.starts_with("40{") {
            return Ok(client);
        }
        let refusal: Value = serde_json::from_str(answer.strip_prefix("44").unwrap()).unwrap();
        Err(refusal["message"].as_str().unwrap().to_owned())
    }

    /// Sends a message, and waits for its acknowledgement.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.acks += 1;
        self.send_text(&format!("42{}{}", self.acks, json!(["message", message]))).await;
        loop {
            match self.packet().await {
                Packet::Ack(number, body) if number == self.acks => return body[0].clone(),
                Packet::Event(channel, body) if channel == "event" => self.early.push_back(body),
                Packet::Event(..) | Packet::Ack(..) => {}
                Packet::Disconnect | Packet::End => panic!("over, before the acknowledgement"),
            }
        }
    }

    /// Sends a message that must be taken.
    pub(crate) async fn tell(&mut self, message: Value) {
        assert_eq!(self.ask(message.clone()).await, json!({"ok": true}), "{message}");
    }

    /// The next event of a type; those before it are let go.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        self.event_where(kind, |_| true).await
    }

    /// The next event of a type that fits.
    pub(crate) async fn event_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next_event().await;
            if event["type"] == kind && fits(&event) {
                return event;
            }
        }
    }

    /// The next event.
    pub(crate) async fn next_event(&mut self) -> Value {
        if let Some(event) = self.early.pop_front() {
            return event;
        }
        loop {
            match self.packet().await {
                Packet::Event(channel, body) if channel == "event" => return body,
                Packet::Event(..) | Packet::Ack(..) => {}
                Packet::Disconnect | Packet::End => panic!("over, before the event"),
            }
        }
    }

    /// All that comes until the connection ends, for which this side does nothing: the types of
    /// events, the codes of errors, then `disconnect` and `end`.
    pub(crate) async fn until_the_end(mut self) -> Vec<String> {
        let early = std::mem::take(&mut self.early);
        let mut seen: Vec<String> = early.iter().map(mark).collect();
        loop {
            match self.packet().await {
                Packet::Event(channel, body) if channel == "event" => seen.push(mark(&body)),
                Packet::Event(..) | Packet::Ack(..) => {}
                Packet::Disconnect => seen.push("disconnect".to_owned()),
                Packet::End => {
                    seen.push("end".to_owned());
                    return seen;
                }
            }
        }
    }

    /// Leaves as a well-behaved client does, and waits for the end.
    pub(crate) async fn leave(mut self) {
        self.send_text("41").await;
        while !matches!(self.packet().await, Packet::End) {}
    }

    async fn send_text(&mut self, text: &str) {
        let sending = self.socket.send(Message::text(text));
        timeout(PATIENCE, sending).await.expect("it is taken").unwrap();
    }

    async fn packet(&mut self) -> Packet {
        loop {
            let Some(text) = self.text().await else { return Packet::End };
            match text.as_bytes() {
                [b'2', ..] => {
                    // Where the server is gone, what comes next tells so.
                    let _gone = self.socket.send(Message::text(PONG)).await;
                }
                [b'4', b'1', ..] => return Packet::Disconnect,
                [b'4', b'2', ..] => {
                    let (channel, body) = serde_json::from_str(&text[2..]).unwrap();
                    return Packet::Event(channel, body);
                }
                [b'4', b'3', ..] => {
                    let (number, body) = text[2..].split_at(text.find('[').unwrap() - 2);
                    let body = serde_json::from_str(body).unwrap();
                    return Packet::Ack(number.parse().unwrap(), body);
                }
                [b'1' | b'6', ..] => {}
                _ => panic!("what is this: {text}"),
            }
        }
    }

    /// The next text; `None` at the end of the connection.
    async fn text(&mut self) -> Option<String> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
            match message {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(_)) => {}
                // Whether the WebSocket said goodbye or not, TCP has come to its end.
                Some(Err(_)) | None => return None,
            }
        }
    }
}

const PING: &str = "2";
const PONG: &str = "3";

/// What an event is known by: the code of an error, or its type.
fn mark(event: &Value) -> String {
    let name = if event["type"] == "error" { &event["code"] } else { &event["type"] };
    name.as_str().unwrap().to_owned()
}
