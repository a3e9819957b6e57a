//! A server for each test, and a client that speaks plain JSON to it.

use std::path::PathBuf;
use std::time::Duration;

use callbridge::media::Converter;
use callbridge::models::local::{LocalModel, LocalModelConfig};
use callbridge::models::wire::{PcmDecoder, pcm_to_base64};
use callbridge::sys::tasks::Task;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A bound on every wait of these tests, far above what a busy machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A local model on a free port; it ends when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    _serving: Task,
}

/// A client without manners: plain JSON over a WebSocket.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: LocalModelConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let model = LocalModel::load(config).unwrap();
        Self { port, _serving: model.serve(listener) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/v1/realtime?model=local", self.port)
    }

    pub(crate) async fn client(&self) -> Client {
        let (socket, _) = connect_async(self.url()).await.unwrap();
        let mut client = Client { socket };
        let created = client.next().await;
        assert_eq!(created["type"], "session.created");
        client
    }
}

impl Client {
    pub(crate) async fn send(&mut self, event: Value) {
        self.socket.send(Message::text(event.to_string())).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match message.expect("an event comes").unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("no event: {other:?}")
                }
            }
        }
    }

    /// All events up to the first of a kind.
    pub(crate) async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await;
            assert!(event["type"] != "error", "{event}");
            let is_last = event["type"] == kind;
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        self.until(kind).await.pop().unwrap()
    }

    /// The next error's code, and the event it names.
    pub(crate) async fn error(&mut self) -> [String; 2] {
        loop {
            let event = self.next().await;
            if event["type"] == "error" {
                assert_eq!(event["error"]["type"], "invalid_request_error");
                let text =
                    |name: &str| event["error"][name].as_str().unwrap_or_default().to_owned();
                return [text("code"), text("event_id")];
            }
        }
    }

    pub(crate) async fn update(&mut self, mut session: Value) {
        session["type"] = "realtime".into();
        self.send(json!({"type": "session.update", "session": session})).await;
        self.next_of("session.updated").await;
    }

    pub(crate) async fn transcribe(&mut self) {
        self.update(json!({"audio": {"input": {"transcription": {"model": "moonshine"}}}})).await;
    }

    pub(crate) async fn append(&mut self, samples: &[i16]) {
        for chunk in samples.chunks(480) {
            let audio = pcm_to_base64(chunk);
            self.send(json!({"type": "input_audio_buffer.append", "audio": audio})).await;
        }
    }

    /// Sends a little sound, and says whether it was taken.
    pub(crate) async fn try_hear(&mut self) -> bool {
        let audio = pcm_to_base64(&[0; 480]);
        self.send(json!({"type": "input_audio_buffer.append", "audio": audio})).await;
        self.send(json!({"type": "input_audio_buffer.clear"})).await;
        let mut was_taken = true;
        loop {
            match self.next().await["type"].as_str() {
                Some("error") => was_taken = false,
                Some("input_audio_buffer.cleared") => return was_taken,
                _ => {}
            }
        }
    }

    /// Says a recorded question, and is silent until the turn must be over.
    pub(crate) async fn hear(&mut self, name: &str) {
        let mut samples = recording(name);
        samples.extend(vec![0; 16_000]);
        self.append(&samples).await;
    }

    pub(crate) async fn write(&mut self, text: &str) {
        let content = json!([{"type": "input_text", "text": text}]);
        let item = json!({"type": "message", "role": "user", "content": content});
        self.send(json!({"type": "conversation.item.create", "item": item})).await;
        self.send(json!({"type": "response.create"})).await;
    }
}

pub(crate) fn config() -> LocalModelConfig {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    let cache = std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from);
    let dir = cache.join("models/moonshine-tiny-en-0.0.73");
    LocalModelConfig { dir, ..LocalModelConfig::default() }
}

pub(crate) fn recording(name: &str) -> Vec<i16> {
    let path = format!("fixtures/audio/{name}-16000hz-16bit-mono.wav");
    let samples = hound::WavReader::open(path).unwrap().into_samples::<i16>();
    let samples: Vec<i16> = samples.map(Result::unwrap).collect();
    let mut converter = Converter::new(16_000, 24_000).unwrap();
    let mut sound = Vec::new();
    converter.convert(&samples, &mut sound);
    converter.flush(&mut sound);
    sound
}

/// The kinds of events in order, each once where it repeats.
pub(crate) fn kinds(events: &[Value]) -> Vec<String> {
    let mut kinds: Vec<String> =
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    kinds.dedup();
    kinds
}

pub(crate) fn find<'a>(events: &'a [Value], kind: &str) -> &'a Value {
    let found = events.iter().find(|event| event["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {:?}", kinds(events)))
}

pub(crate) fn said(events: &[Value]) -> String {
    let done = find(events, "response.output_audio_transcript.done");
    let deltas = events.iter().filter(|e| e["type"] == "response.output_audio_transcript.delta");
    let text: String = deltas.map(|delta| delta["delta"].as_str().unwrap()).collect();
    assert_eq!(done["transcript"], text);
    text
}

pub(crate) fn sound(events: &[Value]) -> Vec<i16> {
    let mut decoder = PcmDecoder::default();
    let deltas = events.iter().filter(|event| event["type"] == "response.output_audio.delta");
    deltas.flat_map(|delta| decoder.decode(delta["delta"].as_str().unwrap()).unwrap()).collect()
}

pub(crate) fn plain(text: &Value) -> String {
    let kept = |c: &char| c.is_alphanumeric() || *c == ' ';
    text.as_str().unwrap().chars().filter(kept).collect::<String>().to_lowercase()
}
