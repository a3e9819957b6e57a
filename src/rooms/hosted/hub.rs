//! The porter of all hosted rooms: which exist, who may enter, and which may go. An actor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::room::{self, Agent, Order, Room};
use super::seat::{Seat, Seats};
use crate::agent::{Participant, RoomFailure};
use crate::media::OpusPacket;
use crate::meter::Meter;
use crate::privacy::{Secret, SecretHash};
use crate::rooms::url::RoomName;
use crate::rooms::{FarEnd, MakeRoomError, RoomView};
use crate::sys::lanes::{Lane, Lanes};
use crate::sys::tasks;

/// Requests to the hub that may wait.
///
/// When full: humans wait, within their deadline; an agent's join fails as unreachable.
pub(super) const REQUESTS_CAPACITY: usize = 256;

/// What the hub is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// May someone with this token come in?
    Admit { name: RoomName, token: Option<Secret>, reply: oneshot::Sender<Admission> },
    /// An agent comes in; it is told the outcome through its events.
    Join { name: RoomName, token: Option<Secret>, agent: FarEnd },
    /// The door of a room, if there is such a room.
    Find { name: RoomName, reply: oneshot::Sender<Option<mpsc::Sender<Order>>> },
    /// What may be told of a room.
    View { name: RoomName, reply: oneshot::Sender<Option<RoomView>> },
    /// Would someone with this token be let in?
    Opens { name: RoomName, token: Option<Secret>, reply: oneshot::Sender<bool> },
    /// Make a room that stays until it is removed.
    Make { name: RoomName, lock: Lock, reply: oneshot::Sender<Result<(), MakeRoomError>> },
    /// Who is in a room, now and as it changes; the room stays while it is watched.
    Watch { name: RoomName, token: Option<Secret>, reply: oneshot::Sender<Watched> },
    /// Close a room; tells whether there was one.
    Remove { name: RoomName, reply: oneshot::Sender<bool> },
    /// Close every room; answered when all have said goodbye.
    CloseAll { reply: oneshot::Sender<()> },
}

/// Who is in a room.
pub(super) type Presence = watch::Receiver<Vec<Participant>>;

/// The answer to someone who wants to watch.
pub(super) type Watched = Result<Presence, RoomFailure>;

/// What a made room is locked with: the hash of its token, or nothing.
pub(super) type Lock = Option<SecretHash>;

/// The answer to someone at the door.
pub(super) type Admission = Result<Entry, RoomFailure>;

/// A seat, and the way to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seat: Seat,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) heard: mpsc::Sender<OpusPacket>,
    /// Where the room runs.
    pub(super) lane: Lane,
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Hub {
    rooms: HashMap<RoomName, Door>,
    house: Arc<Seats>,
    lanes: Lanes,
    /// Whether rooms that nobody has made are open to all, and made on first use.
    is_open: bool,
    meter: Meter,
    /// Rooms on their way out.
    closing: Vec<tasks::Task>,
}

impl Hub {
    pub(super) fn new(is_open: bool, lanes: Lanes, meter: Meter) -> Self {
        let house = Arc::new(Seats::new(HOUSE_MAX));
        Self { rooms: HashMap::new(), house, lanes, is_open, meter, closing: Vec::new() }
    }

    /// Serves until nobody is left who could ask.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => return,
                },
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    /// Does what is asked. A reply that nobody awaits is let go: who asked has given up.
    async fn serve(&mut self, request: Request) {
        match request {
            Request::Admit { name, token, reply } => {
                let _ = reply.send(self.admit(&name, token.as_ref(), None));
            }
            Request::Join { name, token, agent } => {
                let lane = Some(&agent.lane);
                let admission = self.admit(&name, token.as_ref(), lane);
                seat_agent(admission, agent).await;
            }
            Request::Find { name, reply } => {
                let _ = reply.send(self.rooms.get(&name).map(|door| door.orders.clone()));
            }
            Request::View { name, reply } => {
                let _ = reply.send(self.view(&name));
            }
            Request::Opens { name, token, reply } => {
                let _ = reply.send(self.opens(&name, token.as_ref()));
            }
            Request::Make { name, lock, reply } => {
                let _ = reply.send(self.make(name, lock));
            }
            Request::Watch { name, token, reply } => {
                let _ = reply.send(self.watch(&name, token.as_ref()));
            }
            Request::Remove { name, reply } => {
                let door = self.rooms.remove(&name);
                let _ = reply.send(door.is_some());
                self.closing.extend(door.map(Door::close));
            }
            Request::CloseAll { reply } => {
                self.close_all().await;
                let _ = reply.send(());
            }
        }
    }

    /// A room that is made for this runs in the lane of who comes in, if they have one.
    fn admit(&mut self, name: &RoomName, token: Option<&Secret>, lane: Option<&Lane>) -> Admission {
        let house = Arc::clone(&self.house);
        let door = self.door(name, lane)?;
        if !door.opens_to(token) {
            return Err(RoomFailure::Unauthorized);
        }
        let seat = door.seats.take(&house).ok_or(RoomFailure::Full)?;
        Ok(Entry {
            seat,
            orders: door.orders.clone(),
            heard: door.heard.clone(),
            lane: door.lane.clone(),
        })
    }

    /// The door of a room; a room that may be made on first use is made.
    fn door(&mut self, name: &RoomName, lane: Option<&Lane>) -> Result<&Door, RoomFailure> {
        if !self.rooms.contains_key(name) {
            if !self.is_open {
                return Err(RoomFailure::NotFound);
            }
            self.build(name.clone(), Tenure::Passing, lane).ok_or(RoomFailure::Full)?;
        }
        self.rooms.get(name).ok_or(RoomFailure::NotFound)
    }

    fn view(&self, name: &RoomName) -> Option<RoomView> {
        let open = match self.rooms.get(name) {
            Some(door) => door.is_open(),
            None if self.is_open => true,
            None => return None,
        };
        Some(RoomView { name: name.as_str().to_owned(), open })
    }

    fn opens(&self, name: &RoomName, token: Option<&Secret>) -> bool {
        self.rooms.get(name).map_or(self.is_open, |door| door.opens_to(token))
    }

    fn watch(&mut self, name: &RoomName, token: Option<&Secret>) -> Watched {
        let door = self.door(name, None)?;
        let is_let_in = door.opens_to(token);
        is_let_in.then(|| door.presence.subscribe()).ok_or(RoomFailure::Unauthorized)
    }

    /// A room of this name that was made on first use gives way if nobody is in it. Whoever
    /// watches it is put out with it: the one that takes its place may be locked.
    fn make(&mut self, name: RoomName, lock: Lock) -> Result<(), MakeRoomError> {
        if self.rooms.get(&name).is_some_and(|door| !door.is_unused()) {
            return Err(MakeRoomError::Exists);
        }
        self.closing.extend(self.rooms.remove(&name).map(Door::close));
        self.build(name, Tenure::Made(lock), None).ok_or(MakeRoomError::Full)
    }

    fn build(&mut self, name: RoomName, tenure: Tenure, lane: Option<&Lane>) -> Option<()> {
        if self.rooms.len() >= ROOMS_MAX {
            return None;
        }
        let lane = lane.cloned().unwrap_or_else(|| self.lanes.pick());
        let door = Door::build(name.clone(), tenure, lane, self.meter.clone());
        tracing::info!(room = %name, is_open = door.is_open(), "a room is made");
        self.rooms.insert(name, door);
        Some(())
    }

    async fn close_all(&mut self) {
        let doors = self.rooms.drain().map(|(_, door)| door.close());
        self.closing.extend(doors);
        for room in self.closing.drain(..) {
            // A room that panicked has ended too.
            let _ = room.await;
        }
    }

    /// Lets rooms go that were made on first use and that everyone has left.
    fn sweep(&mut self) {
        self.closing.retain(|room| !room.is_finished());
        let is_over = |_: &RoomName, door: &mut Door| door.is_unused() && door.presence.is_closed();
        let unused: Vec<(RoomName, Door)> = self.rooms.extract_if(is_over).collect();
        for (name, door) in unused {
            tracing::info!(room = %name, "an empty room is let go");
            self.closing.push(door.close());
        }
    }
}

/// How a room came to be, and so how long it stays.
#[derive(Debug)]
enum Tenure {
    /// Made on first use: open, and let go when nobody is in it.
    Passing,
    /// Made by an owner: stays until it is removed.
    Made(Lock),
}

/// A room as the hub knows it.
#[derive(Debug)]
struct Door {
    tenure: Tenure,
    seats: Seats,
    orders: mpsc::Sender<Order>,
    heard: mpsc::Sender<OpusPacket>,
    presence: watch::Sender<Vec<Participant>>,
    /// Where the room runs, and the legs of its people with it.
    lane: Lane,
    task: tasks::Task,
}

impl Door {
    fn build(name: RoomName, tenure: Tenure, lane: Lane, meter: Meter) -> Self {
        let (orders, given) = mpsc::channel(room::ROOM_ORDERS_CAPACITY);
        let (heard, said) = mpsc::channel(room::HEARD_CAPACITY);
        let presence = watch::Sender::new(Vec::new());
        let room = Room::new(name, presence.clone(), meter);
        let task = lane.spawn("room", room.run(given, said));
        Self { tenure, seats: Seats::new(ROOM_MAX), orders, heard, presence, lane, task }
    }

    fn is_open(&self) -> bool {
        matches!(self.tenure, Tenure::Passing | Tenure::Made(None))
    }

    fn opens_to(&self, token: Option<&Secret>) -> bool {
        match &self.tenure {
            Tenure::Passing | Tenure::Made(None) => true,
            Tenure::Made(Some(lock)) => token.is_some_and(|token| lock.is_of(token)),
        }
    }

    /// Whether it was made on first use, and nobody is in it or on the way into it.
    fn is_unused(&self) -> bool {
        matches!(self.tenure, Tenure::Passing) && self.seats.taken() == 0
    }

    /// Tells the room to end; its task does so by itself, but must be kept until it has.
    fn close(self) -> tasks::Task {
        if self.orders.try_send(Order::Close).is_err() {
            tracing::debug!("a busy room is closed without a goodbye");
            return tasks::spawn("room", std::future::ready(()));
        }
        self.task
    }
}

async fn seat_agent(admission: Admission, agent: FarEnd) {
    match admission {
        Ok(Entry { seat, orders, .. }) => {
            let FarEnd { me: who, packets, events, playout, lane: _ } = agent;
            let agent = Agent { who, packets, events, playout, seat };
            // A room that has just closed drops the link, which says so.
            let _ = orders.send(Order::Agent(agent)).await;
        }
        Err(failure) => agent.fail(failure),
    }
}

/// How many rooms there may be; an empty one is a few kilobytes.
const ROOMS_MAX: usize = 10_000;

/// How many may be in one room.
const ROOM_MAX: usize = 50;

/// How many may be in all rooms together.
const HOUSE_MAX: usize = 2000;

/// How soon an empty room is let go.
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_room_made_on_first_use_goes_when_it_is_empty_and_unwatched() {
        let mut hub = Hub::new(true, Lanes::default(), Meter::new());
        let entry = hub.admit(&lobby(), None, None).unwrap();
        let presence = hub.watch(&lobby(), None).unwrap();
        hub.sweep();
        assert_eq!(hub.rooms.len(), 1, "somebody is in it");
        drop(entry);
        hub.sweep();
        assert_eq!(hub.rooms.len(), 1, "somebody watches it");
        drop(presence);
        hub.sweep();
        assert_eq!(hub.rooms.len(), 0);
    }

    #[tokio::test]
    async fn a_made_room_stays_though_nobody_is_in_it() {
        let mut hub = Hub::new(false, Lanes::default(), Meter::new());
        for lock in [None, Some(SecretHash::of(&Secret::new("rt_1")))] {
            let is_open = lock.is_none();
            hub.make(lobby(), lock).unwrap();
            hub.sweep();
            assert_eq!(hub.view(&lobby()).map(|room| room.open), Some(is_open));
            let refused = hub.admit(&lobby(), Some(&Secret::new("rt_2")), None).err();
            assert_eq!(refused, (!is_open).then_some(RoomFailure::Unauthorized));
            hub.close_all().await;
        }
        assert_eq!(hub.admit(&lobby(), None, None).err(), Some(RoomFailure::NotFound));
    }

    #[tokio::test]
    async fn whoever_comes_when_all_seats_are_taken_is_told() {
        let mut hub = Hub::new(true, Lanes::default(), Meter::new());
        let seated: Vec<_> =
            (0..ROOM_MAX).map(|_| hub.admit(&lobby(), None, None).unwrap()).collect();
        assert_eq!(hub.admit(&lobby(), None, None).err(), Some(RoomFailure::Full));
        drop(seated);
        assert!(hub.admit(&lobby(), None, None).is_ok());
    }

    fn lobby() -> RoomName {
        RoomName::parse("lobby").unwrap()
    }
}
