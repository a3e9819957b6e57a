//! A Realtime server that a test conducts: it says what the test wants, when the test wants it.

use std::time::Duration;

use callbridge::models::wire::{PcmDecoder, ServerEvent, output_audio_delta};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

/// Where sessions come in.
pub(crate) struct Mind {
    listener: TcpListener,
}

/// One session, in the hands of the test.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    /// How many samples were heard so far.
    pub(crate) heard_samples: usize,
    /// What was heard by [`Session::hear`].
    sound: Vec<i16>,
}

/// Something to be said.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The names of the answer and of its item begin with this.
    pub(crate) name: String,
    pub(crate) ms: usize,
    pub(crate) text: String,
}

impl Mind {
    pub(crate) async fn open() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).await.expect("a port") }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/realtime", self.listener.local_addr().expect("an address"))
    }

    /// The next session, with its settings taken.
    pub(crate) async fn session(&self) -> Session {
        let session = tokio::time::timeout(PATIENCE, self.try_session()).await;
        let mut session = session.expect("a session in time").expect("a WebSocket");
        session.expect("session.update").await;
        session.send(&json!({"type": "session.updated", "session": {"type": "realtime"}})).await;
        session
    }

    /// The next session, of which nothing was taken yet; none if the client has thought better.
    pub(crate) async fn try_session(&self) -> Option<Session> {
        let (stream, _) = self.listener.accept().await.ok()?;
        let socket = accept_async(stream).await.ok()?;
        Some(Session { socket, heard_samples: 0, sound: Vec::new() })
    }
}

impl Session {
    /// Sends an event; a client that has gone hears nothing.
    pub(crate) async fn send(&mut self, event: &Value) {
        let _ = self.socket.send(Message::text(event.to_string())).await;
    }

    /// The next event that is no sound; `None` when the client has gone.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            };
            let event: Value = serde_json::from_str(&text).expect("JSON");
            if event["type"] != "input_audio_buffer.append" {
                return Some(event);
            }
            let base64 = event["audio"].as_str().expect("sound");
            self.heard_samples += base64.len() / 4 * 3 / 2;
        }
    }

    /// Hears until there are so many samples in all; gives them. Other events are left out.
    pub(crate) async fn hear(&mut self, samples: usize) -> Vec<i16> {
        while self.sound.len() < samples {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = next.expect("sound in time").expect("the client is there");
            let Message::Text(text) = message.expect("a message") else { continue };
            let event: Value = serde_json::from_str(&text).expect("JSON");
            if event["type"] == "input_audio_buffer.append" {
                let base64 = event["audio"].as_str().expect("sound");
                self.sound.extend(PcmDecoder::default().decode(base64).expect("whole samples"));
            }
        }
        self.sound.clone()
    }

    /// The next event of this type; others before it are left out.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let waiting = async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("gone before {kind}"));
                if event["type"] == kind {
                    return event;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("waited in vain for {kind}"))
    }

    /// Begins to answer: all of the sound in one burst, as fast as the socket takes it.
    pub(crate) async fn begin(&mut self, answer: &Answer) {
        let (response_id, item_id) = (answer.response(), answer.item());
        let response = json!({"id": response_id, "status": "in_progress", "output": []});
        self.send(&json!({"type": "response.created", "response": response})).await;
        let item = json!({"id": item_id, "type": "message", "role": "assistant", "content": []});
        let added = json!({"response_id": response_id, "output_index": 0, "item": item});
        self.send(&with_type("response.output_item.added", added)).await;
        let place = json!({
            "response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0,
            "delta": answer.text,
        });
        self.send(&with_type("response.output_audio_transcript.delta", place)).await;
        let sound = tone(answer.ms);
        for part in sound.chunks(DELTA_SAMPLES) {
            let delta = output_audio_delta(&response_id, &item_id, part);
            let text = ServerEvent::AudioDelta(delta).encode(None);
            let _ = self.socket.send(Message::text(text)).await;
        }
    }

    /// Ends an answer.
    pub(crate) async fn end(&mut self, answer: &Answer, status: &str) {
        let (response_id, item_id) = (answer.response(), answer.item());
        let place = json!({
            "response_id": response_id, "item_id": item_id, "output_index": 0, "content_index": 0,
        });
        if status == "completed" {
            self.send(&with_type("response.output_audio.done", place.clone())).await;
            let mut words = place;
            words["transcript"] = answer.text.clone().into();
            self.send(&with_type("response.output_audio_transcript.done", words)).await;
        }
        let response = json!({"id": response_id, "status": status, "output": []});
        self.send(&json!({"type": "response.done", "response": response})).await;
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        drop(self.socket);
    }
}

impl Answer {
    pub(crate) fn response(&self) -> String {
        format!("{}_resp", self.name)
    }

    pub(crate) fn item(&self) -> String {
        format!("{}_item", self.name)
    }
}

fn with_type(kind: &str, mut fields: Value) -> Value {
    fields["type"] = kind.into();
    fields
}

/// A steady tone of 440 Hz at 24 kHz, from its first sample on.
fn tone(ms: usize) -> Vec<i16> {
    let sample = |n: usize| {
        let turn = f64::from(u32::try_from(n % 600).expect("small")) * 440.0 / 24_000.0;
        (turn * std::f64::consts::TAU).cos() * 9_000.0
    };
    #[expect(clippy::cast_possible_truncation, reason = "it is well within the range")]
    (0..ms * 24).map(|n| sample(n) as i16).collect()
}

/// 200 ms, as servers send.
const DELTA_SAMPLES: usize = 4_800;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
