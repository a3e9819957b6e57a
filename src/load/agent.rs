//! The agent of one call, as any client would have it: REST, and the plain WebSocket.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::failure::CallFailure;
use super::mind::CALL_MARK;
use super::plan::Turns;
use crate::privacy::Secret;
use crate::sys::tasks::{self, Task};

/// The gateway's REST API.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) http: Client,
    /// Without a slash at its end.
    pub(super) base: String,
    pub(super) key: Secret,
    pub(super) turns: Turns,
    pub(super) is_greeted: bool,
}

/// An agent in its room.
#[derive(Debug)]
pub(super) struct Agent {
    api: Api,
    id: String,
    /// Reads what the agent tells, and counts what went wrong.
    listening: Task<u32>,
}

impl Api {
    /// Makes an agent for a call, and lets it join the call's room.
    pub(super) async fn agent(&self, call: u32, room: &str) -> Result<Agent, CallFailure> {
        let request = self.http.post(self.url("")).json(&self.spec(call));
        let body = self.send("making an agent", request, StatusCode::CREATED).await?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let Some(id) = body["id"].as_str().map(str::to_owned) else {
            let said = "an agent without an id".to_owned();
            return Err(CallFailure::Said { what: "making an agent", said });
        };
        match self.join(&id, room).await {
            Ok(socket) => {
                let listening = tasks::spawn("load's client", listen(socket));
                Ok(Agent { api: self.clone(), id, listening })
            }
            Err(failure) => {
                self.delete(&id).await?;
                Err(failure)
            }
        }
    }

    /// How many agents there are.
    pub(super) async fn agents(&self) -> Result<usize, CallFailure> {
        let request = self.http.get(self.url(""));
        let body = self.send("counting agents", request, StatusCode::OK).await?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        Ok(body["agents"].as_array().map_or(0, Vec::len))
    }

    fn spec(&self, call: u32) -> Value {
        let mut model = json!({});
        if self.turns == Turns::Gateway {
            model["turnDetection"] = json!({"type": "gateway", "silenceMs": 400});
        }
        if self.is_greeted {
            model["greeting"] = json!("Hello!");
        }
        json!({
            "name": "Load",
            "agentType": "HUMA-0.1",
            "ttlSeconds": AGENT_TTL_SECONDS,
            "metadata": {
                "instructions": format!("{CALL_MARK}{call}."),
                "voice": {"enabled": true},
                "model": model,
            },
        })
    }

    async fn join(&self, id: &str, room: &str) -> Result<AgentSocket, CallFailure> {
        let base = self.base.replacen("http", "ws", 1);
        let url = format!("{base}/api/agents/{id}/socket?apiKey={}", self.key.expose());
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let connecting = connect_async_with_config(url, Some(config), true);
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        let connected = connected.map_err(|_| CallFailure::Late(CONNECTION))?;
        let (mut socket, _) = connected.map_err(no_connection)?;
        let join = json!({"type": "join-room", "roomUrl": room, "ack": "join"});
        socket.send(Message::text(join.to_string())).await.map_err(Box::new)?;
        let joined = tokio::time::timeout(PATIENCE, wait_joined(&mut socket)).await;
        joined.map_err(|_| CallFailure::Late("the agent's joining"))??;
        Ok(socket)
    }

    async fn delete(&self, id: &str) -> Result<(), CallFailure> {
        let request = self.http.delete(self.url(&format!("/{id}")));
        self.send("ending an agent", request, StatusCode::NO_CONTENT).await.map(drop)
    }

    async fn send(
        &self,
        what: &'static str,
        request: RequestBuilder,
        expected: StatusCode,
    ) -> Result<String, CallFailure> {
        let failed = |source| CallFailure::Http { what, source };
        let request = request.header("X-API-Key", self.key.expose());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        match status == expected {
            true => Ok(body),
            false => Err(CallFailure::of_response(what, status.as_u16(), &body)),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/agents{path}", self.base)
    }
}

impl Agent {
    /// Ends the agent; tells how many errors it has told of.
    pub(super) async fn end(self) -> Result<u32, CallFailure> {
        self.api.delete(&self.id).await?;
        let listened = tokio::time::timeout(PATIENCE, self.listening).await;
        let listened = listened.map_err(|_| CallFailure::Late("the end of the agent's socket"))?;
        // A task that broke has told of nothing.
        Ok(listened.unwrap_or_default())
    }
}

type AgentSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Waits until the agent is in its room.
async fn wait_joined(socket: &mut AgentSocket) -> Result<(), CallFailure> {
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message.map_err(Box::new)? else { continue };
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        match event["type"].as_str() {
            Some("room_joined") => return Ok(()),
            Some("ack") if event["ok"] == true => {}
            Some("ack" | "error") => return Err(refusal(&event)),
            Some("voice-status") if event["status"] == "error" => return Err(refusal(&event)),
            _ => {}
        }
    }
    Err(CallFailure::Late("the agent's joining"))
}

fn no_connection(error: Error) -> CallFailure {
    let is_full = matches!(&error, Error::Http(response) if response.status() == 503);
    if is_full { CallFailure::Refused } else { Box::new(error).into() }
}

fn refusal(event: &Value) -> CallFailure {
    let of_capacity = [&event["code"], &event["reason"]].iter().any(|code| *code == "CAPACITY");
    if of_capacity {
        return CallFailure::Refused;
    }
    CallFailure::Said { what: "joining the room", said: event.to_string() }
}

/// Reads to the end, looking only for what is no good news.
async fn listen(mut socket: AgentSocket) -> u32 {
    let mut errors = 0;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let is_error = BAD_NEWS.iter().any(|news| text.contains(news));
        // To be ended is what every agent here comes to.
        if is_error && !text.contains("AGENT_DELETED") {
            tracing::debug!(event = text.as_str(), "an agent tells of an error");
            errors += 1;
        }
    }
    errors
}

const BAD_NEWS: [&str; 2] = [r#""type":"error""#, r#""type":"transcriber_fatal_error""#];

const CONNECTION: &str = "the connection to the agent";
/// How long the gateway may take for anything.
const PATIENCE: Duration = Duration::from_secs(15);
/// What one read may take: an event is smaller.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Agents that nobody ends, because we have broken off, end by themselves.
const AGENT_TTL_SECONDS: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_full_is_no_fault_and_anything_else_is() {
        assert!(refusal(&json!({"type": "ack", "ok": false, "code": "CAPACITY"})).is_refusal());
        assert!(refusal(&json!({"status": "error", "reason": "CAPACITY"})).is_refusal());
        let fault = refusal(&json!({"type": "error", "code": "MEDIA_FAILED"}));
        assert!(!fault.is_refusal() && fault.to_string().contains("MEDIA_FAILED"), "{fault}");
        assert!(CallFailure::of_response("x", 503, "").is_refusal());
        assert!(!CallFailure::of_response("x", 500, "").is_refusal());
    }
}
