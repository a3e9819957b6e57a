//! One client: its messages in, its acknowledgements and events out, in one order.

mod socket_io;
mod websocket;

use super::Api;
use super::convert::{commands, server_event, timestamp};
use super::keys::OpenKey;
use super::limits::{MessageLimit, TooMany};
use super::wire::{Ack, ClientMessage, EventKind, ServerEvent};
use crate::agent::{Command, Notification};
use crate::ids::{AgentId, CallId};
use crate::runtime::{CommandError, Gateway, Subscription, Turn};
use crate::sys::{clock, entropy};

pub(super) use self::socket_io::SocketIoLine;
pub(super) use self::websocket::WebSocketLine;

/// Whom a client speaks to, for how long, and how much it may say.
pub(super) struct Access {
    pub(super) gateway: Gateway,
    pub(super) agent: AgentId,
    pub(super) key: OpenKey,
    pub(super) limit: MessageLimit,
}

impl Access {
    pub(super) fn new(api: &Api, agent: AgentId, key: OpenKey) -> Self {
        Self { gateway: api.gateway.clone(), agent, key, limit: api.limits.of_client() }
    }
}

/// A connected client. One task owns it: while it waits for a command to be taken it tells
/// nothing, so that what a command brings about is told after its acknowledgement.
pub(super) struct Client {
    access: Access,
    line: Line,
    /// What its agent tells.
    told: Subscription,
    /// The code of what the agent has told last, if that may be its last word.
    last_word: Option<&'static str>,
}

/// The way to one client and back.
pub(super) enum Line {
    SocketIo(SocketIoLine),
    WebSocket(Box<WebSocketLine>),
}

/// Why a client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its agent has ended, and this was its last word.
    Agent(&'static str),
    /// Its key is valid no longer.
    Key,
    /// It does not take what it is told.
    TooSlow,
    /// It has gone, or is not heard of.
    Gone,
    /// It has sent what no message is, nor a part of one.
    Broken(Breach),
}

/// What ends a connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    /// A message over the limit.
    TooLarge,
    /// Text that is not UTF-8.
    NotText,
    /// Against the rules of the transport.
    Protocol,
}

/// Why a message was not taken.
struct Refused {
    code: &'static str,
    message: String,
}

impl Client {
    pub(super) const fn new(access: Access, line: Line, told: Subscription) -> Self {
        Self { access, line, told, last_word: None }
    }

    /// Serves the client until its connection ends, by whomever.
    pub(super) async fn run(mut self) {
        let (agent, client) = (&self.access.agent, &self.told.client);
        tracing::debug!(%agent, %client, "a client is connected");
        let end = match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        match end {
            End::TooSlow => {
                tracing::info!(client = %self.told.client, "disconnected a client: too slow");
            }
            End::Key => {
                tracing::info!(client = %self.told.client, "disconnected a client: no valid key");
                let (code, message) = KEY_OVER;
                if let Err(end) = self.line.tell(&error_event(code, message)).await {
                    tracing::debug!(?end, "the client does not hear why");
                }
            }
            End::Agent(_) | End::Gone | End::Broken(_) => {
                tracing::debug!(client = %self.told.client, ?end, "a client is disconnected");
            }
        }
        self.line.close(end).await;
    }

    /// Events go first: what the client itself brings about never piles up behind its messages.
    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            tokio::select! {
                biased;
                () = self.access.key.over() => return Err(End::Key),
                told = self.told.notifications.recv() => self.tell(told).await?,
                message = self.line.receive() => self.take(message?).await?,
            }
        }
    }

    /// Tells the client what all clients of the agent are told.
    async fn tell(&mut self, told: Option<Told>) -> Result<(), End> {
        let Some(stamped) = told else {
            // The agent closes after a last word; without one, it has let go of this client only.
            return Err(self.last_word.map_or(End::TooSlow, End::Agent));
        };
        self.last_word = last_word(&stamped.notification);
        self.line.tell(&server_event(&stamped)).await
    }

    /// Has one message carried out, acknowledges it, and says why if it was refused.
    async fn take(&mut self, message: Result<ClientMessage, String>) -> Result<(), End> {
        match self.carry_out(message).await? {
            Ok(()) => self.line.acknowledge(&Ack { ok: true, code: None, message: None }).await,
            Err(Refused { code, message }) => {
                let (code, message) = (code, message.as_str());
                let refused = Ack { ok: false, code: Some(code), message: Some(message) };
                self.line.acknowledge(&refused).await?;
                self.line.tell(&error_event(code, message)).await
            }
        }
    }

    async fn carry_out(
        &mut self,
        message: Result<ClientMessage, String>,
    ) -> Result<Result<(), Refused>, End> {
        if let Err(over) = self.access.limit.message() {
            return Ok(Err(Refused { code: TooMany::CODE, message: over.to_string() }));
        }
        let message = match message {
            Ok(message) => message,
            Err(message) => return Ok(Err(Refused { code: "BAD_MESSAGE", message })),
        };
        for command in commands(message, CallId::from_entropy(entropy::bits())) {
            if let Err(error) = self.command(command).await? {
                return Ok(Err(error.into()));
            }
        }
        Ok(Ok(()))
    }

    async fn command(&mut self, command: Command) -> Result<Result<(), CommandError>, End> {
        match self.turn(&command).await? {
            Ok(turn) => Ok(turn.command(command).await),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Waits for a turn at the agent's door, and for a join, at the gateway's. Until then nothing
    /// of the message has happened, so whatever the agent tells in the meantime is told at once.
    async fn turn(&mut self, command: &Command) -> Result<Result<Turn, CommandError>, End> {
        let (gateway, agent) = (self.access.gateway.clone(), self.access.agent.clone());
        let turn = gateway.turn(&agent, command);
        let mut turn = std::pin::pin!(turn);
        loop {
            tokio::select! {
                biased;
                turn = &mut turn => return Ok(turn),
                told = self.told.notifications.recv() => self.tell(told).await?,
            }
        }
    }
}

impl Line {
    /// The next message, or what is wrong with it. Nothing is lost if this is dropped.
    async fn receive(&mut self) -> Result<Result<ClientMessage, String>, End> {
        match self {
            Self::SocketIo(line) => line.receive().await,
            Self::WebSocket(line) => line.receive().await,
        }
    }

    /// Acknowledges the message that was received last, if its sender has asked for it.
    async fn acknowledge(&mut self, ack: &Ack<'_>) -> Result<(), End> {
        match self {
            Self::SocketIo(line) => line.acknowledge(ack).await,
            Self::WebSocket(line) => line.acknowledge(ack).await,
        }
    }

    async fn tell(&mut self, event: &ServerEvent<'_>) -> Result<(), End> {
        match self {
            Self::SocketIo(line) => line.tell(event).await,
            Self::WebSocket(line) => line.tell(event).await,
        }
    }

    /// Says why, as far as the transport has words for it, and ends the connection.
    async fn close(self, end: End) {
        match self {
            Self::SocketIo(line) => line.close().await,
            Self::WebSocket(line) => line.close(end).await,
        }
    }
}

/// The code of what may be the last that an agent tells.
const fn last_word(notification: &Notification) -> Option<&'static str> {
    if let Notification::Error { code, .. } = notification {
        return Some(code);
    }
    if let Notification::Handoff { .. } = notification { Some("HANDED_OFF") } else { None }
}

/// An error that concerns one client only.
fn error_event<'a>(code: &'a str, message: &'a str) -> ServerEvent<'a> {
    let timestamp = timestamp(clock::unix_ms());
    ServerEvent { kind: EventKind::Error { code, message }, seq: None, timestamp }
}

/// What a client is told last whose key is valid no longer: code and message.
const KEY_OVER: (&str, &str) = ("UNAUTHORIZED", "the key is valid no longer");

type Told = std::sync::Arc<crate::runtime::Stamped>;

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

/// The largest message, whatever the transport.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a client may take nothing of what it is told.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
