//! What the API and the runtime say to each other: subscriptions, views, and refusals.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::agent::{AgentRecord, AgentSpec, Notification, Participant, Rejection, Snapshot};
use crate::ids::{AgentId, ClientId};

/// Notifications that may wait for one client.
///
/// When full: that client is disconnected, by name; nothing is skipped silently.
pub(super) const NOTIFICATIONS_CAPACITY: usize = 256;

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

/// An agent as its owner may see it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// What was made.
    pub record: AgentRecord,
    /// What it is doing.
    pub snapshot: Snapshot,
}

/// A page of a list; `next` goes on where it ends.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next page.
    pub next: Option<String>,
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
        /// What it tells.
        stamped: Arc<Stamped>,
    },
}

/// Why agents were not listed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// The cursor is none that a list has given.
    #[error("the cursor is none that this list has given")]
    BadCursor,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(String),
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
    Store(String),
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
    Store(String),
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
