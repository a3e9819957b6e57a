//! Every live agent by its id: no duplicates, no zombies, and an end for all of them.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::driver::{Driver, Exit, Input};
use super::shell::Shell;
use crate::agent::{AgentRecord, Notification, Snapshot};
use crate::ids::{AgentId, UserId};
use crate::store::{Store, StoreError};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

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
    _task: Task,
}

/// The way to a live agent. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) record: Arc<AgentRecord>,
    pub(super) door: mpsc::Sender<Input>,
    pub(super) snapshot: watch::Receiver<Snapshot>,
    /// Closed when the agent's last step is done.
    finished: watch::Receiver<()>,
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
        let (driver, door, snapshot) = Driver::new(&record, Arc::clone(&self.shell));
        let (last_step, finished) = watch::channel(());
        let (id, record) = (record.id.clone(), Arc::new(record));
        let seat = Seat { record, door, snapshot, finished };
        // The map is held until the entry is in it, so the task cannot leave before it has come.
        let mut agents = self.agents();
        let span = tracing::info_span!("agent", %id);
        let life = live(driver, Arc::downgrade(self), last_step).instrument(span);
        let task = tasks::spawn("agent", life);
        agents.insert(id, Entry { seat: seat.clone(), _task: task });
        seat
    }

    /// The way to an owner's agent. A foreign one is not there.
    pub(super) fn find(&self, owner: &UserId, id: &AgentId) -> Option<Seat> {
        self.reach(id).filter(|seat| seat.record.owner == *owner)
    }

    /// The way to an agent, whosoever it is.
    pub(super) fn reach(&self, id: &AgentId) -> Option<Seat> {
        self.agents().get(id).map(|entry| entry.seat.clone())
    }

    /// Takes up every agent that the store has; how many they are.
    pub(super) async fn take_up(self: &Arc<Self>) -> Result<usize, StoreError> {
        let records = self.store.all_agents().await?;
        let count = records.len();
        for record in records {
            self.seat(record);
        }
        Ok(count)
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

    /// The last steps of an agent's end, which may wait: to delete it durably.
    async fn bury(&self, id: &AgentId, exit: Exit) {
        let deleted = match exit {
            Exit::Forget { expired: true } => self.store.expire_agent(id, clock::unix_ms()).await,
            Exit::Forget { expired: false } => self.store.delete_agent(id).await,
            Exit::Stop => return,
        };
        if let Err(error) = deleted {
            tracing::error!(%error, "an ended agent could not be deleted");
        }
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<AgentId, Entry>> {
        // A panic elsewhere leaves the map whole: it is never held across a call that may panic.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Waits until nothing is left of the agent.
    pub(super) async fn gone(&self) {
        let mut finished = self.finished.clone();
        while finished.changed().await.is_ok() {}
    }

    async fn shut_down(&self) {
        // A closed door means that the agent is on its way out already.
        let _ = self.door.send(Input::Shutdown).await;
        self.gone().await;
    }
}

/// An agent's life, and what is left to do after it. A panic ends this agent and no other.
async fn live(mut driver: Driver, registry: Weak<Registry>, last_step: watch::Sender<()>) {
    let exit = match AssertUnwindSafe(driver.run()).catch_unwind().await {
        Ok(exit) => exit,
        Err(_) => end_crashed(&mut driver),
    };
    let id = driver.id.clone();
    // Its links are dropped here: it is out of its room before it is deleted.
    drop(driver);
    let Some(registry) = registry.upgrade() else { return };
    registry.bury(&id, exit).await;
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
    Exit::Forget { expired: false }
}

/// What an agent may take beyond the grace period to do its last steps.
const DRAIN_SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{AgentSpec, Limits};
    use crate::ids::ClientId;
    use crate::rooms::{Rooms, RoomsConfig};
    use crate::runtime::Models;
    use tokio::sync::oneshot;

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
        assert!(registry.reach(&broken.record.id).is_none());
        assert!(registry.reach(&sound.record.id).is_some());
        let kept = registry.store().all_agents().await.unwrap();
        assert_eq!(kept, [(*sound.record).clone()]);
    }

    #[tokio::test]
    async fn an_expired_agent_is_forgotten_and_remembered_as_expired() {
        let registry = registry().await;
        let record = AgentRecord { expires_at_ms: Some(1), ..record("ag_1") };
        registry.store().insert_agent(&record).await.unwrap();
        registry.take_up().await.unwrap();
        if let Some(seat) = registry.reach(&record.id) {
            seat.gone().await;
        }
        assert_eq!(registry.store().all_agents().await.unwrap(), []);
        let tombstone = registry.store().tombstone(&record.id, clock::unix_ms()).await.unwrap();
        assert_eq!(tombstone.map(|tombstone| tombstone.owner), Some(record.owner));
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

    async fn registry() -> Arc<Registry> {
        let rooms = Rooms::new(&RoomsConfig {
            media_listen: vec!["127.0.0.1:0".parse().unwrap()],
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
