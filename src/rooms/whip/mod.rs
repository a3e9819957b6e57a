//! The calling side: joins a WHIP-like endpoint that talks back, as a peer of its own.
//!
//! RFC 9725 only sends; an endpoint that answers `sendrecv`, like our own rooms, also talks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::PACKETS_CAPACITY;
use super::codecs::{Codec, Format};
use super::peer::{Ear, Identity, Leg, Offering, Peer, PeerError, PeerEvent, Voice};
use super::sdp::SDP_MAX;
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
    resource: Option<Resource>,
    _ear: tasks::Task,
}

/// Calls a WHIP endpoint and waits until the call is up.
pub async fn dial(whip_url: &str, token: Option<&Secret>) -> Result<Call, RoomFailure> {
    let url = Url::parse(whip_url).map_err(|_| RoomFailure::Unsupported(whip_url.to_owned()))?;
    let caller = Caller::prepare(local_address(&url)).await?;
    let http = Http::new(token)?;
    let (answer, resource) = http.offer(url, caller.offer()).await?;
    match caller.connect(&answer).await {
        Ok(call) => Ok(Call { resource, ..call }),
        Err(failure) => {
            if let Some(resource) = resource {
                resource.delete().await;
            }
            Err(failure)
        }
    }
}

impl Caller {
    /// Makes an offer. `bind` is the local address; unspecified means all but loopback.
    pub async fn prepare(bind: IpAddr) -> Result<Self, RoomFailure> {
        Self::prepare_with(bind, &[Codec::Opus, Codec::Pcmu, Codec::Pcma]).await
    }

    /// Makes an offer of these codecs, the best one first.
    pub async fn prepare_with(bind: IpAddr, codecs: &[Codec]) -> Result<Self, RoomFailure> {
        let identity = Identity::generate().map_err(|error| media(&error.into()))?;
        let bind = vec![SocketAddr::new(bind, 0)];
        let far_end = ParticipantId::new("room");
        let formats: Vec<_> = codecs.iter().map(|codec| Format::offered(*codec, false)).collect();
        let offering = Peer::offer(&identity, far_end, bind, &formats).await;
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
        let leg = self.offering.take_answer(answer).await.map_err(|error| media(&error))?;
        let Leg { peer, mut ear, voice } = leg;
        loop {
            match ear.next().await {
                PeerEvent::Connected => break,
                PeerEvent::Packet(_) | PeerEvent::Quality(_) => {}
                PeerEvent::Lost(reason) => return Err(RoomFailure::Media(reason.to_owned())),
            }
        }
        let (packets_to, packets) = mpsc::channel(PACKETS_CAPACITY);
        let ear = tasks::spawn("call", listen(ear, packets_to));
        Ok(Call { packets, voice, peer, resource: None, _ear: ear })
    }
}

impl Call {
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
        if let Some(resource) = self.resource {
            resource.delete().await;
        }
        self.peer.close().await;
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

/// How the endpoint is spoken to.
#[derive(Clone, Debug)]
struct Http {
    client: Client,
    token: Option<Secret>,
}

/// What a call is to the endpoint; deleting it hangs up.
#[derive(Debug)]
struct Resource {
    http: Http,
    url: Url,
}

impl Http {
    fn new(token: Option<&Secret>) -> Result<Self, RoomFailure> {
        // Another part of the process may have installed one, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(REQUEST).build().map_err(|e| unreachable(&e))?;
        Ok(Self { client, token: token.cloned() })
    }

    async fn offer(
        &self,
        url: Url,
        offer: &str,
    ) -> Result<(String, Option<Resource>), RoomFailure> {
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/sdp");
        let request = self.with_token(request).body(offer.to_owned());
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let resource = location.and_then(|location| response.url().join(location).ok());
        let resource = resource.map(|url| Resource { http: self.clone(), url });
        let status = response.status();
        let body = body(response).await?;
        match status {
            StatusCode::CREATED | StatusCode::OK => Ok((body, resource)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RoomFailure::Unauthorized),
            StatusCode::NOT_FOUND => Err(RoomFailure::NotFound),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(RoomFailure::Media(format!("the endpoint refused the offer: {status}")))
            }
            _ => Err(RoomFailure::Unreachable(format!("the endpoint answered {status}"))),
        }
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {}", token.expose())),
            None => request,
        }
    }
}

impl Resource {
    async fn delete(self) {
        let request = self.http.with_token(self.http.client.delete(self.url.clone()));
        if let Err(error) = request.send().await {
            tracing::info!(%error, "the endpoint did not take our goodbye");
        }
    }
}

async fn body(mut response: Response) -> Result<String, RoomFailure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if bytes.len() + chunk.len() > SDP_MAX {
            return Err(RoomFailure::Media("the answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| RoomFailure::Media("the answer is no text".to_owned()))
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

fn unreachable(error: &reqwest::Error) -> RoomFailure {
    RoomFailure::Unreachable(error.to_string())
}

/// How long one request may take; an endpoint answers in a round trip and some work.
const REQUEST: Duration = Duration::from_secs(10);

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
