//! The running gateway, as the API and the program see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::driver::Input;
use super::handle::{
    AgentView, CommandError, CreateError, FindError, ListError, NewAgent, Page, Subscription,
};
use super::news::RoomWatch;
use super::registry::{AGENTS_MAX, Registry, Seat};
use super::shell::Shell;
use crate::agent::{AgentRecord, Command, RoomFailure};
use crate::ids::{AgentId, ClientId, ParticipantId, UserId};
use crate::privacy::Secret;
use crate::rooms::{RoomAnswer, RoomView, TrickleAnswer};
use crate::store::{self, Store, StoreError};
use crate::sys::{clock, entropy};

/// The running gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    draining: AtomicBool,
}

impl Gateway {
    /// Takes up every agent that the store has, and is ready.
    pub async fn start(shell: Shell, store: Store) -> Result<Self, StoreError> {
        let registry = Registry::new(Arc::new(shell), store);
        let count = registry.take_up().await?;
        registry.store().sweep_tombstones(clock::unix_ms()).await?;
        tracing::info!(agents = count, "took up the agents of the store");
        Ok(Self(Arc::new(Inner { registry, draining: AtomicBool::new(false) })))
    }

    /// Takes no new work, lets running turns finish, and ends every agent's task.
    ///
    /// Returns the agents that did not leave in time.
    pub async fn drain(&self, grace: Duration) -> Vec<AgentId> {
        self.0.draining.store(true, Ordering::Relaxed);
        let late = self.0.registry.drain(grace).await;
        self.store().close().await;
        late
    }

    /// Whether new work is taken (`/readyz`).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.draining.load(Ordering::Relaxed)
    }

    /// How many agents live.
    #[must_use]
    pub fn live_agents(&self) -> usize {
        self.0.registry.len()
    }

    /// What is kept: users and keys are no business of the runtime.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.0.registry.store()
    }

    /// Whose key this is, if it is a valid one.
    pub async fn owner_of(&self, key: &str) -> Result<Option<UserId>, StoreError> {
        self.store().owner_of_key(&Secret::new(key), clock::unix_ms()).await
    }

    /// Makes an agent.
    pub async fn create(&self, owner: &UserId, new: NewAgent) -> Result<AgentView, CreateError> {
        if !self.is_ready() {
            return Err(CreateError::Draining);
        }
        if self.0.registry.len() >= AGENTS_MAX {
            return Err(CreateError::Capacity);
        }
        let now_ms = clock::unix_ms();
        let lifetime = new.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let record = AgentRecord {
            id: AgentId::from_entropy(entropy::bits()),
            owner: owner.clone(),
            metadata_json: new.metadata_json,
            user_id: new.user_id,
            created_at_ms: now_ms,
            expires_at_ms: lifetime.map(|ms| now_ms.saturating_add(ms)),
            spec: new.spec,
        };
        self.store().insert_agent(&record).await.map_err(|error| match error {
            store::InsertError::Duplicate(first) => CreateError::Duplicate(first),
            store::InsertError::Store(error) => CreateError::Store(error.to_string()),
        })?;
        Ok(view(&self.0.registry.seat(record)))
    }

    /// Looks at one agent.
    pub async fn read(&self, owner: &UserId, id: &AgentId) -> Result<AgentView, FindError> {
        self.find(owner, id).await.map(|seat| view(&seat))
    }

    /// Looks at an owner's agents, newest first.
    pub async fn list(
        &self,
        owner: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<AgentView>, ListError> {
        let page = self.store().agents_of(owner, limit, cursor).await;
        let page = page.map_err(|error| match error {
            store::ListError::BadCursor => ListError::BadCursor,
            store::ListError::Store(error) => ListError::Store(error.to_string()),
        })?;
        // An agent whose end has begun is in the store until its last step, and is not shown.
        let live = page.rows.iter().filter_map(|record| self.0.registry.reach(&record.id));
        Ok(Page { rows: live.map(|seat| view(&seat)).collect(), next: page.next })
    }

    /// Ends an agent; returns when all four steps of the end are done.
    pub async fn delete(&self, owner: &UserId, id: &AgentId) -> Result<(), FindError> {
        let seat = self.find(owner, id).await?;
        let (reply, _) = oneshot::channel();
        // A closed door means that the agent is on its way out already.
        let _ = seat.door.send(Input::Command(Command::Delete, reply)).await;
        seat.gone().await;
        Ok(())
    }

    /// Connects a client.
    pub async fn subscribe(&self, owner: &UserId, id: &AgentId) -> Result<Subscription, FindError> {
        let seat = self.find(owner, id).await?;
        let client = ClientId::from_entropy(entropy::bits());
        let (reply, subscription) = oneshot::channel();
        let sent = seat.door.send(Input::Subscribe(client, reply)).await;
        sent.map_err(|_| FindError::NotFound)?;
        subscription.await.map_err(|_| FindError::NotFound)
    }

    /// Asks something of an agent; returns when the agent has taken or refused it.
    pub async fn command(&self, id: &AgentId, command: Command) -> Result<(), CommandError> {
        let seat = self.0.registry.reach(id).ok_or(CommandError::Gone)?;
        let (reply, outcome) = oneshot::channel();
        seat.door.try_send(Input::Command(command, reply)).map_err(|error| match error {
            TrySendError::Full(_) => CommandError::Busy,
            TrySendError::Closed(_) => CommandError::Gone,
        })?;
        outcome.await.map_err(|_| CommandError::Gone)??;
        Ok(())
    }

    /// Looks at a hosted room that is there, or would be made on first use.
    pub async fn room(&self, name: &str) -> Result<RoomView, RoomFailure> {
        self.0.registry.shell().rooms.view(name).await.ok_or(RoomFailure::NotFound)
    }

    /// Takes an SDP offer of someone who wants to come in, and answers it.
    pub async fn enter_room(
        &self,
        name: &str,
        token: Option<&str>,
        display_name: &str,
        offer: &str,
    ) -> Result<RoomAnswer, RoomFailure> {
        if !self.is_ready() {
            return Err(RoomFailure::Unreachable("the gateway is shutting down".into()));
        }
        let token = token.map(Secret::new);
        self.0.registry.shell().rooms.enter(name, token.as_ref(), display_name, offer).await
    }

    /// Takes trickled ICE candidates or an ICE restart, as an SDP fragment (RFC 8840); a restart
    /// is answered with a fragment of ours.
    pub async fn trickle(
        &self,
        name: &str,
        participant: &ParticipantId,
        fragment: &str,
    ) -> Result<TrickleAnswer, RoomFailure> {
        self.0.registry.shell().rooms.trickle(name, participant, fragment).await
    }

    /// Sends a participant out.
    pub async fn hang_up(
        &self,
        name: &str,
        participant: &ParticipantId,
    ) -> Result<(), RoomFailure> {
        let was_there = self.0.registry.shell().rooms.hang_up(name, participant).await;
        if was_there { Ok(()) } else { Err(RoomFailure::NotFound) }
    }

    /// Watches a hosted room: who is in it, and what its agents tell.
    pub async fn watch_room(&self, name: &str) -> Result<RoomWatch, RoomFailure> {
        let shell = self.0.registry.shell();
        let participants = shell.rooms.watch(name).await?;
        Ok(RoomWatch::new(name, participants, shell.watch()))
    }

    async fn find(&self, owner: &UserId, id: &AgentId) -> Result<Seat, FindError> {
        if let Some(seat) = self.0.registry.find(owner, id) {
            return Ok(seat);
        }
        let tombstone = self.store().tombstone(id, clock::unix_ms()).await;
        match tombstone.map_err(|error| FindError::Store(error.to_string()))? {
            Some(expired) if expired.owner == *owner => Err(FindError::Expired),
            Some(_) | None => Err(FindError::NotFound),
        }
    }
}

fn view(seat: &Seat) -> AgentView {
    let snapshot = seat.snapshot.borrow().clone();
    AgentView { record: (*seat.record).clone(), snapshot }
}
