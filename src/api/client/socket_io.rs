//! The way to a client over Socket.IO: a mailbox for what comes, and patience with what goes.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socketioxide::extract::{AckSender, SocketRef};
use socketioxide::handler::{FromMessage, FromMessageParts as _, Value};
use socketioxide::socket::Socket;
use socketioxide::{SendError, SocketError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use super::super::socket::session_of;
use super::super::transports::Transports;
use super::super::wire::{
    Ack, Carried, ClientMessage, EventKind, Generation, ServerEvent, read_event,
};
use super::{Access, Client, End, Line, PATIENCE, Refused, error_event};
use crate::runtime::Subscription;
use crate::sys::tasks::{self, Task};

/// A Socket.IO client, its mailbox, and what it has sent last.
pub(in crate::api) struct SocketIoLine {
    voice: Voice,
    inbox: mpsc::Receiver<Mail>,
    /// Where the message that was received last is acknowledged.
    receipt: Option<Receipt>,
    /// The client has flooded us, and could not even be told so.
    flooded: Arc<Notify>,
    transports: Transports,
}

/// A message as it came.
struct Mail {
    letter: Letter,
    /// The room that it takes in the mailbox.
    _bytes: OwnedSemaphorePermit,
}

/// The text of an event, unless it has more than text, and where to acknowledge it.
struct Letter {
    text: Option<String>,
    receipt: Receipt,
}

/// Where a message is acknowledged, if that was asked for.
struct Receipt {
    socket: Arc<Socket>,
    id: Option<i64>,
}

/// The way to one client, and the generation of the protocol it speaks.
struct Voice {
    socket: SocketRef,
    generation: Arc<AtomicU8>,
}

/// Where a client's messages wait.
#[derive(Clone)]
struct Mailbox {
    mails: mpsc::Sender<Mail>,
    bytes: Arc<Semaphore>,
}

impl SocketIoLine {
    /// Takes charge of a client that is about to be connected.
    pub(in crate::api) fn start(
        access: Access,
        told: Subscription,
        socket: &SocketRef,
        transports: Transports,
    ) {
        let (mails, inbox) = mpsc::channel(MAILBOX_CAPACITY);
        let mailbox = Mailbox { mails, bytes: Arc::new(Semaphore::new(MAILBOX_BYTES_CAPACITY)) };
        let voice = Voice { socket: socket.clone(), generation: Arc::new(AtomicU8::new(UNKNOWN)) };
        let flooded = Arc::new(Notify::new());
        receive(socket, Arc::clone(&voice.generation), mailbox, Arc::clone(&flooded));
        let line = Self { voice, inbox, receipt: None, flooded, transports: transports.clone() };
        let client = Client::new(access, Line::SocketIo(line), told);
        let session = session_of(socket);
        let connected = Arc::clone(&session.connected);
        let task = tasks::spawn("client", async move {
            // Notified once the client is in; if its connection breaks before that, never.
            if tokio::time::timeout(CONNECT, connected.notified()).await.is_ok() {
                client.run().await;
            }
        });
        end_with(socket, task, move |socket| async move {
            transports.ended(socket.id.to_string(), session.cut).await;
        });
    }

    pub(super) async fn receive(&mut self) -> Result<Result<ClientMessage, String>, End> {
        let mail = tokio::select! {
            mail = self.inbox.recv() => mail.ok_or(End::Gone)?,
            () = self.flooded.notified() => return Err(End::TooSlow),
        };
        let Letter { text, receipt } = mail.letter;
        self.receipt = Some(receipt);
        let Some(text) = text else {
            return Ok(Err("a message must not have binary attachments".to_owned()));
        };
        let Carried { event, payload } = match read_event(&text) {
            Ok(carried) => carried,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(generation) = Generation::of(&event, &payload) {
            self.voice.learn(generation);
        }
        Ok(ClientMessage::parse(&event, &payload))
    }

    pub(super) async fn acknowledge(&mut self, ack: &Ack<'_>) -> Result<(), End> {
        match self.receipt.take() {
            Some(receipt) => when_there_is_room(|| receipt.sign(ack)).await,
            None => Ok(()),
        }
    }

    pub(super) async fn tell(&mut self, event: &ServerEvent<'_>) -> Result<(), End> {
        for channel in self.voice.channels(event) {
            when_there_is_room(|| self.voice.emit(channel, event)).await?;
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        let socket = self.voice.socket;
        if socket.clone().disconnect().is_err() {
            // The farewell finds no room, or no connection: there is nothing to wait for.
            let cut = session_of(&socket).cut;
            self.transports.ended(socket.id.to_string(), cut).await;
        }
    }
}

/// Has every message of a client put into its mailbox.
///
/// The handler's body runs in the connection's reader and does not wait, so messages keep the
/// order in which they came; the future that it returns does nothing. The socket owns the
/// handler, so the handler must not own the socket: neither would ever be freed.
fn receive(socket: &SocketRef, generation: Arc<AtomicU8>, mailbox: Mailbox, flooded: Arc<Notify>) {
    socket.on_fallback(move |socket: SocketRef, letter: Letter| {
        if let Err((receipt, reason)) = mailbox.put(letter) {
            let voice = Voice { socket, generation: Arc::clone(&generation) };
            let refused = Refused { code: "QUEUE_FULL", message: reason };
            if voice.refuse(&receipt, &refused).is_err() {
                flooded.notify_one();
            }
        }
        ready(())
    });
}

impl Mailbox {
    /// Puts a letter in; if there is no room for it, where to tell so, and why.
    fn put(&self, letter: Letter) -> Result<(), (Receipt, String)> {
        let size = letter.text.as_deref().map_or(0, str::len).clamp(1, MAILBOX_BYTES_CAPACITY);
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let Ok(bytes) = Arc::clone(&self.bytes).try_acquire_many_owned(permits) else {
            let reason = format!("{MAILBOX_BYTES_CAPACITY} bytes of messages are waiting already");
            return Err((letter.receipt, reason));
        };
        match self.mails.try_send(Mail { letter, _bytes: bytes }) {
            // Closed: the client is on its way out.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(mail)) => {
                let reason = format!("{MAILBOX_CAPACITY} messages are waiting already");
                Err((mail.letter.receipt, reason))
            }
        }
    }
}

impl FromMessage<socketioxide::adapter::LocalAdapter> for Letter {
    type Error = std::convert::Infallible;

    fn from_message(
        socket: Arc<Socket>,
        value: Value,
        id: Option<i64>,
    ) -> Result<Self, Self::Error> {
        let text = match value {
            Value::Str(text, None) => Some(text.as_str().to_owned()),
            Value::Str(_, Some(_)) | Value::Bytes(_) => None,
        };
        Ok(Self { text, receipt: Receipt { socket, id } })
    }
}

impl Receipt {
    fn sign(&self, ack: &Ack<'_>) -> Result<(), SendError> {
        let mut nothing = Value::Bytes(bytes::Bytes::new());
        let Ok(sender) = AckSender::from_message_parts(&self.socket, &mut nothing, &self.id);
        sender.send(ack)
    }
}

impl Voice {
    /// Errors have a channel of their own in the new generation, and none in the old; to a
    /// client that has not shown which it speaks, they go on both.
    fn channels(&self, event: &ServerEvent<'_>) -> &'static [&'static str] {
        if !matches!(event.kind, EventKind::Error { .. }) {
            return &["event"];
        }
        match self.generation.load(Ordering::Relaxed) {
            OLD => &["event"],
            NEW => &["error"],
            _ => &["event", "error"],
        }
    }

    /// Tells at once that a message was not taken, or not at all.
    fn refuse(&self, receipt: &Receipt, refused: &Refused) -> Result<(), SendError> {
        let Refused { code, message } = refused;
        receipt.sign(&Ack { ok: false, code: Some(code), message: Some(message) })?;
        let event = error_event(code, message);
        self.channels(&event).iter().try_for_each(|channel| self.emit(channel, &event))
    }

    fn learn(&self, generation: Generation) {
        let value = match generation {
            Generation::Old => OLD,
            Generation::New => NEW,
        };
        self.generation.store(value, Ordering::Relaxed);
    }

    fn emit(&self, channel: &str, event: &ServerEvent<'_>) -> Result<(), SendError> {
        self.socket.emit(channel, event)
    }
}

/// Sends as soon as the connection has room, which the crate does not tell: so it is tried again
/// and again, for as long as a client may take nothing.
async fn when_there_is_room(mut send: impl FnMut() -> Result<(), SendError>) -> Result<(), End> {
    let mut retry: Option<(tokio::time::Interval, Instant)> = None;
    loop {
        match send() {
            Ok(()) => return Ok(()),
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {}
            Err(SendError::Socket(SocketError::Closed)) => return Err(End::Gone),
            Err(error) => {
                tracing::error!(%error, "what is ours to send has no JSON form");
                return Ok(());
            }
        }
        let (ticks, deadline) = retry.get_or_insert_with(|| {
            let now = Instant::now();
            let mut ticks = tokio::time::interval_at(now + ROOM_RETRY, ROOM_RETRY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (ticks, now + PATIENCE)
        });
        if Instant::now() >= *deadline {
            return Err(End::TooSlow);
        }
        ticks.tick().await;
    }
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

const UNKNOWN: u8 = 0;
const OLD: u8 = 1;
const NEW: u8 = 2;

/// Messages of one client that may wait to be taken. Socket.IO cannot make a client wait, so it
/// holds what a client sends in one go.
///
/// When full: the sender is told `QUEUE_FULL`, and the message is not taken.
const MAILBOX_CAPACITY: usize = 32_768;

/// Bytes of the messages of one client that may wait to be taken.
///
/// When full: the sender is told `QUEUE_FULL`, and the message is not taken.
const MAILBOX_BYTES_CAPACITY: usize = 16 * 1024 * 1024;

/// How soon a full connection is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(5);

/// A client that was let in is connected within milliseconds, or its connection has broken.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_catches_its_breath_is_told_all_the_same() {
        let mut tries = 0;
        let told = when_there_is_room(|| {
            tries += 1;
            if tries < 1_000 { Err(full()) } else { Ok(()) }
        });
        assert_eq!(told.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let began = Instant::now();
        assert_eq!(when_there_is_room(|| Err(full())).await, Err(End::TooSlow));
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        let gone = when_there_is_room(|| Err(SendError::Socket(SocketError::Closed)));
        assert_eq!(gone.await, Err(End::Gone));
    }

    fn full() -> SendError {
        SendError::Socket(SocketError::InternalChannelFull)
    }
}
