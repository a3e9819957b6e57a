//! A small Socket.IO 4 client over WebSocket, enough to drive one agent (protocol 5, Engine.IO 4).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A connection to one agent.
#[derive(Debug)]
pub(super) struct SocketClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while an acknowledgement was waited for.
    early: VecDeque<Value>,
    acks: u64,
}

/// What the server sends, as far as a client of an agent needs it.
enum Packet {
    Event { name: String, body: Value },
    Ack { id: u64, body: Value },
    Connected,
    Refused(String),
    Closed,
    Other,
}

impl SocketClient {
    /// Connects to an agent; fails with the server's code if it refuses.
    pub(super) async fn connect(at: SocketAddr, agent: &str, key: &str) -> anyhow::Result<Self> {
        let url =
            format!("ws://{at}/socket.io/?EIO=4&transport=websocket&agentId={agent}&apiKey={key}");
        let connecting = tokio_tungstenite::connect_async(url);
        let (socket, _) = tokio::time::timeout(PATIENCE, connecting).await??;
        let mut client = Self { socket, early: VecDeque::new(), acks: 0 };
        client.socket.send(Message::text("40")).await?;
        loop {
            match tokio::time::timeout(PATIENCE, client.receive()).await?? {
                Packet::Refused(code) => bail!("the server refused the connection: {code}"),
                Packet::Closed => bail!("the server closed the connection"),
                Packet::Event { name, body } => client.keep(&name, body),
                Packet::Connected => return Ok(client),
                Packet::Other | Packet::Ack { .. } => {}
            }
        }
    }

    /// Sends a message, and waits for the acknowledgement.
    pub(super) async fn ask(&mut self, message: &Value) -> anyhow::Result<Value> {
        self.acks += 1;
        let wanted = self.acks;
        let packet = format!("42{wanted}{}", json!(["message", message]));
        self.socket.send(Message::text(packet)).await?;
        loop {
            match tokio::time::timeout(PATIENCE, self.receive()).await?? {
                Packet::Ack { id, body } if id == wanted => return Ok(body),
                Packet::Event { name, body } => self.keep(&name, body),
                Packet::Closed => bail!("the server closed the connection"),
                Packet::Refused(code) => bail!("the server refused: {code}"),
                Packet::Ack { .. } | Packet::Connected | Packet::Other => {}
            }
        }
    }

    /// The agent's next event; `None` when the server has closed the connection.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        if let Some(early) = self.early.pop_front() {
            return Ok(Some(early));
        }
        loop {
            match self.receive().await? {
                Packet::Event { name, body } if name == "event" => return Ok(Some(body)),
                Packet::Closed => return Ok(None),
                Packet::Event { .. }
                | Packet::Ack { .. }
                | Packet::Connected
                | Packet::Refused(_)
                | Packet::Other => {}
            }
        }
    }

    fn keep(&mut self, name: &str, body: Value) {
        if name == "event" {
            self.early.push_back(body);
        }
    }

    async fn receive(&mut self) -> anyhow::Result<Packet> {
        let text = match self.socket.next().await {
            None | Some(Ok(Message::Close(_))) => return Ok(Packet::Closed),
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(_)) => return Ok(Packet::Other),
            Some(Err(error)) => return Err(error).context("the connection to the agent broke"),
        };
        let text = text.as_str();
        match text.as_bytes() {
            [b'2', ..] => {
                self.socket.send(Message::text("3")).await?;
                Ok(Packet::Other)
            }
            [b'1', ..] | [b'4', b'1', ..] => Ok(Packet::Closed),
            [b'4', b'0', ..] => Ok(Packet::Connected),
            [b'4', b'2', ..] => event(&text[2..]),
            [b'4', b'3', ..] => ack(&text[2..]),
            [b'4', b'4', ..] => Ok(Packet::Refused(reason(&text[2..]))),
            _ => Ok(Packet::Other),
        }
    }
}

fn event(text: &str) -> anyhow::Result<Packet> {
    let (name, body): (String, Value) = serde_json::from_str(text)?;
    Ok(Packet::Event { name, body })
}

fn ack(text: &str) -> anyhow::Result<Packet> {
    let at = text.find('[').context("an acknowledgement without a body")?;
    let (body,): (Value,) = serde_json::from_str(&text[at..])?;
    Ok(Packet::Ack { id: text[..at].parse()?, body })
}

fn reason(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    body["message"].as_str().unwrap_or(text).to_owned()
}

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
