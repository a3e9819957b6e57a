//! One WebRTC leg: offer, answer, candidates, packets in and out. Nothing of the engine shows.

mod ear;
mod engine;
mod hearing;
mod interpreter;
mod nack;
mod offerer;
mod reports;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::transport::RTCDtlsRole;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};

pub(super) use self::ear::{Ear, PeerEvent};
use self::engine::{CANDIDATES_CAPACITY, Engine, Part};
pub(super) use self::engine::{Identity, Voice};
use self::offerer::Offerer;
pub(super) use self::offerer::{IceServer, News};
use super::codecs::Format;
use super::mux::{LegRuntime, Mux, Share};
use super::sdp::{self, Description, Fragment, Reach, SdpError};
use crate::ids::ParticipantId;
use crate::media::CodecError;
use crate::sys::tasks::Task;

/// Why a leg cannot be had, or cannot be changed.
#[derive(Debug, Error)]
pub(super) enum PeerError {
    #[error(transparent)]
    Sdp(#[from] SdpError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("WebRTC: {0}")]
    Engine(#[from] webrtc::error::Error),
    #[error("this leg's ICE is not restarted in this way, or without new credentials")]
    NoRestart,
}

/// The signalling side of a leg, and its owner: dropping it ends the leg without a goodbye.
#[derive(Debug)]
pub(super) struct Peer {
    connection: Connection,
    side: Side,
    _interpreter: Option<Task>,
    /// Without it the engine ends.
    _alive: watch::Sender<()>,
}

/// A leg, taken apart by who needs what.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) peer: Peer,
    pub(super) ear: Ear,
    pub(super) voice: Voice,
}

/// Our answer to an offer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The SDP, with every candidate in it.
    pub(super) sdp: String,
    /// Our ICE user name, which changes with each restart.
    pub(super) ufrag: String,
}

/// What has become of a trickled fragment.
#[derive(Clone, Debug)]
pub(super) enum Trickled {
    /// Its candidates are tried.
    Added,
    /// ICE has been restarted; the fragment tells the peer our new credentials.
    Restarted { fragment: String, ufrag: String },
}

/// A leg that has offered and waits for its answer.
#[derive(Debug)]
pub(super) struct Offering {
    engine: Engine,
    /// What the engine has made, which it wants to see unchanged.
    made: RTCSessionDescription,
    /// What is offered: the same with our addresses.
    offer: String,
    candidates: mpsc::Receiver<String>,
    participant: ParticipantId,
    alive: watch::Sender<()>,
}

impl Peer {
    /// Answers an offer on the shared port. What the peer says is heard as `participant`.
    pub(super) async fn accept(
        mux: &Mux,
        identity: &Identity,
        participant: ParticipantId,
        offer: &str,
    ) -> Result<(Leg, Answer), PeerError> {
        let offer = Description::read(offer)?;
        let share = Arc::new(mux.share());
        let (runtime, alive) = LegRuntime::new(Some(Arc::clone(&share)));
        // Waiting for the handshake saves a round trip; but a peer may insist on waiting itself.
        let role = if offer.is_dtls_server { RTCDtlsRole::Client } else { RTCDtlsRole::Server };
        let format = offer.format;
        let part = Part::Answerer { role };
        let mut engine = engine::start(identity, share.labels(), part, runtime, &[format]).await?;
        let connection = Connection(Arc::clone(&engine.connection));
        let sdp = connection.answer(&offer).await?;
        // Checks that came before our own address is known to the engine would be lost.
        engine.gathered(GATHERING).await;
        let ufrag = ufrag_of(&sdp)?;
        share.register(&ufrag, None).await;
        let answer = Answer { sdp: sdp::with_candidates(&sdp, mux.reach()), ufrag: ufrag.clone() };
        let fingerprints = offer.fingerprints.clone();
        let side = Side::Answerer { share, reach: mux.reach().clone(), offer, former: None, ufrag };
        let (voice, interpreter) = engine.voice(format)?;
        let ear = Ear::new(engine, participant, format, fingerprints)?;
        let peer = Self { connection, side, _interpreter: interpreter, _alive: alive };
        Ok((Leg { peer, ear, voice }, answer))
    }

    /// Makes an offer of these formats, the best one first, from sockets of its own, bound to
    /// `bind`. The offer has every candidate.
    pub(super) async fn offer(
        identity: &Identity,
        participant: ParticipantId,
        bind: Vec<SocketAddr>,
        formats: &[Format],
    ) -> Result<(Offering, String), PeerError> {
        let (runtime, alive) = LegRuntime::new(None);
        let (found, candidates) = mpsc::channel(CANDIDATES_CAPACITY);
        let part = Part::Offerer { candidates: found };
        let mut engine = engine::start(identity, bind, part, runtime, formats).await?;
        let connection = &engine.connection;
        let made = connection.create_offer(None).await?;
        connection.set_local_description(made.clone()).await?;
        engine.gathered(GATHERING).await;
        let offer = engine.connection.local_description().await.ok_or(SdpError::NotSdp)?.sdp;
        let offering =
            Offering { engine, made, offer: offer.clone(), candidates, participant, alive };
        Ok((offering, offer))
    }

    /// Takes more candidates of the peer, or its wish to restart ICE.
    pub(super) async fn trickle(&mut self, fragment: &Fragment) -> Result<Trickled, PeerError> {
        if let (Side::Answerer { offer, former, .. }, Some(ufrag)) = (&self.side, &fragment.ufrag) {
            // Candidates of before a restart, overtaken by it, are of no use.
            if former.as_ref() == Some(ufrag) {
                return Ok(Trickled::Added);
            }
            if *ufrag != offer.ufrag {
                return self.restart(fragment).await;
            }
        }
        for candidate in &fragment.candidates {
            let candidate = RTCIceCandidateInit {
                candidate: candidate.clone(),
                ..RTCIceCandidateInit::default()
            };
            self.connection.0.add_ice_candidate(candidate).await?;
        }
        Ok(Trickled::Added)
    }

    /// Whether this is our ICE user name as it stands: the name of the ICE session.
    pub(super) fn is_known_as(&self, name: &str) -> bool {
        matches!(&self.side, Side::Answerer { ufrag, .. } if ufrag == name)
    }

    /// Says goodbye and ends the leg.
    pub(super) async fn close(self) {
        match tokio::time::timeout(GOODBYE, self.connection.0.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a leg did not close cleanly"),
            Err(_) => tracing::debug!("a leg did not close in time"),
        }
    }

    /// The peer offers again with new credentials, and we answer with new ones of ours
    /// (RFC 9725, section 4.3.3).
    async fn restart(&mut self, fragment: &Fragment) -> Result<Trickled, PeerError> {
        let Side::Answerer { share, reach, offer, former, ufrag } = &mut self.side else {
            return Err(PeerError::NoRestart);
        };
        let again = offer.restarted(fragment).ok_or(PeerError::NoRestart)?;
        let sdp = self.connection.answer(&again).await?;
        let new_ufrag = ufrag_of(&sdp)?;
        share.register(&new_ufrag, Some(ufrag)).await;
        *former = Some(std::mem::replace(offer, again).ufrag);
        ufrag.clone_from(&new_ufrag);
        let fragment = sdp::restart_fragment(&sdp, reach);
        Ok(Trickled::Restarted { fragment, ufrag: new_ufrag })
    }
}

impl Offering {
    /// Takes the peer's answer; from here on the leg comes up by itself.
    pub(super) async fn take_answer(self, answer: &str) -> Result<Leg, PeerError> {
        let Self { engine, offer, candidates, participant, alive, .. } = self;
        let answer = Description::read_answer(answer)?;
        let format = answer.format;
        if format.codec != engine.codec {
            engine.settle(format.codec).await?;
        }
        let description = RTCSessionDescription::answer(answer.sdp.clone())?;
        engine.connection.set_remote_description(description).await?;
        let connection = Connection(Arc::clone(&engine.connection));
        let (voice, interpreter) = engine.voice(format)?;
        let fingerprints = answer.fingerprints.clone();
        let side = Side::Offerer(Offerer::new(&engine, offer, candidates, answer));
        let ear = Ear::new(engine, participant, format, fingerprints)?;
        let peer = Peer { connection, side, _interpreter: interpreter, _alive: alive };
        Ok(Leg { peer, ear, voice })
    }
}

/// Which part we play in the leg's signalling.
#[derive(Debug)]
enum Side {
    Answerer {
        share: Arc<Share>,
        reach: Reach,
        /// The peer's offer as it stands, and its ICE user name of before the last restart.
        offer: Description,
        former: Option<String>,
        /// Our own ICE user name.
        ufrag: String,
    },
    Offerer(Offerer),
}

/// The engine's handle, with the one exchange that is used twice.
#[derive(Clone)]
struct Connection(Arc<dyn PeerConnection>);

impl Connection {
    async fn answer(&self, offer: &Description) -> Result<String, PeerError> {
        let offer = RTCSessionDescription::offer(offer.sdp.clone())?;
        self.0.set_remote_description(offer).await?;
        let answer = self.0.create_answer(None).await?;
        self.0.set_local_description(answer.clone()).await?;
        Ok(answer.sdp)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

fn ufrag_of(sdp: &str) -> Result<String, SdpError> {
    sdp::attribute(sdp, "ice-ufrag").map(str::to_owned).ok_or(SdpError::NoIce)
}

/// How long the engine may take to list its own addresses; it asks nobody.
const GATHERING: Duration = Duration::from_secs(1);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use bytes::Bytes;
    use webrtc::peer_connection::RTCSessionDescription as Sdp;

    use super::super::codecs::Codec;
    use super::*;
    use crate::media::OpusPacket;
    use crate::meter::Meter;

    #[tokio::test]
    async fn a_call_goes_on_through_an_ice_restart() {
        let mut pair = Pair::connect().await;
        pair.is_heard(b"before").await;

        let before = pair.engine.local_description().await.unwrap().sdp;
        let callers_ufrag = ufrag_of(&before).unwrap();
        let offer = pair.restart().await;
        let fragment = Fragment::read(&offer).unwrap();
        let trickled = pair.answerer.peer.trickle(&fragment).await.unwrap();
        let Trickled::Restarted { fragment, ufrag } = trickled else { panic!("a restart") };
        assert_ne!(ufrag, pair.answer.ufrag);

        let ours = Description::read(&pair.answer.sdp).unwrap();
        let again = ours.restarted(&Fragment::read(&fragment).unwrap()).unwrap();
        pair.engine.set_remote_description(Sdp::answer(again.sdp).unwrap()).await.unwrap();
        pair.is_heard(b"after").await;

        let late = Fragment { ufrag: Some(callers_ufrag), ..Fragment::default() };
        let trickled = pair.answerer.peer.trickle(&late).await.unwrap();
        assert!(matches!(trickled, Trickled::Added), "it restarts nothing");
    }

    #[tokio::test]
    async fn the_offering_side_restarts_from_new_sockets() {
        let mut pair = Pair::connect().await;
        pair.is_heard(b"before").await;
        let before = pair.engine.local_description().await.unwrap().sdp;
        let ours = pair.caller.peer.restart_ice().await.unwrap();
        let ours = Fragment::read(&ours).unwrap();
        assert!(ours.pwd.is_some() && !ours.candidates.is_empty(), "{ours:?}");
        for candidate in &ours.candidates {
            assert!(!before.contains(candidate), "{candidate}");
        }

        let trickled = pair.answerer.peer.trickle(&ours).await.unwrap();
        let Trickled::Restarted { fragment, .. } = trickled else { panic!("a restart") };
        pair.caller.peer.take_restart(&Fragment::read(&fragment).unwrap()).await.unwrap();
        pair.is_heard(b"after").await;
    }

    #[tokio::test]
    async fn who_closes_a_leg_is_known_to_have_parted() {
        let Pair { answerer, mut caller, .. } = Pair::connect().await;
        answerer.peer.close().await;
        let lost = async {
            loop {
                if let PeerEvent::Lost(reason) = caller.ear.next().await {
                    return reason;
                }
            }
        };
        let reason = tokio::time::timeout(Duration::from_secs(10), lost).await.unwrap();
        assert_eq!((reason, caller.ear.has_parted()), ("it hung up", true));
    }

    #[tokio::test]
    async fn a_fragment_with_the_same_credentials_restarts_nothing() {
        let mut pair = Pair::connect().await;
        let offer = pair.engine.local_description().await.unwrap().sdp;
        let fragment = Fragment::read(&offer).unwrap();
        let trickled = pair.answerer.peer.trickle(&fragment).await.unwrap();
        assert!(matches!(trickled, Trickled::Added));
    }

    #[tokio::test]
    async fn what_red_brings_again_is_heard_as_what_was_lost() {
        let mut pair = Pair::connect_in(&[Format::offered(Codec::Opus, true)]).await;
        assert!(pair.answer.sdp.contains("SAVPF 63 111\r\n"), "{}", pair.answer.sdp);
        assert!(pair.answer.sdp.contains("a=fmtp:63 111/111\r\n"), "{}", pair.answer.sdp);
        pair.is_heard(b"plain").await;

        let first = pair.sequence;
        let red = pair.caller.voice.speaking(63);
        // One old packet of three bytes, 960 ticks before, and one of its own.
        let payload = Bytes::from_static(&[0x80 + 111, 0x0F, 0, 3, 111, b'o', b'l', b'd', b'n']);
        for sequence in [first + 2, first + 4] {
            red.send(&OpusPacket { payload: payload.clone(), ..packet(sequence) });
        }
        let mut heard = Vec::new();
        while heard.last() != Some(&(first + 4, Bytes::from_static(b"n"))) {
            let packet = pair.hears().await;
            if packet.sequence > first {
                assert_eq!(packet.timestamp, u32::from(packet.sequence) * 960);
                heard.push((packet.sequence, packet.payload));
            }
        }
        let sequences: Vec<_> = heard.iter().map(|(sequence, _)| sequence - first).collect();
        assert_eq!(sequences, [1, 2, 3, 4]);
        assert_eq!(heard[0].1, "old");
    }

    #[tokio::test]
    async fn a_packet_has_come_when_a_socket_of_its_leg_had_it() {
        let mut pair = Pair::connect().await;
        // On the shared port, and in the other direction at a socket of the leg's own.
        for _ in 0..2 {
            let heard = pair.says_until_heard(111, 1, &Bytes::from_static(b"words")).await;
            assert_eq!(pair.answerer.ear.arrivals.of(heard.sequence), Some(heard.at));
            std::mem::swap(&mut pair.answerer, &mut pair.caller);
        }
    }

    #[tokio::test]
    async fn a_telephone_is_heard_in_packets_of_any_length() {
        let mut pair = Pair::connect_in(&[Format::offered(Codec::Pcma, false)]).await;
        assert!(pair.answer.sdp.contains("SAVPF 8\r\n"), "{}", pair.answer.sdp);
        for (number, ms) in (1_u16..).zip([10, 20, 30, 40, 60_usize]) {
            let payload = Bytes::from(vec![0xC5; ms * 8]);
            let heard = pair.says_until_heard(8, 100 * number, &payload).await;
            assert_eq!(heard.timestamp, u32::from(heard.sequence) * 960 * 6, "house time");
            let samples = crate::media::Decoder::new().unwrap().decode(&heard.payload).unwrap();
            assert_eq!(samples, ms * 24, "{ms} ms");
        }
    }

    /// An answering leg of ours, and a caller whose engine the test may reach.
    struct Pair {
        answerer: Leg,
        answer: Answer,
        caller: Leg,
        engine: Arc<dyn PeerConnection>,
        sequence: u16,
    }

    impl Pair {
        async fn connect() -> Self {
            Self::connect_in(&[Format::offered(Codec::Opus, false)]).await
        }

        async fn connect_in(formats: &[Format]) -> Self {
            let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            let mux = Mux::bind(&[loopback], None, None, &Meter::new()).unwrap();
            let identity = Identity::generate().unwrap();
            let id = ParticipantId::new;
            let (offering, offer) =
                Peer::offer(&identity, id("room"), vec![loopback], formats).await.unwrap();
            let (mut answerer, answer) =
                Peer::accept(&mux, &identity, id("ann"), &offer).await.unwrap();
            let engine = Arc::clone(&offering.engine.connection);
            let mut caller = offering.take_answer(&answer.sdp).await.unwrap();
            assert_eq!(answerer.ear.next().await, PeerEvent::Connected);
            assert_eq!(caller.ear.next().await, PeerEvent::Connected);
            Self { answerer, answer, caller, engine, sequence: 0 }
        }

        /// Makes the caller offer again, with new credentials.
        async fn restart(&self) -> String {
            let options =
                rtc::peer_connection::configuration::RTCOfferOptions { ice_restart: true };
            let offer = self.engine.create_offer(Some(options)).await.unwrap();
            self.engine.set_local_description(offer.clone()).await.unwrap();
            offer.sdp
        }

        async fn hears(&mut self) -> OpusPacket {
            let hears = async {
                loop {
                    match self.answerer.ear.next().await {
                        PeerEvent::Packet(packet) => return packet,
                        PeerEvent::Lost(reason) => panic!("the leg is lost: {reason}"),
                        PeerEvent::Connected | PeerEvent::Quality(_) => {}
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(10), hears).await.expect("it is heard")
        }

        /// Says the same as it is, from this number on, until some of it is heard.
        async fn says_until_heard(&mut self, kind: u8, from: u16, payload: &Bytes) -> OpusPacket {
            let voice = self.caller.voice.speaking(kind);
            for sequence in from..from + 100 {
                voice.send(&OpusPacket { payload: payload.clone(), ..packet(sequence) });
                let pause = Duration::from_millis(20);
                if let Ok(heard) = tokio::time::timeout(pause, self.hears()).await
                    && heard.sequence >= from
                {
                    return heard;
                }
            }
            panic!("nothing was heard");
        }

        /// Says something until it is heard on the other side.
        async fn is_heard(&mut self, words: &'static [u8]) {
            for _ in 0..500 {
                self.sequence += 1;
                let payload = Bytes::from_static(words);
                self.caller.voice.send(&OpusPacket { payload, ..packet(self.sequence) });
                let pause = Duration::from_millis(20);
                match tokio::time::timeout(pause, self.answerer.ear.next()).await {
                    Ok(PeerEvent::Packet(packet)) if packet.payload == words => return,
                    Ok(PeerEvent::Lost(reason)) => panic!("the leg is lost: {reason}"),
                    _ => {}
                }
            }
            panic!("nothing was heard");
        }
    }

    fn packet(sequence: u16) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new("me"),
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: false,
            payload: Bytes::new(),
            at: crate::sys::clock::now(),
        }
    }
}
