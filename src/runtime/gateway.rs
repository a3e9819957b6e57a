//! The running gateway, as the API and the program see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::archive::{self, Archive, CallError};
use super::driver::Input;
use super::figures::Figures;
use super::handle::{
    AgentChange, AgentView, CommandError, CreateError, EnterError, FindError, ListError, NewAgent,
    Subscription, UpdateError,
};
use super::hooks::{self, WebhookPolicy};
use super::news::{OwnerWatch, RoomWatch, alias};
use super::recording::{self, Recorded};
use super::registry::{AGENTS_MAX, Registry, Seat};
use super::retention;
use super::rooms::RoomKeeper;
use super::shell::Shell;
use super::update::millis;
use crate::agent::{AgentRecord, Command, Detector, Rejection, RoomFailure};
use crate::ids::{AgentId, CallId, ClientId, UserId};
use crate::meter::{Counter, Meter};
use crate::privacy::Secret;
use crate::rooms::{IceSession, RoomAnswer, RoomView, TrickleAnswer};
use crate::store::{self, ArchivedCall, CallSummary, KeyHolder, Page, Store, StoreError};
use crate::sys::tasks::Task;
use crate::sys::{clock, entropy};

/// The running gateway. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    rooms: RoomKeeper,
    draining: AtomicBool,
    /// Cancelled when agents tell nothing any more.
    over: CancellationToken,
    /// The archivist, if there is one, those who forget what is over its time, and who delivers
    /// to webhooks.
    _upkeep: Vec<Task>,
}

/// Why no gateway has started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can be sent to webhooks.
    #[error("there is no HTTP client for webhooks: {0}")]
    Courier(String),
}

impl Gateway {
    /// Closes the calls of a process that is gone, takes up every agent and makes every room that
    /// the store has, and is ready.
    pub async fn start(mut shell: Shell, store: Store) -> Result<Self, StartError> {
        let kept = shell.archive_policy.kept;
        let left = store.live_calls_with_webhooks().await?;
        let calls = store.close_live_calls(archive::SERVER_CRASHED).await?;
        let left = hooks::left_calls(&store, left).await?;
        retention::sweep(&store, kept).await?;
        let (archive, archivist) =
            shell.archive_policy.enabled.then(|| Archive::open(store.clone())).unzip();
        shell.archive = archive;
        let sweeper = retention::keep(store.clone(), kept, retention::SWEEP_PERIOD);
        let journals = shell.journal.clone();
        let journals =
            journals.map(|own| retention::keep_journals(own, kept, retention::SWEEP_PERIOD));
        let (meter, policy) = (shell.meter.clone(), shell.webhook_policy);
        let (hooks, postman) = hooks::open(store.clone(), meter, policy, left).await?;
        shell.hooks = Some(hooks);
        let recordings = shell.recordings.clone();
        let recordings =
            recordings.map(|own| retention::keep_recordings(own, retention::SWEEP_PERIOD));
        let rooms = RoomKeeper::start(shell.rooms.clone(), store.clone()).await?;
        let registry = Registry::new(Arc::new(shell), store);
        let agents = registry.take_up().await?;
        tracing::info!(agents, calls, "took up the agents of the store, and closed its live calls");
        let draining = AtomicBool::new(false);
        let upkeep = [archivist, Some(sweeper), journals, recordings, Some(postman)];
        Ok(Self(Arc::new(Inner {
            registry,
            rooms,
            draining,
            over: CancellationToken::new(),
            _upkeep: upkeep.into_iter().flatten().collect(),
        })))
    }

    /// Takes no new work, lets running turns finish, ends every agent's task, and closes the rooms.
    ///
    /// Returns the agents that did not leave in time.
    pub async fn drain(&self, grace: Duration) -> Vec<AgentId> {
        self.0.draining.store(true, Ordering::Relaxed);
        let late = self.0.registry.drain(grace).await;
        self.0.over.cancel();
        self.0.registry.shell().places.part().await;
        self.0.rooms.stop().await;
        if !self.settle_archive(archive::FLUSH_PATIENCE).await {
            tracing::error!("the last entries of calls are not written");
        }
        if let Some(hooks) = &self.0.registry.shell().hooks
            && !hooks.stop(archive::FLUSH_PATIENCE).await
        {
            tracing::error!("the last news for webhooks are not kept");
        }
        if let Some(journal) = &self.0.registry.shell().journal
            && !journal.flush(archive::FLUSH_PATIENCE).await
        {
            tracing::error!("the last lines of journals are not written");
        }
        if let Some(traces) = &self.0.registry.shell().traces
            && !traces.flush(archive::FLUSH_PATIENCE).await
        {
            tracing::warn!("the last spans of traces are not sent");
        }
        if let Some(recordings) = &self.0.registry.shell().recordings
            && !recordings.flush(recording::FLUSH_PATIENCE).await
        {
            tracing::error!("the last sounds of recordings are not written");
        }
        if !late.is_empty()
            && let Err(error) = self.store().close_live_calls(archive::SHUTDOWN).await
        {
            tracing::error!(%error, "the calls of late agents could not be closed");
        }
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

    /// How long frames have taken on their way, by stage.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.registry.shell().meter
    }

    /// The share of the last second in which each thread for calls had something to do.
    #[must_use]
    pub fn lanes_busy(&self) -> Vec<f64> {
        self.0.registry.shell().rooms.lanes().busy()
    }

    /// How many tasks are alive. Must be called within tokio.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.registry.shell().rooms.lanes().tasks()
    }

    pub(super) fn webhook_policy(&self) -> WebhookPolicy {
        self.0.registry.shell().webhook_policy
    }

    pub(super) fn room_keeper(&self) -> &RoomKeeper {
        &self.0.rooms
    }

    /// Whose key this is, if it is a valid one.
    pub async fn holder_of(&self, key: &str) -> Result<Option<KeyHolder>, StoreError> {
        self.store().holder_of_key(&Secret::new(key), clock::unix_ms()).await
    }

    /// Makes an agent.
    pub async fn create(&self, owner: &UserId, new: NewAgent) -> Result<AgentView, CreateError> {
        if !self.is_ready() {
            return Err(CreateError::Draining);
        }
        if self.0.registry.len() >= AGENTS_MAX {
            self.meter().count(Counter::RefusedAgents);
            return Err(CreateError::Capacity);
        }
        let now_ms = clock::unix_ms();
        let record = AgentRecord {
            id: AgentId::from_entropy(entropy::bits()),
            owner: owner.clone(),
            metadata_json: new.metadata_json,
            user_id: new.user_id,
            created_at_ms: now_ms,
            expires_at_ms: new.ttl.map(|ttl| now_ms.saturating_add(millis(ttl))),
            spec: new.spec,
        };
        self.store().insert_agent(&record).await.map_err(|error| match error {
            store::InsertError::Duplicate(first) => CreateError::Duplicate(first),
            store::InsertError::Store(error) => CreateError::Store(error.into()),
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
        let page = self.store().agents_of(owner, limit, cursor).await?;
        // An agent whose end has begun is in the store until its last step, and is not shown.
        let live = page.rows.iter().filter_map(|record| self.0.registry.reach(&record.id));
        Ok(Page { rows: live.map(|seat| view(&seat)).collect(), next: page.next })
    }

    /// Changes an agent that is not at work. Changes of one agent happen one after another.
    pub async fn update(
        &self,
        owner: &UserId,
        id: &AgentId,
        change: AgentChange,
    ) -> Result<AgentView, UpdateError> {
        if !self.is_ready() {
            return Err(UpdateError::Draining);
        }
        let seat = self.find(owner, id).await?;
        if !change.is_empty() {
            seat.update(change).await?;
        }
        Ok(view(&seat))
    }

    /// The names of the model profiles that agents may choose.
    pub fn model_profiles(&self) -> impl Iterator<Item = &str> {
        self.0.registry.shell().models.profiles.keys().map(String::as_str)
    }

    /// Whether agents may choose this detector: one of them needs a model that not all have.
    #[must_use]
    pub fn detects_by(&self, detector: Detector) -> bool {
        detector != Detector::Silero || self.0.registry.shell().silero.is_some()
    }

    /// Ends an agent; returns when all four steps of the end are done.
    pub async fn delete(&self, owner: &UserId, id: &AgentId) -> Result<(), FindError> {
        let seat = self.find(owner, id).await?;
        let (reply, _) = oneshot::channel();
        // A closed door means that the agent is on its way out already.
        let _ = seat.door.send(Input::Command(Command::Delete, reply)).await;
        seat.deleted().await.map_err(FindError::Store)
    }

    /// Connects a client.
    pub async fn subscribe(&self, owner: &UserId, id: &AgentId) -> Result<Subscription, FindError> {
        let seat = self.find(owner, id).await?;
        let client = ClientId::from_entropy(entropy::bits());
        let (reply, subscription) = oneshot::channel();
        if seat.door.send(Input::Subscribe(client, reply)).await.is_ok()
            && let Ok(subscription) = subscription.await
        {
            return Ok(subscription);
        }
        // It was on its way out. Once it is gone, the store tells how it went.
        seat.deleted().await.map_err(FindError::Store)?;
        self.find(owner, id).await.and(Err(FindError::NotFound))
    }

    /// Asks something of an agent; returns when the agent has taken or refused it.
    pub async fn command(&self, id: &AgentId, command: Command) -> Result<(), CommandError> {
        let seat = self.0.registry.reach(id).ok_or(CommandError::Gone)?;
        self.admit(&seat, &command).await?;
        let (reply, outcome) = oneshot::channel();
        seat.door.try_send(Input::Command(command, reply)).map_err(|error| match error {
            TrySendError::Full(_) => CommandError::Busy,
            TrySendError::Closed(_) => CommandError::Gone,
        })?;
        outcome.await.map_err(|_| CommandError::Gone)??;
        Ok(())
    }

    /// Looks at an owner's calls that have ended, newest first; at one agent's, if it is named.
    pub async fn calls(
        &self,
        owner: &UserId,
        agent: Option<&AgentId>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallSummary>, ListError> {
        self.settle_archive(archive::READ_PATIENCE).await;
        Ok(self.store().calls_of(owner, agent, limit, cursor).await?)
    }

    /// Looks at all that is kept of an owner's call that has ended.
    pub async fn call(&self, owner: &UserId, id: &CallId) -> Result<ArchivedCall, CallError> {
        self.settle_archive(archive::READ_PATIENCE).await;
        self.store().call(owner, id).await?.ok_or(CallError::NotFound)
    }

    /// Erases all that is kept of an owner's call that has ended, its recording included.
    pub async fn erase_call(&self, owner: &UserId, id: &CallId) -> Result<(), CallError> {
        self.settle_archive(archive::READ_PATIENCE).await;
        let was_recorded = match self.erase_recording(owner, id).await {
            Err(CallError::NotFound) => false,
            erased => erased.map(|()| true)?,
        };
        let was_there = self.store().erase_call(owner, id).await?;
        if was_there || was_recorded { Ok(()) } else { Err(CallError::NotFound) }
    }

    /// Whether the calls of agents can be recorded.
    #[must_use]
    pub fn records(&self) -> bool {
        self.0.registry.shell().recordings.is_some()
    }

    /// Looks for the recording of an owner's call that has ended.
    pub async fn recording(&self, owner: &UserId, id: &CallId) -> Result<Recorded, CallError> {
        let recordings = self.0.registry.shell().recordings.as_ref().ok_or(CallError::NotFound)?;
        let found = recordings.find(owner, id).await;
        found.map_err(|error| CallError::Files(error.to_string()))?.ok_or(CallError::NotFound)
    }

    /// Erases the recording of an owner's call that has ended, and nothing else of the call.
    pub async fn erase_recording(&self, owner: &UserId, id: &CallId) -> Result<(), CallError> {
        let recordings = self.0.registry.shell().recordings.as_ref().ok_or(CallError::NotFound)?;
        let erased = recordings.erase(owner, id).await;
        let was_there = erased.map_err(|error| CallError::Files(error.to_string()))?;
        if was_there { Ok(()) } else { Err(CallError::NotFound) }
    }

    /// Waits until what has happened in calls is written; whether it is, after `patience`.
    async fn settle_archive(&self, patience: Duration) -> bool {
        match &self.0.registry.shell().archive {
            Some(archive) => archive.flush(patience).await,
            None => true,
        }
    }

    /// Waits for a turn to ask something of an agent. Whoever waits longest is next, and one that
    /// waits can be refused only by the agent's end; a join also because the gateway has enough
    /// to do.
    pub async fn turn(&self, id: &AgentId, command: &Command) -> Result<Turn, CommandError> {
        let seat = self.0.registry.reach(id).ok_or(CommandError::Gone)?;
        self.admit(&seat, command).await?;
        seat.door.reserve_owned().await.map(Turn).map_err(|_| CommandError::Gone)
    }

    /// Lets a call begin that can be served well. What the agent itself refuses takes no place at
    /// the door.
    async fn admit(&self, seat: &Seat, command: &Command) -> Result<(), CommandError> {
        let is_join = matches!(command, Command::Join(_));
        if is_join && seat.record().spec.voice_enabled && seat.snapshot.borrow().call.is_none() {
            self.0.registry.shell().admission.admit().await.map_err(Rejection::from)?;
        }
        Ok(())
    }

    /// How much there is at this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let takes_calls = self.0.registry.shell().admission.is_open();
        let mut figures = Figures::new(takes_calls, self.is_ready());
        self.0.registry.count(&mut figures);
        figures.archive_queue = self.0.registry.shell().archive.as_ref().map_or(0, Archive::taken);
        figures
    }

    /// Looks at a hosted room that is there, or would be made on first use.
    pub async fn room(&self, name: &str) -> Result<RoomView, RoomFailure> {
        self.0.registry.shell().rooms.view(name).await.ok_or(RoomFailure::NotFound)
    }

    /// Whether a hosted room would let someone with this token in.
    pub async fn room_opens(&self, name: &str, token: Option<&Secret>) -> bool {
        self.0.registry.shell().rooms.opens(name, token).await
    }

    /// Takes an SDP offer of someone who wants to come in, and answers it. Where many come, it may
    /// wait for a second.
    pub async fn enter_room(
        &self,
        name: &str,
        token: Option<&str>,
        display_name: &str,
        offer: &str,
    ) -> Result<RoomAnswer, EnterError> {
        if !self.is_ready() {
            let reason = "the gateway is shutting down".to_owned();
            return Err(RoomFailure::Unreachable(reason).into());
        }
        let token = token.map(Secret::new);
        let Shell { rooms, admission, .. } = &**self.0.registry.shell();
        // Who may not come in takes nobody's place at the door.
        rooms.watch(name, token.as_ref()).await?;
        admission.admit().await?;
        let answer = rooms.enter(name, token.as_ref(), display_name, offer).await?;
        Ok(RoomAnswer { participant: alias(&answer.participant), ..answer })
    }

    /// Takes trickled ICE candidates or an ICE restart, as an SDP fragment (RFC 8840), of whoever
    /// has this key; a restart is answered with a fragment of ours.
    pub async fn trickle(
        &self,
        name: &str,
        key: &Secret,
        of: IceSession,
        fragment: &str,
    ) -> Result<TrickleAnswer, RoomFailure> {
        self.0.registry.shell().rooms.trickle(name, key, of, fragment).await
    }

    /// Sends out the participant who has this key.
    pub async fn hang_up(&self, name: &str, key: &Secret) -> Result<(), RoomFailure> {
        let was_there = self.0.registry.shell().rooms.hang_up(name, key).await;
        if was_there { Ok(()) } else { Err(RoomFailure::NotFound) }
    }

    /// Watches a hosted room: who is in it, and what its agents tell. Either the room's token
    /// gives the right to it, or the key of a participant.
    pub async fn watch_room(
        &self,
        name: &str,
        token: Option<&Secret>,
        key: Option<&Secret>,
    ) -> Result<RoomWatch, RoomFailure> {
        let shell = self.0.registry.shell();
        let participants = match (shell.rooms.watch(name, token).await, key) {
            (Err(RoomFailure::Unauthorized), Some(key)) => {
                shell.rooms.watch_from_inside(name, key).await?
            }
            (watched, _) => watched?,
        };
        Ok(RoomWatch::new(name, participants, shell.watch()))
    }

    /// Watches all agents of an owner: what they tell, as their clients get it. Who watches is no
    /// client, and holds no agent.
    #[must_use]
    pub fn watch_agents(&self, owner: UserId) -> OwnerWatch {
        OwnerWatch::new(owner, self.0.registry.shell().watch(), self.0.over.clone())
    }

    /// The way to an agent of this owner that lives.
    pub(super) fn seat_of(&self, owner: &UserId, id: &AgentId) -> Option<Seat> {
        self.0.registry.find(owner, id)
    }

    pub(super) async fn find(&self, owner: &UserId, id: &AgentId) -> Result<Seat, FindError> {
        if let Some(seat) = self.0.registry.find(owner, id) {
            return Ok(seat);
        }
        let tombstone = self.store().tombstone(id, clock::unix_ms()).await;
        match tombstone.map_err(|error| FindError::Store(error.into()))? {
            Some(expired) if expired.owner == *owner => Err(FindError::Expired),
            Some(_) | None => Err(FindError::NotFound),
        }
    }
}

/// A place in the queue of an agent, for one command. Dropping it gives the place up.
#[derive(Debug)]
pub struct Turn(OwnedPermit<Input>);

impl Turn {
    /// Asks; returns when the agent has taken or refused it.
    pub async fn command(self, command: Command) -> Result<(), CommandError> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(Input::Command(command, reply));
        outcome.await.map_err(|_| CommandError::Gone)??;
        Ok(())
    }
}

fn view(seat: &Seat) -> AgentView {
    let snapshot = seat.snapshot.borrow().clone();
    AgentView { record: (*seat.record()).clone(), snapshot }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::archive::{ArchivePolicy, Recorder};
    use super::super::shell::Models;
    use super::*;
    use crate::agent::{AgentSpec, Limits, RecordEntry};
    use crate::rooms::{Rooms, RoomsConfig};

    #[tokio::test]
    async fn a_drain_writes_what_is_on_its_way_before_it_closes_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path(), ArchivePolicy::default()).await;
        call(&mut recorder(&gateway));
        gateway.drain(Duration::ZERO).await;
        assert_eq!(calls(&store(folder.path()).await).await, 1);
    }

    #[tokio::test]
    async fn what_has_ended_before_the_question_is_in_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path(), ArchivePolicy::default()).await;
        for count in 1..=3 {
            call(&mut recorder(&gateway));
            let page = gateway.calls(&owner(), None, 10, None).await.unwrap();
            assert_eq!(page.rows.len(), count);
        }
    }

    #[tokio::test]
    async fn no_call_is_kept_where_the_archive_is_off() {
        let folder = tempfile::tempdir().unwrap();
        let off = ArchivePolicy { enabled: false, ..ArchivePolicy::default() };
        let gateway = gateway(folder.path(), off).await;
        call(&mut recorder(&gateway));
        let page = gateway.calls(&owner(), None, 10, None).await.unwrap();
        assert_eq!(page.rows, []);
        gateway.drain(Duration::ZERO).await;
        assert_eq!(calls(&store(folder.path()).await).await, 0);
    }

    /// One call from its beginning to its end.
    fn call(recorder: &mut Recorder) {
        let call = CallId::from_entropy(entropy::bits());
        let began = RecordEntry::Began { room_url: "rooms/hall".into(), participants: vec![] };
        recorder.record(call.clone(), began, "Ida");
        recorder.record(call, RecordEntry::Ended { reason: "left".into(), at_ms: 1 }, "Ida");
    }

    fn recorder(gateway: &Gateway) -> Recorder {
        gateway.0.registry.shell().recorder(&AgentRecord {
            id: AgentId::new("ag_1"),
            owner: owner(),
            metadata_json: "{}".into(),
            user_id: None,
            created_at_ms: 1,
            expires_at_ms: None,
            spec: AgentSpec::default(),
        })
    }

    async fn gateway(folder: &Path, policy: ArchivePolicy) -> Gateway {
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec!["127.0.0.1:0".parse().unwrap()],
            media_tcp_listen: None,
            public_ip: None,
            open: true,
        });
        let models = Models { default: "none".into(), profiles: std::collections::BTreeMap::new() };
        let shell = Shell::new(rooms.unwrap(), models, Limits::default()).archiving(policy);
        Gateway::start(shell, store(folder).await).await.unwrap()
    }

    async fn store(folder: &Path) -> Store {
        let store = Store::open(&format!("sqlite:{}", folder.join("x.db").display())).await;
        let store = store.unwrap();
        store.ensure_bootstrap(&Secret::new("ak_1"), 1).await.unwrap();
        store
    }

    async fn calls(store: &Store) -> usize {
        store.close_live_calls("closed by the test").await.unwrap();
        store.calls_of(&owner(), None, 10, None).await.unwrap().rows.len()
    }

    fn owner() -> UserId {
        UserId::new("usr_bootstrap")
    }
}
