//! An agent's stay in an AudioBridge room: in, talking, lost and in again, out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::JanusAddress;
use super::company::Company;
use super::session::{AskError, Backoff, News, Session};
use super::wire::{Bridge, Entry, Id, Message, Request, Word};
use crate::agent::{RoomEvent, RoomFailure};
use crate::ids::ParticipantId;
use crate::privacy::Secret;
use crate::rooms::FarEnd;
use crate::rooms::codecs::{Codec, Format};
use crate::rooms::elsewhere::{Elsewhere, Parted, Stay};
use crate::rooms::peer::{Identity, Leg, Offering, Peer, PeerError, PeerEvent};
use crate::rooms::sdp::Fragment;

/// An agent's stay in such a room.
#[derive(Debug)]
pub(in crate::rooms) struct Visit {
    pub(in crate::rooms) address: JanusAddress,
    pub(in crate::rooms) token: Option<Secret>,
    pub(in crate::rooms) far: FarEnd,
    pub(in crate::rooms) tools: Elsewhere,
}

impl Visit {
    pub(in crate::rooms) async fn run(self) {
        let Self { address, token, far, tools } = self;
        let mut stay = Stay::new(far, tools.meter);
        let mut guest = Guest {
            identity: tools.identity,
            name: stay.me().name.clone(),
            // All of a room is one sound, and has one name.
            mix: ParticipantId::new("room"),
            address,
            token,
            session: None,
            seat: None,
            company: Company::default(),
            untold: Vec::new(),
            made: None,
        };
        let out = guest.stay(&mut stay).await;
        if let Err(failure) = out {
            stay.fail(failure);
        }
        if timeout(GOODBYE, guest.say_goodbye()).await.is_err() {
            tracing::debug!("Janus did not take our goodbye in time");
        }
    }
}

/// An agent in a room, or on its way into it.
struct Guest {
    address: JanusAddress,
    token: Option<Secret>,
    identity: Identity,
    name: String,
    mix: ParticipantId,
    session: Option<Session>,
    seat: Option<Seat>,
    company: Company,
    /// Changes in the company that the agent does not know of.
    untold: Vec<RoomEvent>,
    /// The room, if it is of our making.
    made: Option<Id>,
}

/// A place in the room.
struct Seat {
    handle: u64,
    room: Id,
    leg: Leg,
}

/// Why a talk is over.
enum End {
    /// The agent has left.
    Left,
    /// The room does not want us any more, or is no more.
    Out(RoomFailure),
    /// The leg is lost, and perhaps the session too.
    Lost(String),
}

impl Guest {
    /// Everything until the goodbye. Fails if the agent is out against its will.
    async fn stay(&mut self, stay: &mut Stay) -> Result<(), RoomFailure> {
        tokio::select! {
            seated = self.come_in() => seated?,
            () = stay.left() => return Ok(()),
        }
        loop {
            if !self.tell(stay) {
                return Ok(());
            }
            match self.talk(stay).await {
                End::Left => return Ok(()),
                End::Out(failure) => return Err(failure),
                End::Lost(reason) => tracing::info!(reason, "the way to a room of Janus is lost"),
            }
            tokio::select! {
                again = timeout(RECOVERY, self.come_back()) => match again {
                    Ok(again) => again?,
                    Err(_) => return Err(lost()),
                },
                () = stay.left() => return Ok(()),
            }
        }
    }

    /// Tells the agent what it does not know. `false` if the stay must end.
    fn tell(&mut self, stay: &mut Stay) -> bool {
        let is_in = stay.is_in();
        if !stay.enter(self.company.present()) {
            return false;
        }
        // Whom it has found there, it knows.
        let is_news = |event: &RoomEvent| is_in || matches!(event, RoomEvent::Speaking { .. });
        self.untold.drain(..).filter(is_news).all(|event| stay.tell(event))
    }

    /// Into the room, until we can be heard.
    async fn come_in(&mut self) -> Result<(), RoomFailure> {
        let (handle, room) = match timeout(SIGNALLING, self.enter()).await {
            Ok(entered) => entered?,
            Err(_) => return Err(unreachable("Janus takes too long")),
        };
        match timeout(CONNECTING, self.connect(handle, room)).await {
            Ok(connected) => connected,
            Err(_) => Err(RoomFailure::Media("it did not connect in time".to_owned())),
        }
    }

    /// Into the room again, by a leg of a new handle; in a new session, if need be. The old leg
    /// goes only with its own: nothing of it would fit.
    async fn come_back(&mut self) -> Result<(), RoomFailure> {
        let mut pause = Backoff::default();
        if let Some(Seat { handle, leg, .. }) = self.seat.take() {
            // A handle that is gone needs no goodbye.
            let _ = self.ask(Request::detach(handle)).await;
            leg.peer.close().await;
        }
        loop {
            match self.come_in().await {
                Err(failure @ (RoomFailure::Unreachable(_) | RoomFailure::Media(_))) => {
                    tracing::info!(%failure, "no way back into a room of Janus yet");
                    self.seat = None;
                    self.end_session().await;
                }
                outcome => return outcome,
            }
            pause.wait().await;
        }
    }

    /// Session, handle, room: all but sound.
    async fn enter(&mut self) -> Result<(u64, Id), RoomFailure> {
        if self.session.is_none() {
            self.session = Some(Session::open(&self.address).await?);
        }
        let attached = self.ask(Request::attach()).await.map_err(AskError::failure)?;
        let handle = attached.made().ok_or_else(|| unreachable("Janus gives no handle"))?;
        let mut spellings = Id::spellings(&self.address.room).into_iter().peekable();
        while let Some(room) = spellings.next() {
            match self.join(handle, &room).await {
                Ok(()) => return Ok((handle, room)),
                Err(error) if error.is_misspelt() && spellings.peek().is_some() => {}
                Err(error) if error.is_misspelt() => return Err(RoomFailure::NotFound),
                Err(error) => return Err(error.failure()),
            }
        }
        Err(RoomFailure::NotFound)
    }

    /// Into the room, which is made first if it is to be.
    async fn join(&mut self, handle: u64, room: &Id) -> Result<(), AskError> {
        let pin = self.address.pin.as_ref().or(self.token.as_ref());
        let (display, token) = (self.name.as_str(), self.token.as_ref());
        let join = Request::join(handle, &Entry { room, display, pin, token });
        if self.address.makes_room {
            let secret = self.address.secret.as_ref();
            let make = Request::make_room(handle, room, pin, secret);
            match self.ask(make).await {
                Ok(_) => self.made = Some(room.clone()),
                Err(error) if error.is_made() => {}
                Err(error) => return Err(error),
            }
        }
        let joined = self.ask(join).await?;
        if let Word::Bridge(Bridge::In { me, people }, _) = joined.word {
            self.untold.extend(self.company.enter(me, &people));
        }
        Ok(())
    }

    /// Offers, takes the answer and waits until the leg is up.
    async fn connect(&mut self, handle: u64, room: Id) -> Result<(), RoomFailure> {
        // Janus never has a loopback address, wherever its WebSocket is.
        let bind = vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)];
        let formats = [Format::offered(Codec::Opus, false)];
        let (offering, offer) = Peer::offer(&self.identity, self.mix.clone(), bind, &formats)
            .await
            .map_err(|error| media(&error))?;
        let answer = self.ask(Request::offer(handle, &offer)).await.map_err(AskError::failure)?;
        let Word::Bridge(_, Some(sdp)) = answer.word else {
            return Err(RoomFailure::Media("Janus does not answer our offer".to_owned()));
        };
        let leg = Offering::take_answer(offering, &sdp).await.map_err(|error| media(&error))?;
        self.seat = Some(Seat { handle, room, leg });
        self.come_up().await
    }

    async fn come_up(&mut self) -> Result<(), RoomFailure> {
        loop {
            let (Some(seat), Some(session)) = (&mut self.seat, &mut self.session) else {
                return Err(lost());
            };
            let news = tokio::select! {
                event = seat.leg.ear.next() => match event {
                    PeerEvent::Connected => return Ok(()),
                    PeerEvent::Lost(reason) => return Err(RoomFailure::Media(reason.to_owned())),
                    PeerEvent::Packet(_) | PeerEvent::Quality(_) => continue,
                },
                news = session.next() => news,
            };
            match self.take(news).await {
                None => {}
                Some(End::Out(failure)) => return Err(failure),
                Some(End::Lost(reason)) => return Err(RoomFailure::Media(reason)),
                Some(End::Left) => return Err(lost()),
            }
        }
    }

    /// Sound both ways, until something ends it.
    async fn talk(&mut self, stay: &mut Stay) -> End {
        loop {
            let (Some(seat), Some(session)) = (&mut self.seat, &mut self.session) else {
                return End::Lost("there is no session".to_owned());
            };
            let Leg { ear, voice, .. } = &mut seat.leg;
            let news = tokio::select! {
                parted = stay.carry(ear, voice, &self.mix) => match parted {
                    Parted::Left => return End::Left,
                    Parted::Lost(reason) => return End::Lost(reason.to_owned()),
                },
                news = session.next() => news,
            };
            if let Some(end) = self.take(news).await {
                return end;
            }
            if !self.tell(stay) {
                return End::Left;
            }
        }
    }

    /// Takes note of what the session reports.
    async fn take(&mut self, news: News) -> Option<End> {
        match news {
            News::Said(message) => self.hear(message).await,
            News::Reclaimed => {
                self.look_round().await;
                None
            }
            News::Forgotten => {
                self.session = None;
                Some(End::Lost("Janus has forgotten the session".to_owned()))
            }
            News::Unreachable(reason) => {
                self.session = None;
                Some(End::Out(RoomFailure::Unreachable(reason)))
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Option<End> {
        let seat = self.seat.as_mut().filter(|seat| message.handle == Some(seat.handle))?;
        match message.word {
            Word::Candidate(candidate) => {
                let fragment = Fragment::read(&format!("a={candidate}\r\n")).unwrap_or_default();
                if let Err(error) = seat.leg.peer.trickle(&fragment).await {
                    tracing::debug!(%error, "a candidate of Janus's is of no use");
                }
            }
            Word::HungUp(reason) => return Some(End::Lost(format!("Janus hung up: {reason}"))),
            Word::Bridge(Bridge::Destroyed, _) => {
                self.made = None;
                return Some(End::Out(RoomFailure::Closed("the room was destroyed".to_owned())));
            }
            Word::Bridge(Bridge::Kicked(id), _) if self.company.is_us(&id) => {
                return Some(End::Out(RoomFailure::Closed("kicked".to_owned())));
            }
            Word::Bridge(news, _) => self.untold.extend(self.company.hear(&news)),
            Word::Ack | Word::Success(_) | Word::Refused(_) | Word::TimedOut | Word::Other => {}
        }
        None
    }

    /// Who has come and gone while nobody could tell us.
    async fn look_round(&mut self) {
        let Some(Seat { handle, room, .. }) = &self.seat else { return };
        let list = Request::list(*handle, room);
        match self.ask(list).await {
            Ok(Message { word: Word::Bridge(all, _), .. }) => {
                self.untold.extend(self.company.hear(&all));
            }
            Ok(_) => {}
            Err(error) => tracing::info!(%error, "Janus does not tell who is in the room"),
        }
    }

    /// Whatever is left in it ends with it.
    async fn end_session(&mut self) {
        if timeout(END_SESSION, self.ask(Request::destroy())).await.is_err() {
            tracing::debug!("Janus does not end a session");
        }
        self.session = None;
    }

    async fn ask(&mut self, request: Request) -> Result<Message, AskError> {
        match &self.session {
            Some(session) => session.ask(request).await,
            None => Err(AskError::Cut),
        }
    }

    async fn say_goodbye(mut self) {
        let mut goodbyes = Vec::new();
        if let Some(Seat { handle, .. }) = self.seat {
            let secret = self.address.secret.as_ref();
            let destroy = |room: &Id| Request::destroy_room(handle, room, secret);
            goodbyes.push(Request::leave(handle));
            goodbyes.extend(self.made.as_ref().map(destroy));
        }
        // The handle goes with its session.
        goodbyes.push(Request::destroy());
        for goodbye in goodbyes {
            if let Err(error) = self.ask(goodbye).await {
                tracing::debug!(%error, "Janus does not take a goodbye");
            }
        }
        if let Some(seat) = self.seat {
            seat.leg.peer.close().await;
        }
    }
}

fn unreachable(reason: &str) -> RoomFailure {
    RoomFailure::Unreachable(reason.to_owned())
}

fn lost() -> RoomFailure {
    unreachable("the connection to the room was lost")
}

fn media(error: &PeerError) -> RoomFailure {
    RoomFailure::Media(error.to_string())
}

/// How long it may take to be let in.
const SIGNALLING: Duration = Duration::from_secs(8);

/// How long it may take from there until we can be heard; with the former, less than the agent's
/// own patience.
const CONNECTING: Duration = Duration::from_secs(7);

/// How long the way back may take.
const RECOVERY: Duration = Duration::from_secs(20);

/// How long the end of a session that is of no use may take.
const END_SESSION: Duration = Duration::from_secs(1);

/// How long all goodbyes together may take.
const GOODBYE: Duration = Duration::from_millis(2500);
