//! A client that speaks Engine.IO by hand, as those do that use no library: credentials in the
//! query, a bare `40`, and no acknowledgements.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A bound on every single wait, far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// One connection to one agent.
pub(crate) struct Raw {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The `type` of each event on `event`, but of `status` its status, in their order.
    pub(crate) seen: Vec<String>,
    seq: u64,
}

impl Raw {
    /// Connects to an agent of the gateway at this `http` address.
    pub(crate) async fn connect(gateway: &str, key: &str, agent: &str) -> Self {
        let host = gateway.strip_prefix("http://").unwrap();
        let query = format!("EIO=4&transport=websocket&agentId={agent}&apiKey={key}");
        let (socket, _) = connect_async(format!("ws://{host}/socket.io/?{query}")).await.unwrap();
        let mut raw = Self { socket, seen: Vec::new(), seq: 0 };
        assert!(raw.packet().await.unwrap().starts_with("0{"));
        raw.socket.send(Message::text("40")).await.unwrap();
        let connected = raw.packet().await.unwrap();
        assert!(connected.starts_with("40{"), "{connected}");
        raw
    }

    /// Says something, and asks for no answer.
    pub(crate) async fn say(&mut self, message: Value) {
        let packet = format!("42{}", json!(["message", message]));
        self.socket.send(Message::text(packet)).await.unwrap();
    }

    /// The next event that fits, on `event`; none on the way may be an error.
    pub(crate) async fn event_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (channel, event) = self.next().await;
            assert_ne!(event["type"], "error", "{event}");
            if channel == "event" && event["type"] == kind && fits(&event) {
                return event;
            }
        }
    }

    /// The next event of this kind.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        self.event_where(kind, |_| true).await
    }

    /// Waits until all that was said so far is taken: the answer to a mistake comes after it.
    pub(crate) async fn settled(&mut self) {
        self.say(json!({"type": "tool-result", "toolCallId": "tc_none"})).await;
        while self.next().await.1["code"] != "UNKNOWN_TOOL_CALL" {}
    }

    /// Waits until the agent is in this activity.
    pub(crate) async fn status(&mut self, status: &str) {
        self.event_where("status", |event| event["status"] == status).await;
    }

    /// Waits until the agent has said something to its end; its words.
    pub(crate) async fn spoken(&mut self) -> String {
        let ended = self.event_where("speak-status", |event| event["status"] != "started").await;
        assert_eq!(ended["status"], "finished", "{ended}");
        ended["text"].as_str().unwrap().to_owned()
    }

    /// The next event and the channel it comes on; those on `event` are in the agent's order.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        loop {
            let packet = self.packet().await.expect("the connection goes on");
            let Some(packet) = packet.strip_prefix("42") else { continue };
            let [channel, event]: [Value; 2] = serde_json::from_str(packet).unwrap();
            let channel = channel.as_str().unwrap().to_owned();
            if channel == "event" {
                let status = &event["status"];
                let word = if event["type"] == "status" { status } else { &event["type"] };
                self.seen.push(word.as_str().unwrap().to_owned());
            }
            if let Some(seq) = event["seq"].as_u64() {
                assert!(seq >= self.seq, "{event} after {}", self.seq);
                self.seq = seq;
            }
            return (channel, event);
        }
    }

    /// Waits for the end of the connection, the TCP one too.
    pub(crate) async fn ends(&mut self) {
        while self.packet().await.is_some() {}
    }

    /// The next packet but pings, which are answered; `None` at the end of the connection.
    async fn packet(&mut self) -> Option<String> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
            let text = message?.ok()?.into_text().ok()?;
            match text.as_str() {
                "2" => self.socket.send(Message::text("3")).await.ok()?,
                text => return Some(text.to_owned()),
            }
        }
    }
}
