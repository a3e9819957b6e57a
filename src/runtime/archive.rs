//! The archive of calls: agents hand over what happens in theirs, one task writes it down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{oneshot, watch};

use super::handle::StoreFailure;
use super::registry::AGENTS_MAX;
use crate::agent::{AgentRecord, RecordEntry};
use crate::ids::CallId;
use crate::store::{CallEntry, Store, StoreError};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// Entries that may wait to be written. Each live call has one place of these for its end.
///
/// When full: the entry is lost, which is logged, and its call's record says that it is
/// incomplete; if it is a call's first one, the whole record is. No end is lost.
pub(super) const RECORDS_CAPACITY: usize = 32_768;
const _: () = assert!(RECORDS_CAPACITY > 2 * AGENTS_MAX, "ends leave room for what comes before");

/// Whether and for how long past calls are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchivePolicy {
    /// Whether calls are written down at all. What was written before is kept for its time.
    pub enabled: bool,
    /// For how long a call is kept after its end.
    pub kept: Duration,
}

impl Default for ArchivePolicy {
    fn default() -> Self {
        Self { enabled: true, kept: Duration::from_hours(30 * 24) }
    }
}

/// Why a call cannot be shown or erased.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// No such call of this owner has ended.
    #[error("there is no such call")]
    NotFound,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
    /// The files of recordings could not be reached.
    #[error("the files of recordings cannot be reached: {0}")]
    Files(String),
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

/// The way to the archivist. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    queue: mpsc::Sender<Item>,
}

/// What waits for the archivist.
#[derive(Debug)]
enum Item {
    Entry(Box<CallEntry>),
    /// Answered when all that came before it is written.
    Flush(oneshot::Sender<()>),
}

impl Archive {
    /// Starts the archivist, who lives as long as the task is kept.
    pub(super) fn open(store: Store) -> (Self, Task) {
        let (queue, inbox) = mpsc::channel(RECORDS_CAPACITY);
        (Self { queue }, tasks::spawn("archivist", write_down(store, inbox)))
    }

    /// How many places of the queue are taken.
    pub(super) fn taken(&self) -> u64 {
        (RECORDS_CAPACITY - self.queue.capacity()) as u64
    }

    /// Waits until everything handed over so far is written; whether it is, after `patience`.
    pub(super) async fn flush(&self, patience: Duration) -> bool {
        let (reply, written) = oneshot::channel();
        let flushed =
            async { self.queue.send(Item::Flush(reply)).await.is_ok() && written.await.is_ok() };
        tokio::time::timeout(patience, flushed).await.unwrap_or(false)
    }
}

/// Hands what happens in one agent's calls to the archivist, and never waits.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Nobody writes calls down, if it is not there.
    archive: Option<Archive>,
    /// Whose calls they are, from time to time.
    agent: watch::Receiver<Arc<AgentRecord>>,
    open: Option<Open>,
}

/// The call whose record this agent writes.
#[derive(Debug)]
struct Open {
    call: CallId,
    agent_name: String,
    /// Kept for this agent's last entry, so that the record never lacks its end.
    last_place: Option<OwnedPermit<Item>>,
    has_gap: bool,
}

impl Recorder {
    pub(super) fn new(archive: Option<Archive>, agent: &AgentRecord) -> Self {
        let (_, agent) = watch::channel(Arc::new(agent.clone()));
        Self { archive, agent, open: None }
    }

    /// From here on the agent is what this says: it may come to serve another user.
    pub(super) fn follow(&mut self, agent: watch::Receiver<Arc<AgentRecord>>) {
        self.agent = agent;
    }

    /// The agent as it is at this moment.
    pub(super) fn agent(&self) -> Arc<AgentRecord> {
        Arc::clone(&self.agent.borrow())
    }

    /// Puts something on the record of a call that this agent is in under this name.
    pub(super) fn record(&mut self, call: CallId, entry: RecordEntry, agent_name: &str) {
        let Some(archive) = &self.archive else { return };
        let queue = archive.queue.clone();
        let mut open = match self.open.take() {
            Some(open) if open.call == call => open,
            other => {
                self.abandon(other);
                Open { call, agent_name: agent_name.to_owned(), last_place: None, has_gap: false }
            }
        };
        if open.last_place.is_none() {
            open.last_place = queue.clone().try_reserve_owned().ok();
        }
        let is_last = matches!(entry, RecordEntry::HandedOff { .. } | RecordEntry::Ended { .. });
        let item = self.item(&open, entry);
        if !is_last {
            if queue.try_send(item).is_err() {
                open.has_gap = true;
                tracing::error!(call = %open.call, "the archive is full: an entry is lost");
            }
            self.open = Some(open);
        } else if let Some(place) = open.last_place {
            place.send(item);
        } else if queue.try_send(item).is_err() {
            tracing::error!(call = %open.call, "the archive is full: the record is lost");
        }
    }

    fn item(&self, open: &Open, entry: RecordEntry) -> Item {
        let agent = self.agent.borrow();
        Item::Entry(Box::new(CallEntry {
            call: open.call.clone(),
            owner: agent.owner.clone(),
            agent: agent.id.clone(),
            agent_name: open.agent_name.clone(),
            user_id: agent.user_id.clone(),
            at_ms: clock::unix_ms(),
            follows_a_gap: open.has_gap,
            entry,
        }))
    }

    /// Ends a record whose end nobody will tell.
    fn abandon(&self, open: Option<Open>) {
        let Some(mut open) = open else { return };
        let Some(place) = open.last_place.take() else { return };
        place.send(self.item(&open, RecordEntry::Ended { reason: CRASHED.into(), at_ms: 0 }));
    }
}

impl Drop for Recorder {
    /// An agent that goes in the middle of a call has crashed.
    fn drop(&mut self) {
        let open = self.open.take();
        self.abandon(open);
    }
}

/// The archivist: writes what waits, in batches, until nobody can hand it anything any more.
async fn write_down(store: Store, mut inbox: mpsc::Receiver<Item>) {
    let mut next_write = clock::now();
    while let Some(batch) = gather(&mut inbox, next_write).await {
        let mut entries = Vec::with_capacity(batch.len());
        let mut flushes = Vec::new();
        for item in batch {
            match item {
                Item::Entry(entry) => entries.push(*entry),
                Item::Flush(reply) => flushes.push(reply),
            }
        }
        if !entries.is_empty() {
            if !write(&store, &entries).await {
                return;
            }
            next_write = clock::now() + WRITE_PERIOD;
        }
        for reply in flushes {
            // Whoever has lost patience needs no answer.
            let _ = reply.send(());
        }
    }
}

/// What waits, and what comes until the next write is due, somebody waits for it, or it is much.
async fn gather(inbox: &mut mpsc::Receiver<Item>, due: Instant) -> Option<Vec<Item>> {
    let mut batch = Vec::new();
    if inbox.recv_many(&mut batch, BATCH_MAX).await == 0 {
        return None;
    }
    while batch.len() < BATCH_MAX && !batch.iter().any(|item| matches!(item, Item::Flush(_))) {
        let room = BATCH_MAX - batch.len();
        match tokio::time::timeout_at(due.into(), inbox.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Some(batch)
}

/// Writes a batch, however often it takes; false if the store is closed.
///
/// What comes meanwhile waits in the queue, whose bound is the bound of this patience.
async fn write(store: &Store, entries: &[CallEntry]) -> bool {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let Err(error) = store.record(entries).await else { return true };
        if store.is_closed() {
            tracing::error!(entries = entries.len(), "the store closed before calls were written");
            return false;
        }
        tracing::error!(%error, entries = entries.len(), "calls are not written; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Why a call ended whose agent's task has panicked.
const CRASHED: &str = "agent crashed";

/// Why calls ended that the process before did not end.
pub(super) const SERVER_CRASHED: &str = "server crashed";

/// Why calls ended whose agents did not leave before the process did.
pub(super) const SHUTDOWN: &str = "shutdown";

/// How long the last entries may take to be written when the process goes down.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// How long whoever reads the archive waits for what has just happened to be in it.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(1);

/// From one write to the next: what may be lost when the process is killed, with some room to
/// the second that is promised.
const WRITE_PERIOD: Duration = Duration::from_millis(200);

/// Entries in one transaction. It is short enough to let others write between two of them.
const BATCH_MAX: usize = 1_024;

const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions as _, Connection as _};

    use super::*;
    use crate::agent::{AgentSpec, Line};
    use crate::ids::{AgentId, UserId};
    use crate::privacy::{Pii, Secret};

    #[tokio::test]
    async fn what_was_handed_over_before_a_flush_is_written_after_it() {
        let store = store("sqlite::memory:").await;
        let (archive, _archivist) = Archive::open(store.clone());
        let mut recorder = recorder(&archive, "ag_1");
        for entry in [began(), line("hello"), ended()] {
            recorder.record(CallId::new("call_1"), entry, "Ida");
        }
        assert!(archive.flush(FLUSH_PATIENCE).await);
        let call = store.call(&owner(), &CallId::new("call_1")).await.unwrap().unwrap();
        assert_eq!((call.summary.agent_name.as_str(), call.lines.len()), ("Ida", 1));
        assert!(!call.summary.is_incomplete);
    }

    #[tokio::test]
    async fn what_a_failing_store_does_not_take_is_written_when_it_works_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let store = store(&format!("sqlite:{}", path.display())).await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut operator = options.connect().await.unwrap();
        let (archive, _archivist) = Archive::open(store.clone());
        let mut recorder = recorder(&archive, "ag_1");

        sqlx::query("ALTER TABLE call_entries RENAME TO gone")
            .execute(&mut operator)
            .await
            .unwrap();
        recorder.record(CallId::new("call_1"), began(), "Ida");
        recorder.record(CallId::new("call_1"), ended(), "Ida");
        assert!(!archive.flush(Duration::from_millis(50)).await);
        sqlx::query("ALTER TABLE gone RENAME TO call_entries")
            .execute(&mut operator)
            .await
            .unwrap();
        operator.close().await.unwrap();
        assert!(archive.flush(FLUSH_PATIENCE).await);
        assert!(store.call(&owner(), &CallId::new("call_1")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn the_archivist_stops_when_the_store_is_closed() {
        let store = store("sqlite::memory:").await;
        let (archive, archivist) = Archive::open(store.clone());
        store.close().await;
        recorder(&archive, "ag_1").record(CallId::new("call_1"), began(), "Ida");
        archivist.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_archive_loses_entries_and_never_an_end() {
        let (archive, mut inbox) = archive(3);
        let mut recorder = recorder(&archive, "ag_1");
        for entry in [began(), line("kept"), line("lost"), ended()] {
            recorder.record(CallId::new("call_1"), entry, "Ida");
        }
        let seen: Vec<_> = std::iter::from_fn(|| entry(&mut inbox)).collect();
        let gaps: Vec<_> = seen.iter().map(|entry| entry.follows_a_gap).collect();
        assert_eq!(gaps, [false, false, true]);
        assert_eq!(seen[1].entry, line("kept"));
        assert_eq!(seen[2].entry, ended());
    }

    #[tokio::test]
    async fn an_agent_that_goes_in_the_middle_of_a_call_ends_its_record() {
        let (archive, mut inbox) = archive(2);
        let mut recorder = recorder(&archive, "ag_1");
        recorder.record(CallId::new("call_1"), began(), "Ida");
        drop(recorder);
        assert_eq!(entry(&mut inbox).unwrap().entry, began());
        let last = entry(&mut inbox).unwrap();
        assert_eq!((last.call.as_str(), last.agent_name.as_str()), ("call_1", "Ida"));
        let RecordEntry::Ended { reason, .. } = last.entry else { panic!("{last:?}") };
        assert_eq!(reason, "agent crashed");
    }

    #[tokio::test]
    async fn a_record_that_was_handed_over_is_ended_by_the_successor() {
        let (archive, mut inbox) = archive(8);
        let (mut first, mut second) = (recorder(&archive, "ag_1"), recorder(&archive, "ag_2"));
        let to = AgentId::new("ag_2");
        let handed_off = RecordEntry::HandedOff { to, reason: String::new(), at_ms: 1 };
        first.record(CallId::new("call_1"), began(), "Ida");
        first.record(CallId::new("call_1"), handed_off, "Ida");
        drop(first);
        second.record(CallId::new("call_1"), line("hello"), "Udo");
        drop(second);
        let seen: Vec<_> = std::iter::from_fn(|| entry(&mut inbox)).collect();
        let agents: Vec<_> = seen.iter().map(|entry| entry.agent.as_str()).collect();
        assert_eq!(agents, ["ag_1", "ag_1", "ag_2", "ag_2"]);
        assert!(matches!(seen[3].entry, RecordEntry::Ended { .. }));
    }

    #[tokio::test]
    async fn nothing_is_handed_over_where_nobody_writes() {
        Recorder::new(None, &agent("ag_1")).record(CallId::new("call_1"), began(), "Ida");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_gathers_until_its_write_is_due() {
        let (archive, mut inbox) = archive(8);
        let mut recorder = recorder(&archive, "ag_1");
        let due = clock::now() + WRITE_PERIOD;
        let feed = async {
            for _ in 0..3 {
                recorder.record(CallId::new("call_1"), line("hm"), "Ida");
                tokio::time::sleep(WRITE_PERIOD * 2 / 5).await;
            }
        };
        let (batch, ()) = tokio::join!(gather(&mut inbox, due), feed);
        assert_eq!(batch.map(|batch| batch.len()), Some(3));

        recorder.record(CallId::new("call_1"), line("hm"), "Ida");
        let at_once = clock::now();
        let batch = gather(&mut inbox, due).await;
        assert_eq!(batch.map(|batch| batch.len()), Some(1));
        assert_eq!(clock::now(), at_once, "a write that is due waits for nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_and_a_full_batch_do_not_wait() {
        let (archive, mut inbox) = archive(2 * BATCH_MAX);
        let begun = clock::now();
        let due = begun + WRITE_PERIOD;
        let (reply, _written) = oneshot::channel();
        archive.queue.send(Item::Flush(reply)).await.unwrap();
        assert_eq!(gather(&mut inbox, due).await.map(|batch| batch.len()), Some(1));
        let mut recorder = recorder(&archive, "ag_1");
        for _ in 0..=BATCH_MAX {
            recorder.record(CallId::new("call_1"), line("hm"), "Ida");
        }
        assert_eq!(gather(&mut inbox, due).await.map(|batch| batch.len()), Some(BATCH_MAX));
        assert_eq!(clock::now(), begun);
    }

    fn archive(capacity: usize) -> (Archive, mpsc::Receiver<Item>) {
        let (queue, inbox) = mpsc::channel(capacity);
        (Archive { queue }, inbox)
    }

    fn recorder(archive: &Archive, id: &str) -> Recorder {
        Recorder::new(Some(archive.clone()), &agent(id))
    }

    /// The next entry that waits, if there is one.
    fn entry(inbox: &mut mpsc::Receiver<Item>) -> Option<CallEntry> {
        match inbox.try_recv().ok()? {
            Item::Entry(entry) => Some(*entry),
            Item::Flush(_) => panic!("nobody flushes"),
        }
    }

    async fn store(url: &str) -> Store {
        let store = Store::open(url).await.unwrap();
        store.ensure_bootstrap(&Secret::new("ak_1"), 1).await.unwrap();
        store
    }

    fn owner() -> UserId {
        UserId::new("usr_bootstrap")
    }

    fn agent(id: &str) -> AgentRecord {
        AgentRecord {
            id: AgentId::new(id),
            owner: owner(),
            metadata_json: "{}".into(),
            user_id: None,
            created_at_ms: 1,
            expires_at_ms: None,
            spec: AgentSpec::default(),
        }
    }

    fn began() -> RecordEntry {
        RecordEntry::Began { room_url: "rooms/hall".into(), participants: Vec::new() }
    }

    fn line(text: &str) -> RecordEntry {
        RecordEntry::Line(Line { participant: None, text: Pii::new(text.into()), at_ms: 1 })
    }

    fn ended() -> RecordEntry {
        RecordEntry::Ended { reason: "left".into(), at_ms: 2 }
    }
}
