//! A Realtime server for tests: plays a script over a real socket, and takes no surprises.
//!
//! A script is a file of JSON lines, played in their order:
//!
//! ```text
//! {"refuse": 401}                              refuse the upgrade, with this HTTP status
//! {"expect": "session.update", "with": {..}}   the next event; `with` must be contained in it
//! {"expect": "session.update", "without": ["/session/audio/output"]}   JSON pointers to nothing
//! {"expect_audio_ms": 200}                     at least so much more sound
//! {"send": {"type": "session.updated", ..}}    an event
//! {"send_audio": {"response_id": "r", "item_id": "u", "ms": 100}}   a delta of a steady tone
//! {"send_audio": {.., "type": "response.audio.delta"}}   the same under another name
//! {"send_text": "not JSON"}                    whatever text
//! {"close": 1001, "reason": "going away"}      close the socket properly
//! {"drop": true}                               cut the connection
//! {"stall": true}                              keep the connection, and never read again
//! ```
//!
//! Sound may come at any time. Any other event that the script does not expect next is an error,
//! as is one that does not come within the patience. After its last line the server waits for
//! the client to leave.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::wire::{ClientEvent, PcmDecoder, ServerEvent, output_audio_delta};
use crate::media::ms_of_24k;
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// A server that plays a script to a client, or several to as many.
#[derive(Debug)]
pub struct ScriptedModel {
    url: String,
    play: Task<Result<Vec<Recording>, ScriptError>>,
}

/// What the server has received.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The path and query the client asked for.
    pub target: String,
    /// Its `Authorization` header.
    pub authorization: Option<String>,
    /// Its `api-key` header.
    pub api_key: Option<String>,
    /// Its events but for sound, in their order.
    pub events: Vec<Value>,
    /// Its sound.
    pub samples: Vec<i16>,
}

/// How client and script disagree.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The script itself is wrong.
    #[error("line {line} of the script: {reason}")]
    Script {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Another event than the script has next.
    #[error("line {line} of the script: expected {expected}, got {got}")]
    Unexpected {
        /// Counted from 1.
        line: usize,
        /// What the script has next.
        expected: String,
        /// What came.
        got: String,
    },
    /// The client did nothing for too long.
    #[error("line {line} of the script: waited {} s for {expected}", PATIENCE.as_secs())]
    Missing {
        /// Counted from 1.
        line: usize,
        /// What the script has next.
        expected: String,
    },
    /// The socket failed.
    #[error("line {line} of the script: the socket: {reason}")]
    Socket {
        /// Counted from 1.
        line: usize,
        /// What happened.
        reason: String,
    },
}

impl ScriptedModel {
    /// Reads a script and begins to wait for its client, on a free port of this machine.
    pub async fn play(script: &str) -> Result<Self, ScriptError> {
        Self::play_each(&[script]).await
    }

    /// As `play`, with one script for each client, in the order in which they connect. A client
    /// may connect while another is there.
    pub async fn play_each(scripts: &[&str]) -> Result<Self, ScriptError> {
        let scripts = scripts.iter().map(|script| parse(script)).collect::<Result<Vec<_>, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| socket_error(0, &e))?;
        let address = listener.local_addr().map_err(|e| socket_error(0, &e))?;
        let play = tasks::spawn("scripted model", async move {
            let mut plays = Vec::new();
            for steps in scripts {
                let accepted = timeout(PATIENCE, listener.accept()).await;
                let (stream, _) = accepted
                    .map_err(|_| ScriptError::Missing { line: 0, expected: "a client".to_owned() })?
                    .map_err(|e| socket_error(0, &e))?;
                plays.push(tasks::spawn("script", play_to(stream, steps)));
            }
            let mut recordings = Vec::new();
            for play in plays {
                recordings.push(play.await.unwrap_or_else(|e| Err(socket_error(0, &e)))?);
            }
            Ok(recordings)
        });
        Ok(Self { url: format!("ws://{address}/v1/realtime"), play })
    }

    /// Where the client is to connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the script is played and the client has left, or until they disagree. To be
    /// called once. Of several scripts, it gives what the last one has received.
    pub async fn finish(&mut self) -> Result<Recording, ScriptError> {
        Ok(self.finish_each().await?.pop().unwrap_or_default())
    }

    /// As `finish`, with what each script has received.
    pub async fn finish_each(&mut self) -> Result<Vec<Recording>, ScriptError> {
        (&mut self.play).await.unwrap_or_else(|error| Err(socket_error(0, &error)))
    }
}

async fn play_to(stream: TcpStream, mut steps: VecDeque<Step>) -> Result<Recording, ScriptError> {
    let mut recording = Recording::default();
    let refusal = refusal(&mut steps)?;
    let Some(socket) = accept(stream, refusal, &mut recording).await? else {
        return Ok(recording);
    };
    let (sound, until) = (PcmDecoder::default(), clock::now());
    Player { socket, recording, sound, line: 0, until, heard_samples: 0 }.play(steps).await
}

/// One line of a script.
#[derive(Debug)]
struct Step {
    line: usize,
    value: Value,
}

/// A script while it is played.
struct Player {
    socket: WebSocketStream<TcpStream>,
    recording: Recording,
    sound: PcmDecoder,
    line: usize,
    /// When patience with the client is over. Its pings do not renew it.
    until: Instant,
    /// How much of the sound the script has asked for.
    heard_samples: usize,
}

impl Player {
    async fn play(mut self, steps: VecDeque<Step>) -> Result<Recording, ScriptError> {
        for step in steps {
            self.begin_line(step.line);
            let value = &step.value;
            if let Some(kind) = value["expect"].as_str() {
                self.expect(kind, &value["with"]).await?;
                self.check_absence(&value["without"])?;
            } else if let Some(ms) = value["expect_audio_ms"].as_u64() {
                self.expect_audio(ms).await?;
            } else if value["send"].is_object() {
                self.send(value["send"].to_string()).await?;
            } else if value["send_audio"].is_object() {
                self.send_audio(&value["send_audio"]).await?;
            } else if let Some(text) = value["send_text"].as_str() {
                self.send(text.to_owned()).await?;
            } else if let Some(code) = value["close"].as_u64() {
                return self.close(code, value["reason"].as_str().unwrap_or_default()).await;
            } else if value["drop"].as_bool() == Some(true) {
                return Ok(self.recording);
            } else if value["stall"].as_bool() == Some(true) {
                std::future::pending::<()>().await;
            } else {
                let reason = format!("no such step: {value}");
                return Err(ScriptError::Script { line: step.line, reason });
            }
        }
        self.begin_line(self.line + 1);
        self.expect_end().await
    }

    fn begin_line(&mut self, line: usize) {
        self.line = line;
        self.until = clock::now() + PATIENCE;
    }

    async fn expect(&mut self, kind: &str, with: &Value) -> Result<(), ScriptError> {
        let expected = if with.is_null() { kind.to_owned() } else { format!("{kind} with {with}") };
        let Some(got) = self.next_event(&expected).await? else {
            return Err(self.unexpected(&expected, "the client's leaving"));
        };
        if got["type"] != kind || !contains(&got, with) {
            return Err(self.unexpected(&expected, &got.to_string()));
        }
        self.recording.events.push(got);
        Ok(())
    }

    /// Whether the event that came says nothing of what it is to be silent about.
    fn check_absence(&self, pointers: &Value) -> Result<(), ScriptError> {
        let Some(got) = self.recording.events.last() else { return Ok(()) };
        let pointers = pointers.as_array().into_iter().flatten().filter_map(Value::as_str);
        match pointers.into_iter().find(|pointer| got.pointer(pointer).is_some()) {
            Some(pointer) => {
                Err(self.unexpected(&format!("nothing at {pointer}"), &got.to_string()))
            }
            None => Ok(()),
        }
    }

    async fn expect_audio(&mut self, ms: u64) -> Result<(), ScriptError> {
        let expected = format!("{ms} ms of sound");
        let so_many = |samples: usize| ms_of_24k(samples as u64) >= ms;
        while !so_many(self.recording.samples.len() - self.heard_samples) {
            let before = self.recording.samples.len();
            let text = self.next_text(&expected).await?;
            let got = text.as_deref().unwrap_or("the client's leaving");
            if text.is_none() || !self.take_sound(got)? || self.recording.samples.len() == before {
                return Err(self.unexpected(&expected, got));
            }
        }
        self.heard_samples = self.recording.samples.len();
        Ok(())
    }

    async fn expect_end(mut self) -> Result<Recording, ScriptError> {
        let expected = "the client's leaving";
        match self.next_event(expected).await? {
            None => Ok(self.recording),
            Some(got) => Err(self.unexpected(expected, &got.to_string())),
        }
    }

    async fn send_audio(&mut self, audio: &Value) -> Result<(), ScriptError> {
        let id = |name: &str| audio[name].as_str().unwrap_or_default().to_owned();
        let ms = usize::try_from(audio["ms"].as_u64().unwrap_or_default()).unwrap_or_default();
        let (response_id, item_id) = (id("response_id"), id("item_id"));
        let delta = output_audio_delta(&response_id, &item_id, &vec![TONE; ms * 24]);
        let event = ServerEvent::AudioDelta(delta);
        let mut text = event.encode(Some("event_audio"));
        if let Some(kind) = audio["type"].as_str() {
            text = text.replacen(event.type_name(), kind, 1);
        }
        self.send(text).await
    }

    async fn send(&mut self, text: String) -> Result<(), ScriptError> {
        let line = self.line;
        self.socket.send(Message::text(text)).await.map_err(|e| socket_error(line, &e))
    }

    async fn close(mut self, code: u64, reason: &str) -> Result<Recording, ScriptError> {
        let code = u16::try_from(code).unwrap_or(1000).into();
        let frame = CloseFrame { code, reason: reason.into() };
        let line = self.line;
        self.socket.close(Some(frame)).await.map_err(|e| socket_error(line, &e))?;
        Ok(self.recording)
    }

    /// The next event that is no sound; `None` when the client has left.
    async fn next_event(&mut self, expected: &str) -> Result<Option<Value>, ScriptError> {
        while let Some(text) = self.next_text(expected).await? {
            if !self.take_sound(&text)? {
                let event = serde_json::from_str(&text);
                return event.map(Some).map_err(|_| self.unexpected(expected, &text));
            }
        }
        Ok(None)
    }

    async fn next_text(&mut self, expected: &str) -> Result<Option<String>, ScriptError> {
        loop {
            let message =
                timeout_at(self.until.into(), self.socket.next()).await.map_err(|_| {
                    ScriptError::Missing { line: self.line, expected: expected.to_owned() }
                })?;
            match message {
                Some(Ok(Message::Text(text))) => return Ok(Some(text.to_string())),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                Some(Ok(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                )) => {}
            }
        }
    }

    /// Records sound; false if the event is another.
    fn take_sound(&mut self, text: &str) -> Result<bool, ScriptError> {
        let Ok(message) = ClientEvent::decode(text) else { return Ok(false) };
        let ClientEvent::Append(append) = message.event else { return Ok(false) };
        let samples = self.sound.decode(&append.audio);
        let samples = samples.map_err(|_| self.unexpected("sound as base64", text))?;
        self.recording.samples.extend(samples);
        Ok(true)
    }

    fn unexpected(&self, expected: &str, got: &str) -> ScriptError {
        let (expected, got) = (expected.to_owned(), got.to_owned());
        ScriptError::Unexpected { line: self.line, expected, got }
    }
}

fn parse(script: &str) -> Result<VecDeque<Step>, ScriptError> {
    let lines = script.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(index, text)| {
            let line = index + 1;
            serde_json::from_str(text)
                .map(|value| Step { line, value })
                .map_err(|error| ScriptError::Script { line, reason: error.to_string() })
        })
        .collect()
}

/// The status to refuse the client with, if the script begins with one.
fn refusal(steps: &mut VecDeque<Step>) -> Result<Option<StatusCode>, ScriptError> {
    let Some(code) = steps.front().and_then(|step| step.value["refuse"].as_u64()) else {
        return Ok(None);
    };
    steps.pop_front();
    let code = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    let wrong = || ScriptError::Script { line: 1, reason: "no such HTTP status".to_owned() };
    code.map(Some).ok_or_else(wrong)
}

/// Upgrades the connection, or refuses to.
async fn accept(
    stream: TcpStream,
    refusal: Option<StatusCode>,
    recording: &mut Recording,
) -> Result<Option<WebSocketStream<TcpStream>>, ScriptError> {
    #[expect(clippy::result_large_err, reason = "the shape is the WebSocket library's")]
    let look = |request: &Request, response: Response| {
        recording.target = request.uri().to_string();
        let header = |name: &str| {
            let value = request.headers().get(name);
            value.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
        };
        recording.authorization = header("authorization");
        recording.api_key = header("api-key");
        let Some(status) = refusal else { return Ok(response) };
        let mut refused = ErrorResponse::new(None);
        *refused.status_mut() = status;
        Err(refused)
    };
    match accept_hdr_async(stream, look).await {
        Ok(socket) => Ok(Some(socket)),
        Err(_) if refusal.is_some() => Ok(None),
        Err(error) => Err(socket_error(0, &error)),
    }
}

/// Whether all that `part` says, `whole` says too. Arrays are compared element by element.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (_, Value::Null) => true,
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|found| contains(found, value))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| contains(w, p))
        }
        _ => whole == part,
    }
}

fn socket_error(line: usize, error: &dyn std::error::Error) -> ScriptError {
    ScriptError::Socket { line, reason: error.to_string() }
}

/// How long a client may take for what the script has next. Long, because test machines are slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// The value of every sample sent: all that counts is how many there are.
const TONE: i16 = 1_000;
