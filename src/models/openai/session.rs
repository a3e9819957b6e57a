//! One session with a Realtime server: an actor that joins socket, queues and dialogue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::connect::{Socket, connect};
use super::dialogue::{Dialogue, say};
use super::errors;
use super::heartbeat::{Beat, Heartbeat};
use super::setup::session_update;
use crate::agent::{AgentSpec, Medium, ModelAction, ModelEvent, ModelFailure};
use crate::media::Frame24k;
use crate::models::wire::{ClientEvent, ServerEvent, append_frame};
use crate::models::{ACTIONS_CAPACITY, ModelItem, ModelProfile};
use crate::sys::clock;

/// The session's ends of the link.
#[derive(Debug)]
pub(super) struct Ports {
    /// None in text.
    pub(super) audio: Option<mpsc::Receiver<Frame24k>>,
    pub(super) actions: mpsc::Receiver<ModelAction>,
    pub(super) items: mpsc::Sender<ModelItem>,
}

/// Runs a session from connecting to its end; the last item says why, if nobody asked for it.
pub(super) async fn run(profile: ModelProfile, spec: AgentSpec, medium: Medium, mut ports: Ports) {
    let mut held = VecDeque::new();
    let started = tokio::select! {
        started = start(&profile, &spec, medium) => started,
        () = hold_until_closed(&mut ports.actions, &mut held) => return,
    };
    let items = ports.items.clone();
    let failure = match started {
        Ok(socket) => {
            let greeting = spec.model.greeting.filter(|_| medium == Medium::Voice);
            let session = Session::new(&profile, medium, socket, ports);
            session.run(greeting, held).await.err()
        }
        Err(failure) => Some(failure),
    };
    if let Some(failure) = failure {
        tracing::info!(profile = profile.name, code = failure.code(), "a model session failed");
        // A link that is gone has nobody to tell.
        let _ = items.send(ModelItem::Event(ModelEvent::Failed(failure))).await;
    }
}

/// Connects and configures. `session.created` is not waited for: some servers never send it
/// unasked, and the update may follow the connection at once.
async fn start(
    profile: &ModelProfile,
    spec: &AgentSpec,
    medium: Medium,
) -> Result<Socket, ModelFailure> {
    let update =
        session_update(profile, spec, medium).map_err(|error| unavailable(error.to_string()))?;
    let mut socket = connect(profile, medium).await?;
    let update = ClientEvent::SessionUpdate(update).encode(Some(UPDATE_ID));
    send(&mut socket, Message::text(update))
        .await
        .map_err(|error| unavailable(error.to_string()))?;

    let limit = profile.deadlines.configure;
    let mut complaint = None;
    timeout(limit, configured(&mut socket, &mut complaint)).await.unwrap_or_else(|_| {
        let last = complaint.map(|last| format!("; its last error: {last}")).unwrap_or_default();
        Err(unavailable(format!("no session.updated within {} ms{last}", limit.as_millis())))
    })?;
    Ok(socket)
}

/// Waits until the server has taken our settings. Errors that do not name them are remembered.
async fn configured(
    socket: &mut Socket,
    complaint: &mut Option<String>,
) -> Result<(), ModelFailure> {
    loop {
        let Some(text) = received(socket.next().await).map_err(unavailable)? else { continue };
        match decode(&text) {
            Some(ServerEvent::SessionUpdated(_)) => return Ok(()),
            Some(ServerEvent::Error(event)) => {
                let error = event.error;
                let told = format!("{}: {}", error.code(), error.message);
                let is_ours = error.event_id.as_deref() == Some(UPDATE_ID);
                if is_ours || errors::is_fatal(error.code()) {
                    return Err(unavailable(told));
                }
                *complaint = Some(told);
            }
            other => {
                let kind = other.as_ref().map(ServerEvent::type_name);
                tracing::trace!(kind, "a model event before the session stands");
            }
        }
    }
}

/// Keeps what the agent wants done until there is a session; comes back when it wants none.
async fn hold_until_closed(
    actions: &mut mpsc::Receiver<ModelAction>,
    held: &mut VecDeque<ModelAction>,
) {
    while held.len() < ACTIONS_CAPACITY {
        match actions.recv().await {
            None | Some(ModelAction::Close) => return,
            Some(action) => held.push_back(action),
        }
    }
    std::future::pending::<()>().await;
}

/// A session that stands.
struct Session {
    socket: Socket,
    ports: Ports,
    dialogue: Dialogue,
    heartbeat: Heartbeat,
    /// For frames on their way out.
    buffer: BytesMut,
}

/// What has happened.
#[expect(clippy::large_enum_variant, reason = "a frame is handed on, never kept")]
enum Input {
    Action(ModelAction),
    Frame(Frame24k),
    Text(Utf8Bytes),
    /// Something has waited long enough.
    Deadline,
    /// An item was taken, or the socket gave no more than a sign of life.
    Nothing,
    /// The agent wants no session any more.
    Closed,
}

impl Session {
    fn new(profile: &ModelProfile, medium: Medium, socket: Socket, ports: Ports) -> Self {
        let deadlines = &profile.deadlines;
        let heartbeat = Heartbeat::new(deadlines.ping_every, deadlines.ping_limit, clock::now());
        let buffer = match medium {
            Medium::Voice => BytesMut::with_capacity(APPEND_BUFFER_BYTES),
            Medium::Text => BytesMut::new(),
        };
        let dialogue = Dialogue::new(medium, profile.images);
        Self { socket, ports, dialogue, heartbeat, buffer }
    }

    /// Greets, does what had to wait, and converses until somebody ends it.
    async fn run(
        mut self,
        greeting: Option<String>,
        held: VecDeque<ModelAction>,
    ) -> Result<(), ModelFailure> {
        self.deliver(ModelItem::Event(ModelEvent::Ready)).await;
        let greeting = greeting.as_deref().map(say);
        let greet = greeting.map(|text| ModelAction::Respond { instructions: Some(text) });
        for action in greet.into_iter().chain(held) {
            self.dialogue.handle_action(action, clock::now());
        }
        let ended = self.converse().await;
        if ended.is_ok() {
            self.close().await;
        } else {
            self.deliver_rest().await;
        }
        ended
    }

    /// One input, one change of the dialogue, everything that follows from it, and again.
    async fn converse(&mut self) -> Result<(), ModelFailure> {
        loop {
            self.send_requests().await?;
            if let Some(failure) = self.dialogue.poll_failure() {
                return Err(failure);
            }
            match self.next_input().await? {
                Input::Action(action) => self.dialogue.handle_action(action, clock::now()),
                Input::Frame(frame) => self.send_frame(&frame).await?,
                Input::Text(text) => {
                    if let Some(event) = decode(&text) {
                        self.dialogue.handle_event(event, clock::now());
                    }
                }
                Input::Deadline => self.handle_timeout().await?,
                Input::Nothing => {}
                Input::Closed => return Ok(()),
            }
        }
    }

    /// Waits for something to happen. While the agent has not taken what there is, nothing more
    /// is read, and TCP pushes back; what the agent says still goes out.
    async fn next_input(&mut self) -> Result<Input, ModelFailure> {
        let has_items = self.dialogue.has_items();
        let deadline = self.next_deadline();
        tokio::select! {
            action = self.ports.actions.recv() => Ok(match action {
                None | Some(ModelAction::Close) => Input::Closed,
                Some(action) => Input::Action(action),
            }),
            permit = self.ports.items.reserve(), if has_items => {
                let Ok(permit) = permit else { return Ok(Input::Closed) };
                if let Some(item) = self.dialogue.poll_item() {
                    permit.send(item);
                }
                Ok(Input::Nothing)
            }
            message = self.socket.next(), if !has_items => {
                self.heartbeat.on_message(clock::now());
                let text = received(message).map_err(ModelFailure::Lost)?;
                Ok(text.map_or(Input::Nothing, Input::Text))
            }
            Some(frame) = next_frame(&mut self.ports.audio) => Ok(Input::Frame(frame)),
            () = sleep_until(deadline.into()) => Ok(Input::Deadline),
        }
    }

    fn next_deadline(&self) -> Instant {
        let dialogue = self.dialogue.poll_timeout().map(|(until, _)| until);
        dialogue.into_iter().fold(self.heartbeat.poll_timeout(), Instant::min)
    }

    async fn handle_timeout(&mut self) -> Result<(), ModelFailure> {
        let now = clock::now();
        if self.dialogue.has_items() {
            // We are not reading, so silence says nothing about the other end.
            self.heartbeat.on_message(now);
        }
        self.dialogue.handle_timeout(now);
        match self.heartbeat.handle_timeout(now) {
            Some(Beat::Ping) => self.send(Message::Ping(Bytes::new())).await,
            Some(Beat::Dead) => Err(ModelFailure::Lost("it gives no sign of life".to_owned())),
            None => Ok(()),
        }
    }

    async fn send_requests(&mut self) -> Result<(), ModelFailure> {
        while let Some(request) = self.dialogue.poll_request() {
            let text = request.event.encode(Some(&request.event_id));
            self.send(Message::text(text)).await?;
        }
        Ok(())
    }

    async fn send_frame(&mut self, frame: &Frame24k) -> Result<(), ModelFailure> {
        let bytes = append_frame(&mut self.buffer, frame);
        // Base64 between two constants is text; were it not, the frame would be worth nothing.
        let Ok(text) = Utf8Bytes::try_from(bytes) else { return Ok(()) };
        self.send(Message::Text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), ModelFailure> {
        send(&mut self.socket, message).await.map_err(|error| ModelFailure::Lost(error.to_string()))
    }

    async fn deliver(&self, item: ModelItem) {
        // A link that is gone shows itself on the next input.
        let _ = self.ports.items.send(item).await;
    }

    /// What came before the end belongs before the end.
    async fn deliver_rest(&mut self) {
        while let Some(item) = self.dialogue.poll_item() {
            self.deliver(item).await;
        }
    }

    async fn close(&mut self) {
        if timeout(CLOSE_LIMIT, self.socket.close(None)).await.is_err() {
            tracing::debug!("a model's socket did not take a close frame");
        }
    }
}

/// The next frame that the model is to hear; in text none ever comes.
async fn next_frame(audio: &mut Option<mpsc::Receiver<Frame24k>>) -> Option<Frame24k> {
    match audio {
        Some(audio) => audio.recv().await,
        None => None,
    }
}

/// Why a message could not be sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// The socket is broken.
    #[error(transparent)]
    Socket(#[from] tokio_tungstenite::tungstenite::Error),
    /// The server has stopped reading.
    #[error("it takes nothing for {} s", SEND_LIMIT.as_secs())]
    Stalled,
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), SendError> {
    timeout(SEND_LIMIT, socket.send(message)).await.map_err(|_| SendError::Stalled)??;
    Ok(())
}

/// The text in what a socket gives, if any; the error says how the socket has ended.
fn received(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<Utf8Bytes>, String> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            Ok(None)
        }
        Some(Ok(Message::Close(Some(frame)))) => {
            Err(format!("closed with {}: {}", u16::from(frame.code), frame.reason))
        }
        Some(Ok(Message::Close(None))) => Err("closed without a reason".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the connection is gone".to_owned()),
    }
}

fn decode(text: &str) -> Option<ServerEvent<'_>> {
    match ServerEvent::decode(text) {
        Ok(message) => Some(message.event),
        Err(error) => {
            tracing::debug!(%error, "a model event that cannot be read");
            None
        }
    }
}

fn unavailable(reason: impl Into<String>) -> ModelFailure {
    ModelFailure::Unavailable(reason.into())
}

/// The event id of our settings, by which their refusal is known.
const UPDATE_ID: &str = "setup_1";

/// How long a server may take nothing from its socket before it counts as lost.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long a close frame may take: it is a courtesy.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Room for a few frames as events, of about 1.4 kB each.
const APPEND_BUFFER_BYTES: usize = 8 * 1024;
