//! Changes of an agent's record: one after another, taken by the agent first and then kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Input;
use super::handle::{AgentChange, FindError, UpdateError};
use crate::agent::{AgentRecord, AgentSpec, Command};
use crate::ids::AgentId;
use crate::store::{InsertError, Store, StoreError};
use crate::sys::clock;

/// What a clerk is asked, and where the outcome is told.
#[derive(Debug)]
pub(super) enum ClerkRequest {
    /// Change the agent, if it lets itself be changed.
    Change { change: Box<AgentChange>, reply: oneshot::Sender<Result<(), UpdateError>> },
    /// Forget its predecessor, and let it serve the predecessor's user, whatever it is at.
    Inherit { from: AgentId, reply: oneshot::Sender<Result<bool, StoreError>> },
}

/// Keeps the record of one agent. It takes one change at a time, so that no two of them can lose
/// each other's fields, and it lives as long as the agent and not as long as a request.
#[derive(Debug)]
pub(super) struct Clerk {
    record: watch::Sender<Arc<AgentRecord>>,
    requests: mpsc::Receiver<ClerkRequest>,
    door: mpsc::Sender<Input>,
    store: Store,
}

impl AgentChange {
    /// Whether nothing would change.
    pub(super) const fn is_empty(&self) -> bool {
        let Self { name, metadata, ttl, user_id } = self;
        name.is_none() && metadata.is_none() && ttl.is_none() && user_id.is_none()
    }

    /// The record after the change.
    fn applied_to(self, record: &AgentRecord, now_ms: u64) -> AgentRecord {
        let Self { name, metadata, ttl, user_id } = self;
        let mut record = record.clone();
        if let Some(metadata) = metadata {
            record.metadata_json = metadata.json;
            record.spec = AgentSpec { name: record.spec.name, ..metadata.spec };
        }
        if let Some(name) = name {
            record.spec.name = name;
        }
        if let Some(ttl) = ttl {
            record.expires_at_ms = ttl.map(|ttl| now_ms.saturating_add(millis(ttl)));
        }
        if let Some(user_id) = user_id {
            record.user_id = user_id;
        }
        record
    }
}

impl Clerk {
    /// The clerk, the way to it, and the record as it is from time to time.
    pub(super) fn new(
        record: AgentRecord,
        door: mpsc::Sender<Input>,
        store: Store,
    ) -> (Self, mpsc::Sender<ClerkRequest>, watch::Receiver<Arc<AgentRecord>>) {
        let (record, seen) = watch::channel(Arc::new(record));
        let (changes, requests) = mpsc::channel(CHANGES_CAPACITY);
        (Self { record, requests, door, store }, changes, seen)
    }

    /// Works until the agent's task lets it go.
    pub(super) async fn run(mut self) -> Infallible {
        while let Some(request) = self.requests.recv().await {
            // Whoever asked may have gone; what was done stands.
            match request {
                ClerkRequest::Change { change, reply } => {
                    let _ = reply.send(self.change(*change).await);
                }
                ClerkRequest::Inherit { from, reply } => {
                    let _ = reply.send(self.inherit(&from).await);
                }
            }
        }
        // Every way to the agent is gone; its task will see that too.
        std::future::pending().await
    }

    /// Whether there was a predecessor.
    async fn inherit(&self, from: &AgentId) -> Result<bool, StoreError> {
        let before = Arc::clone(&self.record.borrow());
        let was_there = self.store.succeed_agent(from, &before.id).await?;
        if let Some(after) = self.store.agent(&before.id).await? {
            self.record.send_replace(Arc::new(after));
        }
        Ok(was_there)
    }

    async fn change(&self, change: AgentChange) -> Result<(), UpdateError> {
        let before = Arc::clone(&self.record.borrow());
        let after = change.applied_to(&before, clock::unix_ms());
        self.check_user(&before, &after).await?;
        self.reconfigure(&before, &after).await?;
        let kept = self.store.update_agent(&after).await;
        let error = match kept {
            Ok(true) => {
                self.record.send_replace(Arc::new(after));
                return Ok(());
            }
            Ok(false) => UpdateError::Find(FindError::NotFound),
            Err(InsertError::Duplicate(other)) => UpdateError::Duplicate(other),
            Err(InsertError::Store(error)) => UpdateError::Store(error.into()),
        };
        self.take_back(&after, &before).await;
        Err(error)
    }

    /// Refuses a user who has another agent before the agent hears of anything.
    async fn check_user(
        &self,
        before: &AgentRecord,
        after: &AgentRecord,
    ) -> Result<(), UpdateError> {
        if after.user_id.is_none() || after.user_id == before.user_id {
            return Ok(());
        }
        let serving = self.store.agent_serving(&after.owner, after.user_id.as_deref()).await;
        match serving.map_err(|error| UpdateError::Store(error.into()))? {
            Some(other) => Err(UpdateError::Duplicate(other)),
            None => Ok(()),
        }
    }

    /// Has the agent become what the record will say, or learns that it is at work.
    async fn reconfigure(
        &self,
        before: &AgentRecord,
        after: &AgentRecord,
    ) -> Result<(), UpdateError> {
        let expires_at = (after.expires_at_ms != before.expires_at_ms)
            .then(|| after.expires_at_ms.map(|at_ms| clock::now() + clock::until_unix_ms(at_ms)));
        let spec = (after.spec != before.spec).then(|| Arc::new(after.spec.clone()));
        let (reply, outcome) = oneshot::channel();
        let command = Command::Reconfigure { spec, expires_at };
        let gone = UpdateError::Find(FindError::NotFound);
        if self.door.send(Input::Command(command, reply)).await.is_err() {
            return Err(gone);
        }
        Ok(outcome.await.map_err(|_| gone)??)
    }

    /// The change was not kept, so the agent is to be again what it was. If it has gone to work
    /// in between it refuses, and stays changed until its next start.
    async fn take_back(&self, after: &AgentRecord, before: &AgentRecord) {
        if let Err(error) = self.reconfigure(after, before).await {
            tracing::error!(%error, "an agent works with a change that could not be kept");
        }
    }
}

/// A span in whole milliseconds.
pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Changes that may wait for one agent.
///
/// When full: the requests that bring more of them wait.
const CHANGES_CAPACITY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Rejection;
    use crate::ids::UserId;
    use crate::privacy::Secret;
    use crate::runtime::NewMetadata;
    use crate::sys::tasks::{self, Task};

    #[tokio::test]
    async fn what_the_agent_refuses_is_not_kept() {
        let mut desk = Desk::open().await;
        let outcome = desk.ask(renaming("Bo")).await;
        assert_eq!(desk.answer(Err(Rejection::AgentBusy)).await.as_deref(), Some("Bo"));
        assert_eq!(outcome.await.unwrap(), Err(UpdateError::Rejected(Rejection::AgentBusy)));
        assert_eq!(desk.seen.borrow().spec.name, "Ida");
        assert_eq!(desk.kept().await.spec.name, "Ida");
    }

    #[tokio::test]
    async fn what_the_agent_takes_is_kept_and_seen() {
        let mut desk = Desk::open().await;
        let outcome = desk.ask(renaming("Bo")).await;
        assert_eq!(desk.answer(Ok(())).await.as_deref(), Some("Bo"));
        outcome.await.unwrap().unwrap();
        assert_eq!(desk.seen.borrow().spec.name, "Bo");
        assert_eq!(desk.kept().await, **desk.seen.borrow());
    }

    #[tokio::test]
    async fn what_the_store_does_not_keep_is_taken_back() {
        let mut desk = Desk::open().await;
        desk.store.close().await;
        let outcome = desk.ask(renaming("Bo")).await;
        assert_eq!(desk.answer(Ok(())).await.as_deref(), Some("Bo"));
        assert_eq!(desk.answer(Ok(())).await.as_deref(), Some("Ida"));
        assert!(matches!(outcome.await.unwrap(), Err(UpdateError::Store(_))));
        assert_eq!(desk.seen.borrow().spec.name, "Ida");
    }

    #[tokio::test]
    async fn a_taken_user_is_refused_before_the_agent_hears_of_it() {
        let mut desk = Desk::open().await;
        let other = AgentRecord { user_id: Some("u1".into()), ..record("ag_2") };
        desk.store.insert_agent(&other).await.unwrap();
        let change = AgentChange { user_id: Some(Some("u1".into())), ..AgentChange::default() };
        let outcome = desk.ask(change).await;
        assert_eq!(outcome.await.unwrap(), Err(UpdateError::Duplicate(other.id)));
        assert!(desk.inbox.try_recv().is_err(), "the agent was asked");
    }

    #[tokio::test]
    async fn the_second_change_builds_on_the_first() {
        let mut desk = Desk::open().await;
        let first = desk.ask(renaming("Bo")).await;
        let change = AgentChange { user_id: Some(Some("u1".into())), ..AgentChange::default() };
        let second = desk.ask(change).await;
        assert_eq!(desk.answer(Ok(())).await.as_deref(), Some("Bo"));
        assert_eq!(desk.answer(Ok(())).await, None, "the spec does not change again");
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        let kept = desk.kept().await;
        assert_eq!((kept.spec.name.as_str(), kept.user_id.as_deref()), ("Bo", Some("u1")));
    }

    #[test]
    fn new_metadata_keeps_the_name_and_a_new_name_keeps_the_rest() {
        let before = record("ag_1");
        let spec = AgentSpec { instructions: "Be brief.".into(), ..AgentSpec::default() };
        let metadata = NewMetadata { json: r#"{"a":1}"#.into(), spec };
        let change = AgentChange { metadata: Some(metadata), ..AgentChange::default() };
        let after = change.applied_to(&before, 5);
        assert_eq!((after.spec.name.as_str(), after.metadata_json.as_str()), ("Ida", r#"{"a":1}"#));
        let renamed = renaming("Bo").applied_to(&after, 5);
        assert_eq!(renamed.spec.instructions, "Be brief.");
        let hour =
            AgentChange { ttl: Some(Some(Duration::from_secs(3600))), ..AgentChange::default() };
        assert_eq!(hour.applied_to(&before, 5).expires_at_ms, Some(3_600_005));
    }

    /// A clerk at work, and the test in the place of the agent.
    struct Desk {
        store: Store,
        changes: mpsc::Sender<ClerkRequest>,
        seen: watch::Receiver<Arc<AgentRecord>>,
        inbox: mpsc::Receiver<Input>,
        _clerk: Task<Infallible>,
    }

    impl Desk {
        async fn open() -> Self {
            let store = Store::open("sqlite::memory:").await.unwrap();
            store.ensure_bootstrap(&Secret::new("ak_1"), 1).await.unwrap();
            store.insert_agent(&record("ag_1")).await.unwrap();
            let (door, inbox) = mpsc::channel(4);
            let (clerk, changes, seen) = Clerk::new(record("ag_1"), door, store.clone());
            Self { store, changes, seen, inbox, _clerk: tasks::spawn("clerk", clerk.run()) }
        }

        async fn ask(&self, change: AgentChange) -> oneshot::Receiver<Result<(), UpdateError>> {
            let (reply, outcome) = oneshot::channel();
            self.changes
                .send(ClerkRequest::Change { change: Box::new(change), reply })
                .await
                .unwrap();
            outcome
        }

        /// Answers the next wish of the clerk; the name that it wants the agent to have.
        async fn answer(&mut self, outcome: Result<(), Rejection>) -> Option<String> {
            let Some(Input::Command(command, reply)) = self.inbox.recv().await else {
                panic!("the clerk asks nothing");
            };
            let Command::Reconfigure { spec, .. } = command else { panic!("{command:?}") };
            reply.send(outcome).unwrap();
            spec.map(|spec| spec.name.clone())
        }

        async fn kept(&self) -> AgentRecord {
            self.store.agent(&AgentId::new("ag_1")).await.unwrap().unwrap()
        }
    }

    fn renaming(name: &str) -> AgentChange {
        AgentChange { name: Some(name.into()), ..AgentChange::default() }
    }

    fn record(id: &str) -> AgentRecord {
        AgentRecord {
            id: AgentId::new(id),
            owner: UserId::new("usr_bootstrap"),
            metadata_json: "{}".into(),
            user_id: None,
            created_at_ms: 1,
            expires_at_ms: None,
            spec: AgentSpec { name: "Ida".into(), ..AgentSpec::default() },
        }
    }
}
