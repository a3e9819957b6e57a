//! Every live agent by its id: no duplicates, no zombies, and an end for all of them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::driver::{Driver, Exit, Input};
use super::figures::Figures;
use super::handle::{AgentChange, FindError, StoreFailure, UpdateError};
use super::shell::Shell;
use super::update::{Clerk, ClerkRequest};
use crate::agent::{AgentRecord, Memory, Notification, Snapshot};
use crate::ids::{AgentId, UserId};
use crate::store::{Store, StoreError};
use crate::sys::clock;
use crate::sys::tasks::Task;

/// Live agents of one process. Over it, creating is refused with `CAPACITY`.
pub const AGENTS_MAX: usize = 10_000;

/// The live agents.
#[derive(Debug)]
pub(super) struct Registry {
    agents: Mutex<HashMap<AgentId, Entry>>,
    shell: Arc<Shell>,
    store: Store,
}

/// What is known of a live agent from outside of its task.
#[derive(Debug)]
struct Entry {
    seat: Seat,
    task: Task,
}

/// The way to a live agent. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) owner: UserId,
    record: watch::Receiver<Arc<AgentRecord>>,
    changes: mpsc::Sender<ClerkRequest>,
    pub(super) door: mpsc::Sender<Input>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    /// Closed when the agent's last step is done; until then, why the store does not let it.
    finished: watch::Receiver<Option<StoreFailure>>,
}

impl Registry {
    pub(super) fn new(shell: Arc<Shell>, store: Store) -> Arc<Self> {
        Arc::new(Self { agents: Mutex::default(), shell, store })
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) const fn shell(&self) -> &Arc<Shell> {
        &self.shell
    }

    pub(super) fn len(&self) -> usize {
        self.agents().len()
    }

    /// Starts the task of an agent that the store has.
    pub(super) fn seat(self: &Arc<Self>, record: AgentRecord) -> Seat {
        let (mut driver, door, snapshot) = Driver::new(&record, Arc::clone(&self.shell));
        let (last_step, finished) = watch::channel(None);
        let (id, owner) = (record.id.clone(), record.owner.clone());
        let (clerk, changes, record) = Clerk::new(record, door.clone(), self.store.clone());
        driver.recorder.follow(record.clone());
        driver.reporter.follow(record.clone());
        let seat = Seat { owner, record, changes, door, snapshot, finished };
        // The map is held until the entry is in it, so the task cannot leave before it has come.
        let mut agents = self.agents();
        let span = tracing::info_span!("agent", %id);
        let life = live(driver, clerk, Arc::downgrade(self), last_step).instrument(span);
        let slot = self.shell.rooms.lanes().take_slot();
        let lane = slot.lane().clone();
        let task = lane.spawn("agent", async move {
            let _slot = slot;
            life.await;
        });
        agents.insert(id, Entry { seat: seat.clone(), task });
        seat
    }

    /// The way to an owner's agent. A foreign one is not there.
    pub(super) fn find(&self, owner: &UserId, id: &AgentId) -> Option<Seat> {
        self.reach(id).filter(|seat| seat.owner == *owner)
    }

    /// The way to an agent, whosoever it is.
    pub(super) fn reach(&self, id: &AgentId) -> Option<Seat> {
        self.agents().get(id).map(|entry| entry.seat.clone())
    }

    /// Takes up every agent that the store has, but for those whose time to live was over while
    /// nothing ran: nobody sees them again. How many live.
    pub(super) async fn take_up(self: &Arc<Self>) -> Result<usize, StoreError> {
        let now_ms = clock::unix_ms();
        let mut count = 0;
        for record in self.store.all_agents().await? {
            if let Some(at_ms) = record.expires_at_ms.filter(|at_ms| *at_ms <= now_ms) {
                self.store.expire_agent(&record.id, at_ms).await?;
                if let Some(hooks) = &self.shell.hooks {
                    hooks.tell_expired(&record);
                }
                continue;
            }
            self.seat(record);
            count += 1;
        }
        Ok(count)
    }

    /// Counts every agent where it is.
    pub(super) fn count(&self, figures: &mut Figures) {
        for entry in self.agents().values() {
            figures.add(&entry.seat.snapshot.borrow());
            figures.zombies += u64::from(entry.task.is_finished());
        }
    }

    /// Tells every agent that the process goes down, and waits for them. Who did not leave in time.
    pub(super) async fn drain(&self, grace: Duration) -> Vec<AgentId> {
        let seats: Vec<Seat> = self.agents().values().map(|entry| entry.seat.clone()).collect();
        let all = futures_util::future::join_all(seats.iter().map(Seat::shut_down));
        if tokio::time::timeout(grace + DRAIN_SLACK, all).await.is_ok() {
            return Vec::new();
        }
        self.agents().keys().cloned().collect()
    }

    /// The last step of an agent's end: to delete it durably. Why that has to be tried again.
    async fn bury(&self, id: &AgentId, exit: &Exit) -> Option<StoreFailure> {
        let deleted = match exit {
            Exit::Forget(Memory::Expired) => self.store.expire_agent(id, clock::unix_ms()).await,
            Exit::Forget(Memory::None) => self.store.delete_agent(id).await,
            Exit::Forget(Memory::Heir(heir)) => self.succeed(id, heir).await,
            Exit::Stop => return None,
        };
        let error = deleted.err()?;
        tracing::error!(%error, "an ended agent could not be deleted");
        let failure = StoreFailure::from(error);
        (failure.is_passing && !self.store.is_closed()).then_some(failure)
    }

    /// Deletes an agent and moves its user to the heir, among the heir's other changes.
    async fn succeed(&self, id: &AgentId, heir: &AgentId) -> Result<bool, StoreError> {
        let (reply, outcome) = oneshot::channel();
        if let Some(heir) = self.reach(heir) {
            // If the heir ends right now, the outcome tells.
            let _ = heir.changes.send(ClerkRequest::Inherit { from: id.clone(), reply }).await;
        }
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => self.store.delete_agent(id).await,
        }
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<AgentId, Entry>> {
        // A panic elsewhere leaves the map whole: it is never held across a call that may panic.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The agent as it is kept.
    pub(super) fn record(&self) -> Arc<AgentRecord> {
        Arc::clone(&self.record.borrow())
    }

    /// Changes the agent, after all changes that were asked for before.
    pub(super) async fn update(&self, change: AgentChange) -> Result<(), UpdateError> {
        let (reply, outcome) = oneshot::channel();
        let gone = UpdateError::Find(FindError::NotFound);
        if self
            .changes
            .send(ClerkRequest::Change { change: Box::new(change), reply })
            .await
            .is_err()
        {
            return Err(gone);
        }
        outcome.await.unwrap_or(Err(gone))
    }

    /// Waits until nothing is left of the agent.
    pub(super) async fn gone(&self) {
        let mut finished = self.finished.clone();
        while finished.changed().await.is_ok() {}
    }

    /// Waits until nothing is left of the agent, or it is known that this may take long: it is on
    /// its way out, and deleted as soon as the store works again.
    pub(super) async fn deleted(&self) -> Result<(), StoreFailure> {
        let mut finished = self.finished.clone();
        loop {
            if let Some(failure) = finished.borrow_and_update().clone() {
                return Err(failure);
            }
            if finished.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn shut_down(&self) {
        // A closed door means that the agent is on its way out already.
        let _ = self.door.send(Input::Shutdown).await;
        self.gone().await;
    }
}

/// An agent's life, and what is left to do after it. A panic ends this agent and no other.
async fn live(
    mut driver: Driver,
    clerk: Clerk,
    registry: Weak<Registry>,
    last_step: watch::Sender<Option<StoreFailure>>,
) {
    // The clerk ends with the agent. Whoever waits for a change then hears that it is gone.
    let life = async {
        tokio::select! {
            exit = driver.run() => exit,
            never = clerk.run() => match never {},
        }
    };
    let exit = match AssertUnwindSafe(life).catch_unwind().await {
        Ok(exit) => exit,
        Err(_) => end_crashed(&mut driver),
    };
    let id = driver.id.clone();
    // Its links are dropped here: it is out of its room before it is deleted.
    drop(driver);
    let mut pause = RETRY_PAUSE_MIN;
    // Until the store works or is closed: an end that has been acknowledged must not be undone by
    // the next start.
    let registry = loop {
        let Some(registry) = registry.upgrade() else { return };
        let failure = registry.bury(&id, &exit).await;
        last_step.send_replace(failure.clone());
        if failure.is_none() {
            break registry;
        }
        drop(registry);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    };
    let entry = registry.agents().remove(&id);
    drop(last_step);
    // The entry holds this very task: dropped last, it has nothing left to abort.
    drop(entry);
}

/// Steps two and three of the end, in the place of an agent that cannot take them itself.
fn end_crashed(driver: &mut Driver) -> Exit {
    tracing::error!("the agent's task has panicked; the agent is ended");
    let message = "the agent has failed by a fault of the server".to_owned();
    driver.clients.tell(Notification::Error { code: "AGENT_CRASHED", message });
    driver.clients.close();
    driver.count_crash();
    driver.reporter.on_crash(&driver.name);
    Exit::Forget(Memory::None)
}

/// What an agent may take beyond the grace period to do its last steps.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{AgentSpec, Limits};
    use crate::ids::ClientId;
    use crate::rooms::{Rooms, RoomsConfig};
    use crate::runtime::Models;

    #[tokio::test]
    async fn a_panic_ends_one_agent_and_no_other() {
        let registry = registry().await;
        let (broken, sound) = (seat(&registry, "ag_1").await, seat(&registry, "ag_2").await);
        let (reply, subscription) = oneshot::channel();
        let subscribe = Input::Subscribe(ClientId::new("cl_1"), reply);
        broken.door.send(subscribe).await.unwrap();
        let mut subscription = subscription.await.unwrap();
        broken.door.send(Input::Panic).await.unwrap();
        broken.gone().await;
        let mut last = None;
        while let Some(stamped) = subscription.notifications.recv().await {
            last = Some(stamped.notification.clone());
        }
        let Some(Notification::Error { code, .. }) = last else { panic!("told {last:?}") };
        assert_eq!(code, "AGENT_CRASHED");
        assert!(registry.reach(&broken.record().id).is_none());
        assert!(registry.reach(&sound.record().id).is_some());
        let kept = registry.store().all_agents().await.unwrap();
        assert_eq!(kept, [(*sound.record()).clone()]);
    }

    #[tokio::test]
    async fn an_expired_agent_is_forgotten_and_remembered_as_expired() {
        let registry = registry().await;
        let record = AgentRecord { expires_at_ms: Some(1), ..record("ag_1") };
        registry.store().insert_agent(&record).await.unwrap();
        registry.seat(record.clone()).gone().await;
        assert_remembered(&registry, &record).await;
    }

    #[tokio::test]
    async fn an_agent_that_has_expired_while_nothing_ran_is_not_taken_up() {
        let registry = registry().await;
        let expired_at_ms = Some(clock::unix_ms());
        let record = AgentRecord { expires_at_ms: expired_at_ms, ..record("ag_1") };
        registry.store().insert_agent(&record).await.unwrap();
        assert_eq!(registry.take_up().await.unwrap(), 0);
        assert!(registry.reach(&record.id).is_none());
        assert_remembered(&registry, &record).await;
    }

    #[tokio::test]
    async fn the_end_of_an_agent_wakes_those_who_wait_at_its_door() {
        let registry = registry().await;
        let seat = seat(&registry, "ag_1").await;
        let mut held = Vec::new();
        for _ in 0..seat.door.max_capacity() {
            held.push(seat.door.clone().reserve_owned().await.unwrap());
        }
        let waiting = seat.door.clone().reserve_owned();
        let end = async {
            tokio::task::yield_now().await;
            held.pop().unwrap().send(Input::Panic);
        };
        let (woken, ()) = tokio::join!(waiting, end);
        // The place of the one that was sent may be had before the agent is gone.
        let Ok(permit) = woken else { return };
        let (reply, outcome) = oneshot::channel();
        permit.send(Input::Command(crate::agent::Command::Interrupt, reply));
        outcome.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_drain_ends_every_task_and_keeps_every_agent() {
        let registry = registry().await;
        seat(&registry, "ag_1").await;
        seat(&registry, "ag_2").await;
        let late = registry.drain(Duration::from_secs(5)).await;
        assert_eq!(late, []);
        assert_eq!(registry.len(), 0);
        assert_eq!(registry.store().all_agents().await.unwrap().len(), 2);
    }

    async fn assert_remembered(registry: &Arc<Registry>, record: &AgentRecord) {
        assert_eq!(registry.store().all_agents().await.unwrap(), []);
        let tombstone = registry.store().tombstone(&record.id, clock::unix_ms()).await.unwrap();
        assert_eq!(tombstone.map(|tombstone| tombstone.owner), Some(record.owner.clone()));
    }

    async fn registry() -> Arc<Registry> {
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec!["127.0.0.1:0".parse().unwrap()],
            media_tcp_listen: None,
            public_ip: None,
            open: true,
        });
        let models = Models { default: "none".into(), profiles: std::collections::BTreeMap::new() };
        let shell = Shell::new(rooms.unwrap(), models, Limits::default());
        let store = Store::open("sqlite::memory:").await.unwrap();
        store.ensure_bootstrap(&crate::privacy::Secret::new("ak_1"), 1).await.unwrap();
        Registry::new(Arc::new(shell), store)
    }

    async fn seat(registry: &Arc<Registry>, id: &str) -> Seat {
        let record = record(id);
        registry.store().insert_agent(&record).await.unwrap();
        registry.seat(record)
    }

    fn record(id: &str) -> AgentRecord {
        AgentRecord {
            id: AgentId::new(id),
            owner: UserId::new("usr_bootstrap"),
            metadata_json: "{}".into(),
            user_id: None,
            created_at_ms: 1,
            expires_at_ms: None,
            spec: AgentSpec::default(),
        }
    }
}
