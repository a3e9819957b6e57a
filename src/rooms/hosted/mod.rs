//! Rooms that we host: humans come in by WHIP, agents by a link, and all hear all others.

mod hub;
mod leg;
mod line;
mod mixer;
mod room;
mod seat;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use self::hub::{Entry, Hub, Newcomer, REQUESTS_CAPACITY, Request};
use self::leg::{LEG_ORDERS_CAPACITY, LegOrder, ToRoom};
use self::room::{Human, Order};
use super::mux::Mux;
use super::peer::{Answer, Identity, Leg, Peer, PeerError, Trickled};
use super::sdp::Fragment;
use super::url::{RoomName, RoomUrl};
use super::{EVENTS_CAPACITY, PACKETS_CAPACITY, PLAYOUT_CAPACITY, RoomLink};
use crate::agent::{JoinRequest, Participant, RoomEvent, RoomFailure};
use crate::ids::ParticipantId;
use crate::privacy::Secret;
use crate::sys::{entropy, tasks};

/// How rooms are hosted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsConfig {
    /// Where WebRTC media is received; one port carries all calls. Wildcards stand for every
    /// address of the machine but loopback; port 0 is any free one.
    pub media_listen: Vec<SocketAddr>,
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
}

#[derive(Debug)]
struct Shared {
    mux: Mux,
    identity: Identity,
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
    /// Their id in the room.
    pub participant: ParticipantId,
    /// The SDP answer.
    pub sdp: String,
    /// The entity tag of the ICE session (RFC 9725, section 4.3.1), without quotes.
    pub ice_etag: String,
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
}

/// Why a room was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MakeRoomError {
    /// The name is empty, too long, or has other signs than letters, digits, `-`, `_` and `.`.
    #[error("a room's name has 1 to 64 letters, digits, '-', '_' or '.'")]
    BadName,
    /// There is a room of this name.
    #[error("there is a room of this name already")]
    Exists,
    /// There are as many rooms as there may be.
    #[error("there is no space for another room")]
    Full,
}

impl Rooms {
    /// Opens the media ports. Must be called within tokio.
    pub fn new(config: &RoomsConfig) -> io::Result<Self> {
        let mux = Mux::bind(&config.media_listen, config.public_ip)?;
        let identity = Identity::generate().map_err(io::Error::other)?;
        let (requests, received) = mpsc::channel(REQUESTS_CAPACITY);
        let hub = tasks::spawn("rooms", Hub::new(config.open).run(received));
        Ok(Self { requests, shared: Arc::new(Shared { mux, identity, _hub: hub }) })
    }

    /// The addresses at which media is received, as peers are told.
    #[must_use]
    pub fn media_addresses(&self) -> &[SocketAddr] {
        self.shared.mux.candidates()
    }

    /// Brings an agent into a room. Returns at once; the link's first event tells the outcome.
    #[must_use]
    pub fn join(&self, request: &JoinRequest) -> RoomLink {
        let (packets_to, packets) = mpsc::channel(PACKETS_CAPACITY);
        let (events_to, events) = mpsc::channel(EVENTS_CAPACITY);
        let (playout, playout_from) = mpsc::channel(PLAYOUT_CAPACITY);
        let name = request.participant_name.clone().unwrap_or_default();
        let agent = Newcomer {
            who: Participant { id: new_participant(), name },
            packets: packets_to,
            events: events_to.clone(),
            playout: playout_from,
        };
        let outcome = RoomUrl::parse(&request.room_url).and_then(|url| {
            let RoomUrl::Hosted(name) = url;
            let join = Request::Join { name, token: request.token.clone(), agent };
            self.requests.try_send(join).map_err(|_| unreachable())
        });
        if let Err(failure) = outcome {
            // There is room: these are the first events.
            let _ = events_to.try_send(RoomEvent::Failed(failure));
        }
        RoomLink { packets, events, playout }
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
            self.answer(name, entry, who, offer).await
        };
        let outcome = tokio::time::timeout(ENTER, entering).await;
        outcome.unwrap_or_else(|_| Err(RoomFailure::Unreachable("the answer took too long".into())))
    }

    /// Takes a human's trickled candidates, or restarts ICE with their new credentials.
    pub async fn trickle(
        &self,
        room: &str,
        participant: &ParticipantId,
        fragment: &str,
    ) -> Result<TrickleAnswer, RoomFailure> {
        let fragment = Fragment::read(fragment).map_err(|error| media(&error.into()))?;
        let leg = self.leg(room, participant).await.ok_or(RoomFailure::NotFound)?;
        let (reply, answer) = oneshot::channel();
        let order = LegOrder::Trickle { fragment, reply };
        leg.send(order).await.map_err(|_| RoomFailure::NotFound)?;
        let trickled = tokio::time::timeout(ENTER, answer).await.map_err(|_| unreachable())?;
        match trickled.map_err(|_| RoomFailure::NotFound)?.map_err(|error| media(&error))? {
            Trickled::Added => Ok(TrickleAnswer::Added),
            Trickled::Restarted { fragment, ufrag } => {
                Ok(TrickleAnswer::Restarted { fragment, ice_etag: ufrag })
            }
        }
    }

    /// Puts a human out of a room; tells whether there was one.
    pub async fn hang_up(&self, room: &str, participant: &ParticipantId) -> bool {
        let Some(orders) = self.find(room).await else { return false };
        let (reply, is_there) = oneshot::channel();
        let order = Order::HangUp { id: participant.clone(), reply };
        orders.send(order).await.is_ok() && is_there.await.unwrap_or(false)
    }

    /// What may be told of a room; `None` if there is none and none would be made.
    pub async fn view(&self, room: &str) -> Option<RoomView> {
        let name = RoomName::parse(room)?;
        let (reply, view) = oneshot::channel();
        self.requests.send(Request::View { name, reply }).await.ok()?;
        view.await.ok()?
    }

    /// Who is in a room, now and as it changes. The room stays while it is watched.
    pub async fn watch(
        &self,
        room: &str,
    ) -> Result<watch::Receiver<Vec<Participant>>, RoomFailure> {
        let name = RoomName::parse(room).ok_or(RoomFailure::NotFound)?;
        let (reply, presence) = oneshot::channel();
        let asked = self.requests.send(Request::Watch { name, reply }).await;
        asked.map_err(|_| RoomFailure::NotFound)?;
        presence.await.unwrap_or(Err(RoomFailure::NotFound))
    }

    /// Makes a room that stays until removed and that needs the token given here.
    pub async fn make(&self, room: &str) -> Result<Secret, MakeRoomError> {
        let name = RoomName::parse(room).ok_or(MakeRoomError::BadName)?;
        let (reply, made) = oneshot::channel();
        let is_asked = self.requests.send(Request::Make { name, reply }).await.is_ok();
        if is_asked {
            made.await.unwrap_or(Err(MakeRoomError::Full))
        } else {
            Err(MakeRoomError::Full)
        }
    }

    /// Closes a room and puts everyone out; tells whether there was one.
    pub async fn remove(&self, room: &str) -> bool {
        let Some(name) = RoomName::parse(room) else { return false };
        let (reply, is_there) = oneshot::channel();
        self.requests.send(Request::Remove { name, reply }).await.is_ok()
            && is_there.await.unwrap_or(false)
    }

    async fn admit(&self, name: RoomName, token: Option<Secret>) -> Result<Entry, RoomFailure> {
        let (reply, admission) = oneshot::channel();
        let request = Request::Admit { name, token, reply };
        self.requests.send(request).await.map_err(|_| unreachable())?;
        admission.await.map_err(|_| unreachable())?
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
        let (leg, orders) = mpsc::channel(LEG_ORDERS_CAPACITY);
        let Entry { seat, orders: room, heard } = entry;
        let to = ToRoom { room: name, orders: room.clone(), heard };
        let task = tasks::spawn("leg", leg::run(participant.clone(), peer, ear, orders, to));
        let human = Human { who, voice, leg, task, seat };
        let closed = |_| RoomFailure::Closed("the room was closed".to_owned());
        room.send(Order::Human(human)).await.map_err(closed)?;
        Ok(RoomAnswer { participant, sdp, ice_etag: ufrag })
    }

    async fn leg(&self, room: &str, id: &ParticipantId) -> Option<mpsc::Sender<LegOrder>> {
        let orders = self.find(room).await?;
        let (reply, leg) = oneshot::channel();
        orders.send(Order::Leg { id: id.clone(), reply }).await.ok()?;
        leg.await.ok()?
    }

    async fn find(&self, room: &str) -> Option<mpsc::Sender<Order>> {
        let name = RoomName::parse(room)?;
        let (reply, orders) = oneshot::channel();
        self.requests.send(Request::Find { name, reply }).await.ok()?;
        orders.await.ok()?
    }
}

fn new_participant() -> ParticipantId {
    ParticipantId::from_entropy(entropy::bits())
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
