//! Rooms that users make: kept in the store, made again after a restart, and ended in time.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::gateway::Gateway;
use super::handle::{ListError, StoreFailure};
use crate::ids::UserId;
use crate::privacy::{Secret, SecretHash};
use crate::rooms::{MakeRoomError, RoomName, Rooms};
use crate::store::{self, Page, RoomRecord, Store, StoreError};
use crate::sys::tasks::{self, Task};
use crate::sys::{clock, entropy};

/// Rooms of one owner. Over it, making one is refused with `CAPACITY`.
pub const ROOMS_PER_OWNER_MAX: usize = 1000;

/// What a new room is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Its name; one of ours unless given.
    pub name: Option<RoomName>,
    /// Its time to live, counted from now; without one it stays until it is removed.
    pub ttl: Option<Duration>,
    /// Whether joining needs no token.
    pub open: bool,
}

/// A room that somebody has made, as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedRoom {
    /// Its name.
    pub name: String,
    /// Whether joining needs no token.
    pub open: bool,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// A new room: the only moment at which its token is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedRoom {
    /// The room.
    pub room: HostedRoom,
    /// Its token; none if it is open.
    pub token: Option<Secret>,
}

/// Why a room was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CreateRoomError {
    /// There is a room of this name, whosoever it is.
    #[error("there is a room of this name already")]
    Exists,
    /// The owner has as many rooms as one may have, or the process as many as it takes.
    #[error("there is no space for another room")]
    Capacity,
    /// The process is going down.
    #[error("the gateway is shutting down")]
    Draining,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

/// Why a room was not found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindRoomError {
    /// No such room of this owner.
    #[error("there is no such room")]
    NotFound,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

impl From<StoreError> for CreateRoomError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for FindRoomError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Gateway {
    /// Makes a room. A room of this name that was made on first use gives way if it is empty.
    pub async fn create_room(
        &self,
        owner: &UserId,
        new: NewRoom,
    ) -> Result<IssuedRoom, CreateRoomError> {
        if !self.is_ready() {
            return Err(CreateRoomError::Draining);
        }
        let owner = owner.clone();
        let made = self.room_keeper().ask(|reply| Request::Create { owner, new, reply }).await;
        made.unwrap_or(Err(CreateRoomError::Draining))
    }

    /// Looks at one room of an owner.
    pub async fn read_room(&self, owner: &UserId, name: &str) -> Result<HostedRoom, FindRoomError> {
        let found = self.store().room_of(owner, name).await?;
        found.map(|record| shown(&record)).ok_or(FindRoomError::NotFound)
    }

    /// Looks at an owner's rooms, newest first.
    pub async fn list_rooms(
        &self,
        owner: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<HostedRoom>, ListError> {
        let page = self.store().rooms_of(owner, limit, cursor).await?;
        Ok(Page { rows: page.rows.iter().map(shown).collect(), next: page.next })
    }

    /// Ends a room of an owner: everyone in it is put out.
    pub async fn delete_room(&self, owner: &UserId, name: &str) -> Result<(), FindRoomError> {
        let (owner, name) = (owner.clone(), name.to_owned());
        let ended = self.room_keeper().ask(|reply| Request::Delete { owner, name, reply }).await;
        ended.unwrap_or_else(|| Err(FindRoomError::Store(StoreFailure::of_shutdown())))
    }
}

/// Requests to the keeper that may wait.
///
/// When full: the one who asks waits.
const KEEPER_REQUESTS_CAPACITY: usize = 64;

/// The way to the keeper, which makes and ends rooms one after the other. So no two can be made
/// of one name, and a request whose asker has gone is finished all the same.
#[derive(Debug)]
pub(super) struct RoomKeeper {
    requests: mpsc::Sender<Request>,
    _task: Task,
}

#[derive(Debug)]
enum Request {
    Create { owner: UserId, new: NewRoom, reply: oneshot::Sender<Created> },
    Delete { owner: UserId, name: String, reply: oneshot::Sender<Result<(), FindRoomError>> },
    Stop { reply: oneshot::Sender<()> },
}

type Created = Result<IssuedRoom, CreateRoomError>;

impl RoomKeeper {
    /// Makes every room of the store again, empty and with the same token, and keeps them.
    pub(super) async fn start(rooms: Rooms, store: Store) -> Result<Self, StoreError> {
        let mut keeper = Keeper { rooms, store, ends: BTreeSet::new() };
        let count = keeper.take_up().await?;
        tracing::info!(rooms = count, "made the rooms of the store again");
        let (requests, received) = mpsc::channel(KEEPER_REQUESTS_CAPACITY);
        Ok(Self { requests, _task: tasks::spawn("room keeper", keeper.run(received)) })
    }

    /// Closes every room and keeps none any more; what the store has stays.
    pub(super) async fn stop(&self) {
        // A keeper that has ended has stopped.
        let _ = self.ask(|reply| Request::Stop { reply }).await;
    }

    /// Asks the keeper; `None` if it has stopped.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

#[derive(Debug)]
struct Keeper {
    rooms: Rooms,
    store: Store,
    /// When rooms end, in milliseconds since the Unix epoch, soonest first.
    ends: BTreeSet<(u64, String)>,
}

impl Keeper {
    async fn take_up(&mut self) -> Result<usize, StoreError> {
        let now_ms = clock::unix_ms();
        let mut count = 0;
        for record in self.store.all_rooms().await? {
            if record.expires_at_ms.is_some_and(|end| end <= now_ms) {
                self.store.delete_room(&record.name).await?;
                continue;
            }
            let Some(name) = RoomName::parse(&record.name) else {
                tracing::error!(room = record.name, "a stored room has a name that is none");
                continue;
            };
            if let Err(error) = self.rooms.make(name, record.token).await {
                tracing::error!(room = record.name, %error, "a stored room is not made again");
                continue;
            }
            self.ends.extend(record.expires_at_ms.map(|end| (end, record.name)));
            count += 1;
        }
        Ok(count)
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Create { owner, new, reply }) => {
                        self.answer(reply, owner, new).await;
                    }
                    Some(Request::Delete { owner, name, reply }) => {
                        // The room ends whether or not its owner still waits to be told.
                        let _ = reply.send(self.delete(&owner, &name).await);
                    }
                    Some(Request::Stop { reply }) => {
                        self.rooms.close_all().await;
                        let _ = reply.send(());
                        return;
                    }
                    None => return,
                },
                () = tokio::time::sleep(self.pause()) => self.end_overdue().await,
            }
        }
    }

    /// How long nothing ends.
    fn pause(&self) -> Duration {
        let next = self.ends.first().map(|(end, _)| clock::until_unix_ms(*end));
        next.map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX))
    }

    async fn answer(&mut self, reply: oneshot::Sender<Created>, owner: UserId, new: NewRoom) {
        let created = self.create(owner, new).await;
        if let Err(Ok(issued)) = reply.send(created) {
            tracing::debug!(room = issued.room.name, "nobody waits for the room that was made");
            self.end(&issued.room.name).await;
        }
    }

    async fn create(&mut self, owner: UserId, new: NewRoom) -> Created {
        if self.store.count_rooms(&owner).await? >= ROOMS_PER_OWNER_MAX {
            return Err(CreateRoomError::Capacity);
        }
        let token = (!new.open).then(|| Secret::new(format!("rt_{:032x}", entropy::bits())));
        let lock = token.as_ref().map(SecretHash::of);
        let name = self.make(new.name, lock.as_ref()).await?;
        let created_at_ms = clock::unix_ms();
        let ttl_ms = new.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let record = RoomRecord {
            name: name.as_str().to_owned(),
            owner,
            token: lock,
            created_at_ms,
            expires_at_ms: ttl_ms.map(|ms| created_at_ms.saturating_add(ms)),
        };
        if let Err(error) = self.store.insert_room(&record).await {
            self.rooms.remove(&record.name).await;
            return Err(match error {
                store::InsertRoomError::Taken => CreateRoomError::Exists,
                store::InsertRoomError::Store(error) => error.into(),
            });
        }
        self.ends.extend(record.expires_at_ms.map(|end| (end, record.name.clone())));
        Ok(IssuedRoom { room: shown(&record), token })
    }

    /// Makes the room itself. A name of ours that is taken is drawn again, a few times.
    async fn make(
        &self,
        name: Option<RoomName>,
        lock: Option<&SecretHash>,
    ) -> Result<RoomName, CreateRoomError> {
        let tries = if name.is_some() { 1 } else { NAME_TRIES };
        for _ in 0..tries {
            let name = name.clone().unwrap_or_else(|| RoomName::from_entropy(entropy::bits()));
            match self.rooms.make(name.clone(), lock.cloned()).await {
                Ok(()) => return Ok(name),
                Err(MakeRoomError::Exists) => {}
                Err(MakeRoomError::Full) => return Err(CreateRoomError::Capacity),
            }
        }
        Err(CreateRoomError::Exists)
    }

    async fn delete(&mut self, owner: &UserId, name: &str) -> Result<(), FindRoomError> {
        let found = self.store.room_of(owner, name).await?;
        let record = found.ok_or(FindRoomError::NotFound)?;
        self.store.delete_room(name).await?;
        self.ends.retain(|(_, other)| *other != record.name);
        self.rooms.remove(name).await;
        Ok(())
    }

    async fn end_overdue(&mut self) {
        let now_ms = clock::unix_ms();
        while self.ends.first().is_some_and(|(end, _)| *end <= now_ms) {
            if let Some((_, name)) = self.ends.pop_first() {
                tracing::info!(room = name, "a room's time to live is over");
                self.end(&name).await;
            }
        }
    }

    /// Puts everyone out and forgets the room.
    async fn end(&mut self, name: &str) {
        self.ends.retain(|(_, other)| other != name);
        self.rooms.remove(name).await;
        if let Err(error) = self.store.delete_room(name).await {
            tracing::error!(room = name, %error, "an ended room could not be deleted; once more");
            let again_ms = u64::try_from(PAUSE_MAX.as_millis()).unwrap_or(u64::MAX);
            let again_at_ms = clock::unix_ms().saturating_add(again_ms);
            self.ends.insert((again_at_ms, name.to_owned()));
        }
    }
}

fn shown(record: &RoomRecord) -> HostedRoom {
    HostedRoom {
        name: record.name.clone(),
        open: record.token.is_none(),
        created_at_ms: record.created_at_ms,
        expires_at_ms: record.expires_at_ms,
    }
}

/// The longest sleep: a clock that was set, or a machine that slept, is noticed after it.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Names of ours that may be taken before we give up; there are ten million.
const NAME_TRIES: usize = 8;
