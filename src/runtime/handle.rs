//! What the API and the runtime say to each other: subscriptions, views, and refusals.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::admission::Refusal;
use crate::agent::{
    AgentRecord, AgentSpec, Notification, Participant, Rejection, RoomFailure, Snapshot,
};
use crate::ids::{AgentId, ClientId};
use crate::privacy::Pii;
use crate::store::{self, CreateUserError, StoreError};

/// Notifications that may wait for one client.
///
/// When full: that client is disconnected, by name; nothing is skipped silently. It holds what a
/// flood of another client's messages brings about while this one's connection catches its breath.
pub(super) const NOTIFICATIONS_CAPACITY: usize = 4096;

/// A notification with its place in the agent's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    /// Counts up by one per agent, from 1.
    pub seq: u64,
    /// When it was told, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What is told.
    pub notification: Notification,
}

/// One client's view of an agent. Dropping it tells the agent that the client has gone.
#[derive(Debug)]
pub struct Subscription {
    /// The client's name.
    pub client: ClientId,
    /// What the agent tells; closed when the agent wants the client's connection closed.
    pub notifications: mpsc::Receiver<Arc<Stamped>>,
    /// Dropped with the subscription, and so seen by the agent.
    #[expect(dead_code, reason = "its end is its use")]
    pub(super) presence: oneshot::Sender<()>,
}

/// What a new agent is made from.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// What the conversation needs.
    pub spec: AgentSpec,
    /// `metadata` as given, as JSON text.
    pub metadata_json: String,
    /// Its time to live, counted from now.
    pub ttl: Option<Duration>,
    /// The end user it serves.
    pub user_id: Option<String>,
}

/// A wish to pass an agent's conversation on.
#[derive(Clone, Debug)]
pub struct HandOffWish {
    /// To whom.
    pub heir: Heir,
    /// Why, in a few words; clients see it.
    pub reason: String,
    /// What the heir should know besides.
    pub context: Option<Pii<String>>,
}

/// What is to change of an agent; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentChange {
    /// The name.
    pub name: Option<String>,
    /// All of `metadata`.
    pub metadata: Option<NewMetadata>,
    /// How long to live from now on; inside, `None` is for ever.
    pub ttl: Option<Option<Duration>>,
    /// The end user it serves; inside, `None` is nobody.
    pub user_id: Option<Option<String>>,
}

/// New `metadata`, and what the conversation needs of it.
#[derive(Clone, Debug)]
pub struct NewMetadata {
    /// As given, as JSON text.
    pub json: String,
    /// What it means. The agent keeps its own name.
    pub spec: AgentSpec,
}

/// Who goes on in the place of an agent.
#[derive(Clone, Debug)]
pub enum Heir {
    /// An agent that is there.
    Known(AgentId),
    /// One to be made; its user is the one of its predecessor.
    New(Box<NewAgent>),
}

/// Why an agent was not handed off.
#[derive(Clone, Debug, Error)]
pub enum HandOffError {
    /// There is no such agent to hand off.
    #[error(transparent)]
    Find(#[from] FindError),
    /// There is no such agent to go on.
    #[error("there is no such agent to hand off to")]
    NoHeir,
    /// An agent cannot follow itself.
    #[error("an agent cannot be handed off to itself")]
    Itself,
    /// The heir serves another user.
    #[error("agent {0} serves another user")]
    ServesAnother(AgentId),
    /// The agent has refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The one to go on has refused.
    #[error("the agent that was to go on has refused: {0}")]
    HeirRejected(Rejection),
    /// The heir was not made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// One of the two ended on the way.
    #[error("the handoff did not come to its end; one of the two agents has ended")]
    Broken,
}

/// An agent as its owner may see it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// What was made.
    pub record: AgentRecord,
    /// What it is doing.
    pub snapshot: Snapshot,
}

/// What the page of a hosted room shows as it happens.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomNews {
    /// Who is in the room from here on: told first, and whenever it changes.
    Participants(Vec<Participant>),
    /// What an agent in the room tells.
    Notification {
        /// The agent.
        agent: AgentId,
        /// The name by which the room knows it.
        name: Arc<str>,
        /// What it tells.
        stamped: Arc<Stamped>,
    },
}

/// What an agent tells, for its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentNews {
    /// The agent.
    pub agent: AgentId,
    /// Its own name.
    pub name: Arc<str>,
    /// What it tells.
    pub stamped: Arc<Stamped>,
}

/// What the store says when it fails; for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{words}")]
pub struct StoreFailure {
    /// Why it has failed.
    pub words: String,
    /// Whether the same may work in a while.
    pub is_passing: bool,
}

impl StoreFailure {
    /// Whoever would have asked the store has gone, and the gateway with it.
    pub(super) fn of_shutdown() -> Self {
        Self { words: "the gateway is shutting down".to_owned(), is_passing: true }
    }
}

impl From<StoreError> for StoreFailure {
    fn from(error: StoreError) -> Self {
        Self { words: error.to_string(), is_passing: error.is_unavailable() }
    }
}

impl From<CreateUserError> for StoreFailure {
    fn from(error: CreateUserError) -> Self {
        match error {
            CreateUserError::Store(error) => error.into(),
            CreateUserError::EmailTaken => Self { words: error.to_string(), is_passing: false },
        }
    }
}

/// Why agents, or calls, were not listed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// The cursor is none that a list has given.
    #[error("the cursor is none that this list has given")]
    BadCursor,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

impl From<store::ListError> for ListError {
    fn from(error: store::ListError) -> Self {
        match error {
            store::ListError::BadCursor => Self::BadCursor,
            store::ListError::Store(error) => Self::Store(error.into()),
        }
    }
}

/// Why an agent was not made.
#[derive(Clone, Debug, Error)]
pub enum CreateError {
    /// The owner has a live agent for this user already.
    #[error("agent {0} serves this user already")]
    Duplicate(AgentId),
    /// The process takes no more.
    #[error("the gateway is full")]
    Capacity,
    /// The process is going down.
    #[error("the gateway is shutting down")]
    Draining,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

/// Why an agent was not changed. Nothing of it has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpdateError {
    /// There is none.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The agent has refused, because it is at work.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The owner has another live agent for this user.
    #[error("agent {0} serves this user already")]
    Duplicate(AgentId),
    /// The process is going down.
    #[error("the gateway is shutting down")]
    Draining,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

/// Why an agent was not found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindError {
    /// No such agent of this owner.
    #[error("there is no such agent")]
    NotFound,
    /// It was there, and its time to live ran out less than a day ago.
    #[error("the agent's time to live is over")]
    Expired,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

/// Why a caller is not let into a room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnterError {
    /// By the room.
    #[error(transparent)]
    Room(#[from] RoomFailure),
    /// By the gateway, which has enough to do.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The agent has refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many commands wait already.
    #[error("too many commands are waiting for this agent")]
    Busy,
    /// The agent has ended.
    #[error("the agent has ended")]
    Gone,
}
