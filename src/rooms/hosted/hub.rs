//! The porter of all hosted rooms: which exist, who may enter, and which may go. An actor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::room::{self, Agent, Order, Room};
use super::seat::{Seat, Seats};
use crate::agent::{Participant, RoomEvent, RoomFailure};
use crate::media::OpusPacket;
use crate::privacy::Secret;
use crate::rooms::url::RoomName;
use crate::rooms::{MakeRoomError, RoomView};
use crate::sys::{entropy, tasks};

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
    Join { name: RoomName, token: Option<Secret>, agent: Newcomer },
    /// The door of a room, if there is such a room.
    Find { name: RoomName, reply: oneshot::Sender<Option<mpsc::Sender<Order>>> },
    /// What may be told of a room.
    View { name: RoomName, reply: oneshot::Sender<Option<RoomView>> },
    /// Make a room that needs a token.
    Make { name: RoomName, reply: oneshot::Sender<Result<Secret, MakeRoomError>> },
    /// Who is in a room, now and as it changes; the room stays while it is watched.
    Watch { name: RoomName, reply: oneshot::Sender<Result<Presence, RoomFailure>> },
    /// Close a room; tells whether there was one.
    Remove { name: RoomName, reply: oneshot::Sender<bool> },
}

/// Who is in a room.
pub(super) type Presence = watch::Receiver<Vec<Participant>>;

/// The answer to someone at the door.
pub(super) type Admission = Result<Entry, RoomFailure>;

/// A seat, and the way to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seat: Seat,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) heard: mpsc::Sender<OpusPacket>,
}

/// An agent without a seat yet: the far ends of its link.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) who: Participant,
    pub(super) packets: mpsc::Sender<OpusPacket>,
    pub(super) events: mpsc::Sender<RoomEvent>,
    pub(super) playout: mpsc::Receiver<OpusPacket>,
}

/// All rooms.
#[derive(Debug)]
pub(super) struct Hub {
    rooms: HashMap<RoomName, Door>,
    house: Arc<Seats>,
    /// Whether rooms that nobody has made are open to all, and made on first use.
    is_open: bool,
    /// Rooms on their way out.
    closing: Vec<tasks::Task>,
}

impl Hub {
    pub(super) fn new(is_open: bool) -> Self {
        let house = Arc::new(Seats::new(HOUSE_MAX));
        Self { rooms: HashMap::new(), house, is_open, closing: Vec::new() }
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
                let _ = reply.send(self.admit(&name, token.as_ref()));
            }
            Request::Join { name, token, agent } => {
                let admission = self.admit(&name, token.as_ref());
                seat_agent(admission, agent).await;
            }
            Request::Find { name, reply } => {
                let _ = reply.send(self.rooms.get(&name).map(|door| door.orders.clone()));
            }
            Request::View { name, reply } => {
                let _ = reply.send(self.view(&name));
            }
            Request::Make { name, reply } => {
                let _ = reply.send(self.make(name));
            }
            Request::Watch { name, reply } => {
                let _ = reply.send(self.door(&name).map(|door| door.presence.subscribe()));
            }
            Request::Remove { name, reply } => {
                let door = self.rooms.remove(&name);
                let _ = reply.send(door.is_some());
                self.closing.extend(door.map(Door::close));
            }
        }
    }

    fn admit(&mut self, name: &RoomName, token: Option<&Secret>) -> Admission {
        let house = Arc::clone(&self.house);
        let door = self.door(name)?;
        if !door.opens_to(token) {
            return Err(RoomFailure::Unauthorized);
        }
        let seat = door.seats.take(&house).ok_or(RoomFailure::Full)?;
        Ok(Entry { seat, orders: door.orders.clone(), heard: door.heard.clone() })
    }

    /// The door of a room; a room that may be made on first use is made.
    fn door(&mut self, name: &RoomName) -> Result<&Door, RoomFailure> {
        if !self.rooms.contains_key(name) {
            if !self.is_open {
                return Err(RoomFailure::NotFound);
            }
            self.build(name.clone(), None).ok_or(RoomFailure::Full)?;
        }
        self.rooms.get(name).ok_or(RoomFailure::NotFound)
    }

    fn view(&self, name: &RoomName) -> Option<RoomView> {
        let open = match self.rooms.get(name) {
            Some(door) => door.token.is_none(),
            None if self.is_open => true,
            None => return None,
        };
        Some(RoomView { name: name.as_str().to_owned(), open })
    }

    fn make(&mut self, name: RoomName) -> Result<Secret, MakeRoomError> {
        if self.rooms.contains_key(&name) {
            return Err(MakeRoomError::Exists);
        }
        let token = Secret::new(format!("rt_{:032x}", entropy::bits()));
        self.build(name, Some(token.clone())).ok_or(MakeRoomError::Full)?;
        Ok(token)
    }

    fn build(&mut self, name: RoomName, token: Option<Secret>) -> Option<()> {
        if self.rooms.len() >= ROOMS_MAX {
            return None;
        }
        tracing::info!(room = %name, is_open = token.is_none(), "a room is made");
        self.rooms.insert(name.clone(), Door::build(name, token));
        Some(())
    }

    /// Lets rooms go that were made on first use and that everyone has left.
    fn sweep(&mut self) {
        self.closing.retain(|room| !room.is_finished());
        let is_unused = |_: &RoomName, door: &mut Door| {
            door.token.is_none() && door.seats.taken() == 0 && door.presence.is_closed()
        };
        let unused: Vec<(RoomName, Door)> = self.rooms.extract_if(is_unused).collect();
        for (name, door) in unused {
            tracing::info!(room = %name, "an empty room is let go");
            self.closing.push(door.close());
        }
    }
}

/// A room as the hub knows it.
#[derive(Debug)]
struct Door {
    token: Option<Secret>,
    seats: Seats,
    orders: mpsc::Sender<Order>,
    heard: mpsc::Sender<OpusPacket>,
    presence: watch::Sender<Vec<Participant>>,
    task: tasks::Task,
}

impl Door {
    fn build(name: RoomName, token: Option<Secret>) -> Self {
        let (orders, given) = mpsc::channel(room::ROOM_ORDERS_CAPACITY);
        let (heard, said) = mpsc::channel(room::HEARD_CAPACITY);
        let presence = watch::Sender::new(Vec::new());
        let room = Room::new(name, presence.clone());
        let task = tasks::spawn("room", room.run(given, said));
        Self { token, seats: Seats::new(ROOM_MAX), orders, heard, presence, task }
    }

    /// Compares in constant time: a token must not be guessed letter by letter.
    fn opens_to(&self, token: Option<&Secret>) -> bool {
        match (&self.token, token) {
            (None, _) => true,
            (Some(ours), Some(theirs)) => {
                ours.expose().as_bytes().ct_eq(theirs.expose().as_bytes()).into()
            }
            (Some(_), None) => false,
        }
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

async fn seat_agent(admission: Admission, agent: Newcomer) {
    let Newcomer { who, packets, events, playout } = agent;
    match admission {
        Ok(Entry { seat, orders, .. }) => {
            let agent = Agent { who, packets, events, playout, seat };
            // A room that has just closed drops the link, which says so.
            let _ = orders.send(Order::Agent(agent)).await;
        }
        Err(failure) => {
            let _ = events.send(RoomEvent::Failed(failure)).await;
        }
    }
}

/// How many rooms there may be.
const ROOMS_MAX: usize = 1000;

/// How many may be in one room.
const ROOM_MAX: usize = 50;

/// How many may be in all rooms together.
const HOUSE_MAX: usize = 2000;

/// How soon an empty room is let go.
const SWEEP: Duration = Duration::from_secs(1);
