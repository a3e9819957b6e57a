//! The calling side: joins a WHIP-like endpoint that talks back, as a peer of its own.
//!
//! RFC 9725 only sends; an endpoint that answers `sendrecv`, like our own rooms, also talks.

mod http;
mod links;
mod visit;

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::http::{Endpoint, Session, Welcome};
pub(in crate::rooms) use self::visit::Visit;
use super::PACKETS_CAPACITY;
use super::codecs::{Codec, Format};
use super::peer::{Ear, Identity, Leg, News, Offering, Peer, PeerError, PeerEvent, Voice};
use crate::agent::RoomFailure;
use crate::ids::ParticipantId;
use crate::media::OpusPacket;
use crate::privacy::Secret;
use crate::sys::tasks;

/// A caller that has an offer and no answer yet. Its sockets are its own.
#[derive(Debug)]
pub struct Caller {
    offering: Offering,
    offer: String,
}

/// A call that is up. Dropping it falls silent without a goodbye; [`Call::hang_up`] says one.
#[derive(Debug)]
pub struct Call {
    /// What the other side says; closed when the call is lost.
    ///
    /// When full (one second): the newest packet is dropped.
    pub packets: mpsc::Receiver<OpusPacket>,
    voice: Voice,
    peer: Peer,
    session: Option<Session>,
    _ear: tasks::Task,
}

/// Calls a WHIP endpoint and waits until the call is up.
pub async fn dial(whip_url: &str, token: Option<&Secret>) -> Result<Call, RoomFailure> {
    let url = Url::parse(whip_url).map_err(|_| RoomFailure::Unsupported(whip_url.to_owned()))?;
    let caller = Caller::prepare(local_address(&url)).await?;
    let endpoint = Endpoint::open(url, token.cloned()).await?;
    let (leg, session) = enter(&endpoint, caller, pending()).await?;
    Ok(Call::of(leg, session))
}

impl Caller {
    /// Makes an offer. `bind` is the local address; unspecified means all but loopback.
    pub async fn prepare(bind: IpAddr) -> Result<Self, RoomFailure> {
        Self::prepare_with(bind, &CODECS).await
    }

    /// Makes an offer of these codecs, the best one first.
    pub async fn prepare_with(bind: IpAddr, codecs: &[Codec]) -> Result<Self, RoomFailure> {
        let identity = Identity::generate().map_err(|error| media(&error.into()))?;
        Self::prepare_as(&identity, bind, codecs).await
    }

    async fn prepare_as(
        identity: &Identity,
        bind: IpAddr,
        codecs: &[Codec],
    ) -> Result<Self, RoomFailure> {
        let bind = vec![SocketAddr::new(bind, 0)];
        let far_end = ParticipantId::new("room");
        let formats: Vec<_> = codecs.iter().map(|codec| Format::offered(*codec, false)).collect();
        let offering = Peer::offer(identity, far_end, bind, &formats).await;
        let (offering, offer) = offering.map_err(|error| media(&error))?;
        Ok(Self { offering, offer })
    }

    /// The SDP offer, with every candidate in it.
    #[must_use]
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the answer and waits until the call is up.
    pub async fn connect(self, answer: &str) -> Result<Call, RoomFailure> {
        Ok(Call::of(self.raise(answer, None).await?, None))
    }

    /// Takes the answer and waits until the leg is up; addresses found meanwhile are trickled.
    async fn raise(self, answer: &str, session: Option<&Session>) -> Result<Leg, RoomFailure> {
        let mut leg = self.offering.take_answer(answer).await.map_err(|error| media(&error))?;
        let Leg { peer, ear, .. } = &mut leg;
        let connected = async {
            loop {
                match ear.next().await {
                    PeerEvent::Connected => return Ok(()),
                    PeerEvent::Packet(_) | PeerEvent::Quality(_) => {}
                    PeerEvent::Lost(reason) => return Err(RoomFailure::Media(reason.to_owned())),
                }
            }
        };
        tokio::select! {
            connected = connected => connected?,
            () = trickle(peer, session) => {}
        }
        Ok(leg)
    }
}

impl Call {
    fn of(leg: Leg, session: Option<Session>) -> Self {
        let Leg { peer, ear, voice } = leg;
        let (packets_to, packets) = mpsc::channel(PACKETS_CAPACITY);
        let ear = tasks::spawn("call", listen(ear, packets_to));
        Self { packets, voice, peer, session, _ear: ear }
    }

    /// Says something; tells whether it was taken. The packet's participant does not matter.
    pub fn send(&self, packet: &OpusPacket) -> bool {
        self.voice.send(packet)
    }

    /// Tells the room that nothing more will be said; without a further word the room takes the
    /// call as over.
    pub async fn say_goodbye(&self) {
        self.voice.say_goodbye().await;
    }

    /// Leaves with a goodbye.
    pub async fn hang_up(self) {
        if let Some(session) = self.session {
            session.delete().await;
        }
        self.peer.close().await;
    }
}

/// Brings a caller in behind an endpoint, unless it is `given_up` first.
async fn enter(
    endpoint: &Endpoint,
    caller: Caller,
    given_up: impl Future<Output = ()>,
) -> Result<(Leg, Option<Session>), RoomFailure> {
    let offer = caller.offer().to_owned();
    let offered = endpoint.offer(&offer);
    tokio::pin!(given_up, offered);
    let Welcome { answer, session, servers } = tokio::select! {
        welcome = &mut offered => welcome?,
        () = &mut given_up => {
            // An answer that is on its way would leave us standing in the room.
            if let Ok(Ok(Welcome { session: Some(session), .. })) = timeout(LAST, offered).await {
                session.delete().await;
            }
            return Err(RoomFailure::Unreachable(LATE.to_owned()));
        }
    };
    let raised = async {
        let servers = links::resolve(servers).await;
        if !servers.is_empty() {
            caller.offering.ask(&servers).await.map_err(|error| media(&error))?;
        }
        caller.raise(&answer, session.as_ref()).await
    };
    let raised = tokio::select! {
        raised = raised => raised,
        () = &mut given_up => Err(RoomFailure::Media(NO_WAY.to_owned())),
    };
    match (raised, session) {
        (Ok(leg), session) => Ok((leg, session)),
        (Err(failure), session) => {
            if let Some(session) = session {
                session.delete().await;
            }
            Err(failure)
        }
    }
}

/// Tells the endpoint addresses of ours as they are found. Never ends.
async fn trickle(peer: &mut Peer, session: Option<&Session>) {
    loop {
        if let (News::Trickle(fragment), Some(session)) = (peer.news().await, session) {
            tell(session, &fragment).await;
        }
    }
}

async fn tell(session: &Session, fragment: &str) {
    if session.is_changeable()
        && let Err(failure) = session.trickle(fragment).await
    {
        tracing::debug!(%failure, "the endpoint does not take an address of ours");
    }
}

async fn listen(mut ear: Ear, packets: mpsc::Sender<OpusPacket>) {
    loop {
        match ear.next().await {
            PeerEvent::Packet(packet) => {
                // A slow listener loses sound, and nothing else.
                let _ = packets.try_send(packet);
            }
            PeerEvent::Connected | PeerEvent::Quality(_) => {}
            PeerEvent::Lost(reason) => {
                tracing::info!(reason, "the call is lost");
                return;
            }
        }
    }
}

/// From where an endpoint can be reached: loopback only if it is there itself.
fn local_address(url: &Url) -> IpAddr {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => ip,
        Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
        Ok(IpAddr::V4(_)) | Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn media(error: &PeerError) -> RoomFailure {
    RoomFailure::Media(error.to_string())
}

/// How long an answer is waited for that is of use to nobody any more but to say goodbye.
const LAST: Duration = Duration::from_secs(1);

const LATE: &str = "it did not answer in time";
const NO_WAY: &str = "no way for sound was found in time";

/// What is offered, the best first.
const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_used_only_to_reach_loopback() {
        let from = |url: &str| local_address(&Url::parse(url).unwrap());
        assert_eq!(from("http://127.0.0.1:8080/x"), Ipv4Addr::LOCALHOST);
        assert_eq!(from("http://localhost/x"), Ipv4Addr::LOCALHOST);
        assert_eq!(from("http://[::1]:80/x"), Ipv6Addr::LOCALHOST);
        assert_eq!(from("https://call.example/x"), Ipv4Addr::UNSPECIFIED);
        assert_eq!(from("https://192.0.2.1/x"), Ipv4Addr::UNSPECIFIED);
    }
}
