//! One Socket.IO client: its messages in, its acknowledgements and events out, in one order.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socketioxide::extract::{AckSender, Event, SocketRef, TryData};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::convert::{commands, server_event, timestamp};
use super::socket::session_of;
use super::transports::Transports;
use super::wire::{Ack, ClientMessage, EventKind, Generation, JsonValue, ServerEvent};
use crate::agent::Notification;
use crate::ids::{AgentId, CallId, ClientId};
use crate::runtime::{CommandError, Gateway, Stamped, Subscription};
use crate::sys::tasks::{self, Task};
use crate::sys::{clock, entropy};

/// A connected client. One task owns it: while it waits for a command to be taken it tells
/// nothing, so that what a command brings about is told after its acknowledgement.
pub(super) struct Client {
    gateway: Gateway,
    agent: AgentId,
    id: ClientId,
    voice: Voice,
    inbox: mpsc::Receiver<Mail>,
}

/// A message as it came, and where to acknowledge it.
struct Mail {
    message: Result<ClientMessage, String>,
    ack: AckSender,
}

/// The way to one client, and the generation of the protocol it speaks.
#[derive(Clone)]
struct Voice {
    socket: SocketRef,
    generation: Arc<AtomicU8>,
}

/// Why a message was not taken.
struct Refused {
    code: &'static str,
    message: String,
}

/// The client cannot be reached any more.
struct Unreachable;

impl Client {
    /// Takes charge of a client that is about to be connected.
    pub(super) fn start(
        gateway: Gateway,
        agent: AgentId,
        subscription: Subscription,
        socket: &SocketRef,
        transports: Transports,
    ) {
        let (mailbox, inbox) = mpsc::channel(INBOX_CAPACITY);
        let voice = Voice { socket: socket.clone(), generation: Arc::new(AtomicU8::new(UNKNOWN)) };
        receive(socket, voice.clone(), mailbox);
        let id = subscription.client.clone();
        let client = Self { gateway, agent, id, voice, inbox };
        let session = session_of(socket);
        let connected = Arc::clone(&session.connected);
        let task = tasks::spawn("client", async move {
            // Notified once the client is in; if its connection breaks before that, never.
            if tokio::time::timeout(CONNECT, connected.notified()).await.is_ok() {
                client.run(subscription).await;
            }
        });
        end_with(socket, task, move |socket| async move {
            transports.ended(socket.id.to_string(), session.cut).await;
        });
    }

    async fn run(mut self, mut subscription: Subscription) {
        tracing::debug!(agent = %self.agent, client = %self.id, "a client is connected");
        loop {
            let alive = tokio::select! {
                mail = self.inbox.recv() => match mail {
                    Some(mail) => self.take(mail).await,
                    None => break,
                },
                told = subscription.notifications.recv() => match told {
                    Some(stamped) => self.voice.tell(&stamped),
                    None => break,
                },
            };
            if alive.is_err() {
                tracing::info!(client = %self.id, "a client was too slow, and is disconnected");
                break;
            }
        }
        // It fails only where the connection is full or gone; then it ends by being cut.
        let _told = self.voice.socket.disconnect();
    }

    /// Has one message carried out, acknowledges it, and says why if it was refused.
    async fn take(&self, mail: Mail) -> Result<(), Unreachable> {
        let Mail { message, ack } = mail;
        match self.carry_out(message).await {
            Ok(()) => {
                let taken = Ack { ok: true, code: None, message: None };
                ack.send(&taken).map_err(|_| Unreachable)
            }
            Err(refused) => self.voice.refuse(ack, &refused),
        }
    }

    async fn carry_out(&self, message: Result<ClientMessage, String>) -> Result<(), Refused> {
        let message = message.map_err(|message| Refused { code: "BAD_MESSAGE", message })?;
        for command in commands(message, CallId::from_entropy(entropy::bits())) {
            self.gateway.command(&self.agent, command).await?;
        }
        Ok(())
    }
}

/// Has every message of a client put into its mailbox.
///
/// The handler's body runs in the connection's reader and does not wait, so messages keep the
/// order in which they came; the future that it returns does nothing.
fn receive(socket: &SocketRef, voice: Voice, mailbox: mpsc::Sender<Mail>) {
    socket.on_fallback(
        move |Event(event): Event, TryData(payload): TryData<JsonValue>, ack: AckSender| {
            // That the packet is JSON was found out on the way here: only a missing payload fails.
            let payload = payload.unwrap_or_default();
            if let Some(generation) = Generation::of(&event, &payload) {
                voice.learn(generation);
            }
            let message = ClientMessage::parse(&event, &payload);
            match mailbox.try_send(Mail { message, ack }) {
                // Closed: the client is on its way out.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(mail)) => {
                    let message = format!("{INBOX_CAPACITY} messages are waiting already");
                    let refused = Refused { code: "QUEUE_FULL", message };
                    // One who cannot even be told is found out by the next event.
                    let _told = voice.refuse(mail.ack, &refused);
                }
            }
            ready(())
        },
    );
}

/// Ends the client's task with its connection, however that comes about, and then calls `then`.
fn end_with<F>(
    socket: &SocketRef,
    task: Task,
    then: impl FnOnce(SocketRef) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let task = Arc::new(task);
    socket.on_disconnect(move |socket: SocketRef| {
        drop(task);
        then(socket)
    });
}

impl Voice {
    /// Tells the client what all clients of the agent are told.
    fn tell(&self, stamped: &Stamped) -> Result<(), Unreachable> {
        let event = server_event(stamped);
        if matches!(stamped.notification, Notification::Error { .. }) {
            self.tell_error(&event)
        } else {
            self.emit("event", &event)
        }
    }

    /// Acknowledges a message as refused, and tells its sender, and nobody else, why.
    fn refuse(&self, ack: AckSender, refused: &Refused) -> Result<(), Unreachable> {
        let Refused { code, message } = refused;
        let answer = Ack { ok: false, code: Some(code), message: Some(message) };
        ack.send(&answer).map_err(|_| Unreachable)?;
        self.tell_error(&ServerEvent {
            kind: EventKind::Error { code, message },
            seq: None,
            timestamp: timestamp(clock::unix_ms()),
        })
    }

    /// Errors have a channel of their own in the new generation, and none in the old; to a
    /// client that has not shown which it speaks, they go on both.
    fn tell_error(&self, event: &ServerEvent<'_>) -> Result<(), Unreachable> {
        let generation = self.generation.load(Ordering::Relaxed);
        if generation != NEW {
            self.emit("event", event)?;
        }
        if generation != OLD {
            self.emit("error", event)?;
        }
        Ok(())
    }

    fn learn(&self, generation: Generation) {
        let value = match generation {
            Generation::Old => OLD,
            Generation::New => NEW,
        };
        self.generation.store(value, Ordering::Relaxed);
    }

    fn emit(&self, channel: &str, event: &ServerEvent<'_>) -> Result<(), Unreachable> {
        self.socket.emit(channel, event).map_err(|_| Unreachable)
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::Rejected(rejection) => rejection.code(),
            CommandError::Busy => "QUEUE_FULL",
            CommandError::Gone => "INVALID_STATE",
        };
        Self { code, message: error.to_string() }
    }
}

const UNKNOWN: u8 = 0;
const OLD: u8 = 1;
const NEW: u8 = 2;

/// Messages of one client that may wait to be taken.
///
/// When full: the sender is told `QUEUE_FULL`, and the message is not taken.
const INBOX_CAPACITY: usize = 64;

/// The largest message, by WebSocket or by polling.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A client that was let in is connected within milliseconds, or its connection has broken.
const CONNECT: Duration = Duration::from_secs(10);
