//! Rooms that we host: humans come in by WHIP, agents by a link, and all hear all others.

mod hub;
mod leg;
mod mixer;
mod room;
mod seat;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use self::hub::{Entry, Hub, REQUESTS_CAPACITY, Request};
use self::leg::{LEG_ORDERS_CAPACITY, LegOrder, ToRoom};
use self::room::{Human, Order};
use super::elsewhere::Elsewhere;
use super::mux::Mux;
use super::peer::{Answer, Identity, Leg, Peer, PeerError, Trickled};
use super::sdp::Fragment;
use super::url::RoomName;
use super::{FarEnd, new_participant};
use crate::agent::{Participant, RoomFailure};
use crate::ids::ParticipantId;
use crate::meter::Meter;
use crate::privacy::{Secret, SecretHash};
use crate::sys::lanes::Lanes;
use crate::sys::tasks;

/// How rooms are hosted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsConfig {
    /// Where WebRTC media is received; one port carries all calls. Wildcards stand for every
    /// address of the machine but loopback; port 0 is any free one.
    pub media_listen: Vec<SocketAddr>,
    /// Where connections are taken that carry media over TCP; nowhere if there is no address. If
    /// this is left open, at the same addresses and numbers, as far as TCP has them free.
    pub media_tcp_listen: Option<Vec<SocketAddr>>,
    /// An address to offer to peers besides those, for a machine behind 1:1 NAT.
    pub public_ip: Option<IpAddr>,
    /// Whether rooms are open to all, and made on first use.
    pub open: bool,
}

/// All rooms that we host. Cheap to clone; the last clone's end closes them.
#[derive(Clone, Debug)]
pub struct Rooms {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    /// Counts how long packets of agents take to leave.
    meter: Meter,
}

#[derive(Debug)]
struct Shared {
    mux: Mux,
    identity: Identity,
    lanes: Lanes,
    _hub: tasks::Task,
}

/// A room, as far as anyone may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Its name.
    pub name: String,
    /// Whether joining needs no token.
    pub open: bool,
}

/// What a human gets who has come in by WHIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomAnswer {
    /// Their id, as the owners of agents in the room are told it.
    pub participant: ParticipantId,
    /// The same id, as what gives the right to change or end their leg, and to watch the room:
    /// other humans in the room know them by another name.
    pub key: Secret,
    /// The SDP answer.
    pub sdp: String,
    /// The entity tag of the ICE session (RFC 9725, section 4.3.1), without quotes.
    pub ice_etag: String,
}

/// The ICE sessions a fragment is meant for (RFC 9725, section 4.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceSession {
    /// Whichever it is.
    Any,
    /// One with an entity tag of these, which are without quotes.
    OneOf(Vec<String>),
}

/// What has become of a trickled fragment (RFC 9725, section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrickleAnswer {
    /// Its candidates are tried; there is nothing to tell (204).
    Added,
    /// ICE has been restarted (200).
    Restarted {
        /// Our new credentials and candidates, as `application/trickle-ice-sdpfrag`.
        fragment: String,
        /// The entity tag of the new ICE session, without quotes.
        ice_etag: String,
    },
    /// It is for another ICE session than the one that runs, and nothing was done (412).
    Outdated,
}

/// Why a room was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MakeRoomError {
    /// There is a room of this name, and it is not one made on first use that stands empty.
    #[error("there is a room of this name already")]
    Exists,
    /// There are as many rooms as there may be.
    #[error("there is no space for another room")]
    Full,
}

impl Rooms {
    /// Opens the media ports. Must be called within tokio, where everything then runs.
    pub fn new(config: &RoomsConfig) -> io::Result<Self> {
        Self::in_lanes(config, Lanes::default())
    }

    /// Opens the media ports. Each room runs in one of these lanes, with the legs of its people.
    /// Must be called within tokio.
    pub fn in_lanes(config: &RoomsConfig, lanes: Lanes) -> io::Result<Self> {
        let meter = Meter::new();
        let streams = config.media_tcp_listen.as_deref();
        let bind = || Mux::bind(&config.media_listen, streams, config.public_ip, &meter);
        let mux = lanes.first().within(bind)?;
        let identity = Identity::generate().map_err(io::Error::other)?;
        let (requests, received) = mpsc::channel(REQUESTS_CAPACITY);
        let hub = Hub::new(config.open, lanes.clone(), meter.clone());
        let hub = tasks::spawn("rooms", hub.run(received));
        Ok(Self { requests, shared: Arc::new(Shared { mux, identity, lanes, _hub: hub }), meter })
    }

    /// What stays elsewhere share with those here.
    pub(in crate::rooms) fn elsewhere(&self) -> Elsewhere {
        Elsewhere { identity: self.shared.identity.clone(), meter: self.meter.clone() }
    }

    /// How long frames take on their way: whoever has a part in that counts here.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Where rooms run; what is in them does well to run there too.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.shared.lanes
    }

    /// The addresses at which media is received as datagrams, as peers are told.
    #[must_use]
    pub fn media_addresses(&self) -> &[SocketAddr] {
        &self.shared.mux.reach().datagrams
    }

    /// The addresses at which connections are taken that carry media, as peers are told.
    #[must_use]
    pub fn media_tcp_addresses(&self) -> &[SocketAddr] {
        &self.shared.mux.reach().streams
    }

    /// Brings an agent into a room; it is told the outcome through its events.
    pub(in crate::rooms) fn join(&self, name: RoomName, token: Option<Secret>, agent: FarEnd) {
        let join = Request::Join { name, token, agent };
        if let Err(refused) = self.requests.try_send(join)
            && let Request::Join { agent, .. } = refused.into_inner()
        {
            agent.fail(unreachable());
        }
    }

    /// Answers a human's offer. They are in the room once their peer has connected.
    pub async fn enter(
        &self,
        room: &str,
        token: Option<&Secret>,
        display_name: &str,
        offer: &str,
    ) -> Result<RoomAnswer, RoomFailure> {
        let name = RoomName::parse(room).ok_or(RoomFailure::NotFound)?;
        let token = token.cloned();
        let who = Participant { id: new_participant(), name: clean(display_name) };
        let entering = async {
            let entry = self.admit(name.clone(), token).await?;
            let (here, lane) = (self.clone(), entry.lane.clone());
            let offer = offer.to_owned();
            let answering =
                lane.spawn("answer", async move { here.answer(name, entry, who, &offer).await });
            answering.await.unwrap_or_else(|_| Err(unreachable()))
        };
        let outcome = tokio::time::timeout(ENTER, entering).await;
        outcome.unwrap_or_else(|_| Err(RoomFailure::Unreachable("the answer took too long".into())))
    }

    /// Takes trickled candidates of the human who has this key, or restarts ICE with their new
    /// credentials.
    pub async fn trickle(
        &self,
        room: &str,
        key: &Secret,
        of: IceSession,
        fragment: &str,
    ) -> Result<TrickleAnswer, RoomFailure> {
        let fragment = Fragment::read(fragment).map_err(|error| media(&error.into()))?;
        let ask = |reply| Order::Leg { key: key.clone(), reply };
        let leg = self.ask_room(room, ask).await.flatten().ok_or(RoomFailure::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let order = LegOrder::Trickle { fragment, of, reply };
        leg.send(order).await.map_err(|_| RoomFailure::NotFound)?;
        let trickled = tokio::time::timeout(ENTER, answer).await.map_err(|_| unreachable())?;
        match trickled.map_err(|_| RoomFailure::NotFound)?.map_err(|error| media(&error))? {
            Some(Trickled::Added) => Ok(TrickleAnswer::Added),
            Some(Trickled::Restarted { fragment, ufrag }) => {
                Ok(TrickleAnswer::Restarted { fragment, ice_etag: ufrag })
            }
            None => Ok(TrickleAnswer::Outdated),
        }
    }

    /// Puts the human who has this key out of a room; tells whether there was one.
    pub async fn hang_up(&self, room: &str, key: &Secret) -> bool {
        let ask = |reply| Order::HangUp { key: key.clone(), reply };
        self.ask_room(room, ask).await.unwrap_or(false)
    }

    /// What may be told of a room; `None` if there is none and none would be made.
    pub async fn view(&self, room: &str) -> Option<RoomView> {
        let name = RoomName::parse(room)?;
        self.ask(|reply| Request::View { name, reply }).await?
    }

    /// Whether someone with this token would be let into a room. No room is made for that.
    pub async fn opens(&self, room: &str, token: Option<&Secret>) -> bool {
        let Some(name) = RoomName::parse(room) else { return false };
        let ask = |reply| Request::Opens { name, token: token.cloned(), reply };
        self.ask(ask).await.unwrap_or(false)
    }

    /// Who is in a room, now and as it changes, for whoever may come in with this token. The room
    /// stays while it is watched.
    pub async fn watch(
        &self,
        room: &str,
        token: Option<&Secret>,
    ) -> Result<watch::Receiver<Vec<Participant>>, RoomFailure> {
        let name = RoomName::parse(room).ok_or(RoomFailure::NotFound)?;
        let ask = |reply| Request::Watch { name, token: token.cloned(), reply };
        self.ask(ask).await.unwrap_or(Err(RoomFailure::NotFound))
    }

    /// Who is in a room, now and as it changes, for the human in it who has this key.
    pub async fn watch_from_inside(
        &self,
        room: &str,
        key: &Secret,
    ) -> Result<watch::Receiver<Vec<Participant>>, RoomFailure> {
        let ask = |reply| Order::Watch { key: key.clone(), reply };
        self.ask_room(room, ask).await.flatten().ok_or(RoomFailure::Unauthorized)
    }

    /// Makes a room that stays until it is removed. With a `lock`, joining needs the token that it
    /// is the hash of; without one, the room is open.
    pub async fn make(
        &self,
        name: RoomName,
        lock: Option<SecretHash>,
    ) -> Result<(), MakeRoomError> {
        let made = self.ask(|reply| Request::Make { name, lock, reply }).await;
        made.unwrap_or(Err(MakeRoomError::Full))
    }

    /// Closes a room and puts everyone out; tells whether there was one.
    pub async fn remove(&self, room: &str) -> bool {
        let Some(name) = RoomName::parse(room) else { return false };
        self.ask(|reply| Request::Remove { name, reply }).await.unwrap_or(false)
    }

    /// Closes every room; returns when everyone has been told goodbye.
    pub async fn close_all(&self) {
        // A hub that has ended has no rooms.
        let _ = self.ask(|reply| Request::CloseAll { reply }).await;
    }

    async fn admit(&self, name: RoomName, token: Option<Secret>) -> Result<Entry, RoomFailure> {
        let admission = self.ask(|reply| Request::Admit { name, token, reply }).await;
        admission.ok_or_else(unreachable)?
    }

    async fn answer(
        &self,
        name: RoomName,
        entry: Entry,
        who: Participant,
        offer: &str,
    ) -> Result<RoomAnswer, RoomFailure> {
        let Shared { mux, identity, .. } = &*self.shared;
        let accepted = Peer::accept(mux, identity, who.id.clone(), offer).await;
        let (Leg { peer, ear, voice }, answer) = accepted.map_err(|error| media(&error))?;
        let Answer { sdp, ufrag } = answer;
        let participant = who.id.clone();
        let key = Secret::new(participant.as_str());
        let (leg, orders) = mpsc::channel(LEG_ORDERS_CAPACITY);
        let Entry { seat, orders: room, heard, lane: _ } = entry;
        let meter = self.meter.clone();
        let to = ToRoom { room: name, orders: room.clone(), heard, meter };
        let task = tasks::spawn("leg", leg::run(participant.clone(), peer, ear, orders, to));
        let human = Human { who, key: SecretHash::of(&key), voice, leg, task, seat };
        let closed = |_| RoomFailure::Closed("the room was closed".to_owned());
        room.send(Order::Human(human)).await.map_err(closed)?;
        Ok(RoomAnswer { participant, key, sdp, ice_etag: ufrag })
    }

    /// Asks a room; `None` if there is none, or if it has closed.
    async fn ask_room<T>(
        &self,
        room: &str,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Option<T> {
        let name = RoomName::parse(room)?;
        let orders = self.ask(|reply| Request::Find { name, reply }).await??;
        let (reply, answer) = oneshot::channel();
        orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Asks the hub; `None` if it has ended.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// A name that can be shown: no control signs, not too long.
fn clean(name: &str) -> String {
    name.chars().filter(|sign| !sign.is_control()).take(NAME_MAX).collect()
}

fn media(error: &PeerError) -> RoomFailure {
    RoomFailure::Media(error.to_string())
}

fn unreachable() -> RoomFailure {
    RoomFailure::Unreachable("the gateway is busy or going down".to_owned())
}

/// How long an answer may take: it is local work of milliseconds.
const ENTER: Duration = Duration::from_secs(5);

/// The longest display name, in characters.
const NAME_MAX: usize = 80;
