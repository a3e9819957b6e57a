//! How the WebRTC engine is set up, and how its callbacks become values.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rtc::crypto::{SignatureScheme, default_provider};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackResponderBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::configuration::interceptor_registry::configure_rtcp_reports;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU,
};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::{mpsc, watch};
use webrtc::error::Error;
use webrtc::media_stream::track_local::TrackLocal as _;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCCertificate,
    RTCConfigurationBuilder, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, Registry, SettingEngine, SettingEngineBuilder,
};

use super::super::codecs::{Codec, Format, RED_RTPMAP};
use super::super::mux::{Arrivals, LegRuntime};
use super::interpreter::{self, TO_INTERPRET_CAPACITY};
use super::nack::{Asker, KEPT_PACKETS};
use super::reports::{self, REPORTS_CAPACITY, Report, Reports};
use crate::media::{CodecError, OpusPacket, TelephoneOut};
use crate::sys::entropy;
use crate::sys::tasks::{self, Task};

/// Tracks of one peer that may wait to be heard: a call has one.
///
/// When full: the track is not heard.
const TRACKS_CAPACITY: usize = 2;

/// Addresses of ours that may wait to be told to the peer: those of a machine with many, and what
/// servers make of them.
///
/// When full: the address is not told; what the peer has must do.
pub(super) const CANDIDATES_CAPACITY: usize = 32;

/// Which part an engine plays in the signalling of its leg.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// It offers, and tells each address of ours as it finds it. A restart of ICE also takes new
    /// sockets, so that a machine that has moved to another network can be reached there.
    Offerer { candidates: mpsc::Sender<String> },
    /// It answers, in this role of the handshake, from sockets that stay as they are.
    Answerer { role: RTCDtlsRole },
}

/// The certificate by which all our legs are known. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::rooms) struct Identity(RTCCertificate);

impl Identity {
    /// Makes a new certificate; one for the whole process saves each call the work.
    pub(in crate::rooms) fn generate() -> Result<Self, Error> {
        let provider = default_provider().map_err(|error| Error::Crypto(error.to_string()))?;
        let name = CertificateParams::new(vec!["callbridge".to_owned()])
            .map_err(|error| Error::Crypto(error.to_string()))?;
        let scheme = SignatureScheme::EcdsaP256Sha256;
        RTCCertificate::generate(provider.crypto(), scheme, name).map(Self)
    }
}

/// An engine for one leg, and what it reports.
pub(super) struct Engine {
    pub(super) connection: Arc<dyn PeerConnection>,
    pub(super) state: watch::Receiver<RTCPeerConnectionState>,
    pub(super) tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    /// What both ends say of the line, and the peer's goodbyes.
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) is_gathered: watch::Receiver<bool>,
    pub(super) arrivals: Arc<Arrivals>,
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    /// What the engine believes our track to be of.
    pub(super) codec: Codec,
}

impl Engine {
    /// Waits until the engine knows its own addresses, or for so long.
    pub(super) async fn gathered(&mut self, limit: Duration) {
        let gathered = self.is_gathered.wait_for(|is_gathered| *is_gathered);
        if tokio::time::timeout(limit, gathered).await.is_err() {
            tracing::debug!("the engine is slow to list its addresses");
        }
    }

    /// The way out for our sound, and who interprets it, if the peer does not speak as we do.
    pub(super) fn voice(&self, format: Format) -> Result<(Voice, Option<Task>), CodecError> {
        let (track, payload_type) = (Arc::clone(&self.track), format.payload_type);
        let mouth = Mouth { track, ssrc: self.ssrc, payload_type };
        let Some(law) = format.codec.law() else {
            return Ok((Voice { mouth, interpreter: None }, None));
        };
        let telephone = TelephoneOut::new(law)?;
        let (to, packets) = mpsc::channel(TO_INTERPRET_CAPACITY);
        let interpreting = interpreter::run(telephone, mouth.clone(), packets);
        let task = tasks::spawn("interpreter", interpreting);
        Ok((Voice { mouth, interpreter: Some(to) }, Some(task)))
    }

    /// Tells the engine that our track is of this codec, now that it is known.
    pub(super) async fn settle(&self, codec: Codec) -> Result<(), Error> {
        let track = Arc::new(TrackLocalStaticRTP::new(outgoing(self.ssrc, codec)));
        for sender in self.connection.get_senders().await {
            sender.replace_track(track.clone()).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("ssrc", &self.ssrc).finish_non_exhaustive()
    }
}

/// Sends to one peer what the house says. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::rooms) struct Voice {
    mouth: Mouth,
    interpreter: Option<mpsc::Sender<OpusPacket>>,
}

impl Voice {
    /// Sends a packet at once, or drops it when the engine lags by its whole queue (256 packets),
    /// or the interpreter by its own.
    pub(in crate::rooms) fn send(&self, packet: &OpusPacket) -> bool {
        match &self.interpreter {
            None => self.mouth.send(packet),
            Some(interpreter) => interpreter.try_send(packet.clone()).is_ok(),
        }
    }

    /// Tells the peer that nothing more will be said (RTCP BYE; RFC 3550, section 6.6).
    pub(in crate::rooms) async fn say_goodbye(&self) {
        let goodbye = Goodbye { sources: vec![self.mouth.ssrc], ..Goodbye::default() };
        if let Err(error) = self.mouth.track.write_rtcp(vec![Box::new(goodbye)]).await {
            tracing::debug!(%error, "a goodbye could not be said");
        }
    }

    /// The same with another payload type, for a peer that speaks otherwise than we do.
    #[cfg(test)]
    pub(super) fn speaking(&self, payload_type: u8) -> Self {
        let mouth = Mouth { payload_type, ..self.mouth.clone() };
        Self { mouth, interpreter: None }
    }
}

/// Sends to one peer in its own codec.
#[derive(Clone)]
pub(super) struct Mouth {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
}

impl Mouth {
    pub(super) fn send(&self, packet: &OpusPacket) -> bool {
        let header = rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: self.payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: self.ssrc,
            ..rtp::Header::default()
        };
        let packet = rtp::Packet { header, payload: packet.payload.clone() };
        matches!(self.track.write_rtp(packet).now_or_never(), Some(Ok(())))
    }
}

impl fmt::Debug for Mouth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mouth").field("ssrc", &self.ssrc).finish_non_exhaustive()
    }
}

/// Starts an engine with one outgoing track, in the first of these formats. It answers with all
/// that it is offered of them, and offers all.
pub(super) async fn start(
    identity: &Identity,
    bind: Vec<SocketAddr>,
    part: Part,
    runtime: Arc<LegRuntime>,
    formats: &[Format],
) -> Result<Engine, Error> {
    let mut media = MediaEngine::default();
    let codecs: Vec<_> = formats.iter().copied().flat_map(parameters).collect();
    for codec in &codecs {
        media.register_codec(codec.clone(), RtpCodecKind::Audio)?;
    }
    let (reports_tx, reports) = mpsc::channel(REPORTS_CAPACITY);
    let interceptors = interceptors().with(reports::PLACE, Reports::new(reports_tx));
    let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
    let (gathered_tx, is_gathered) = watch::channel(false);
    let (tracks_tx, tracks) = mpsc::channel(TRACKS_CAPACITY);
    let configuration =
        RTCConfigurationBuilder::default().with_certificates(vec![identity.0.clone()]).build();
    let builder = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_setting_engine(settings(&part))
        .with_interceptor_registry(interceptors)
        .with_handler(Arc::new(Handler {
            state: state_tx,
            gathered: gathered_tx,
            tracks: tracks_tx,
            part,
        }))
        .with_runtime(runtime.clone())
        .with_udp_addrs(bind);
    // The engine's future is large; whoever waits for it need not be.
    let connection = Box::pin(builder.build()).await?;
    let ssrc = random_ssrc();
    let codec = formats.first().map_or(Codec::Opus, |format| format.codec);
    let track = Arc::new(TrackLocalStaticRTP::new(outgoing(ssrc, codec)));
    connection.add_track(track.clone()).await?;
    // A track by itself is offered in its own codec only.
    for transceiver in connection.get_transceivers().await {
        transceiver.set_codec_preferences(codecs.clone()).await?;
    }
    let connection = Arc::new(connection);
    let arrivals = Arc::clone(runtime.arrivals());
    Ok(Engine { connection, state, tracks, reports, is_gathered, arrivals, track, ssrc, codec })
}

fn settings(part: &Part) -> SettingEngine {
    let (role, takes_new_sockets) = match part {
        Part::Offerer { .. } => (RTCDtlsRole::Auto, true),
        Part::Answerer { role } => (*role, false),
    };
    SettingEngineBuilder::new()
        .with_answering_dtls_role(role)
        .with_discard_local_candidates_during_ice_restart(takes_new_sockets)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(SILENCE), Some(FAILED), Some(CONSENT))
        .with_ice_connection_attempts(Some(CHECK), Some(CHECKS))
        // The engine knows one fingerprint only, and only SHA-256; the `Ear` checks them all
        // before a leg counts as connected.
        .with_disable_certificate_fingerprint_verification(true)
        .build()
}

/// What takes part in a leg's RTP and RTCP. A peer's lost packets are asked for, and ours kept to
/// be asked for, where that was agreed upon: by themselves, for the engine knows retransmission
/// streams (RTX) of video only. Of transport-wide feedback there is none: speech has a rate of its
/// own, and a browser that gets some sends probes of the network among its packets.
fn interceptors() -> Registry {
    let responder = NackResponderBuilder::new().with_size(KEPT_PACKETS).build();
    configure_rtcp_reports(Registry::new())
        .with(Slot::NackResponder, responder)
        .with(Slot::NackGenerator, Asker::default())
}

/// A format as the engine is told of it: RED in front of what it wraps.
fn parameters(format: Format) -> Vec<RTCRtpCodecParameters> {
    let red = format.red.map(|payload_type| RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: format!("audio/{}", RED_RTPMAP.split('/').next().unwrap_or_default()),
            sdp_fmtp_line: format.red_fmtp(),
            rtcp_feedback: Vec::new(),
            ..rtp_codec(format.codec)
        },
        payload_type,
    });
    let speech = RTCRtpCodecParameters {
        rtp_codec: rtp_codec(format.codec),
        payload_type: format.payload_type,
    };
    red.into_iter().chain([speech]).collect()
}

fn rtp_codec(codec: Codec) -> RTCRtpCodec {
    let (mime_type, clock_rate, channels) = match codec {
        Codec::Opus => (MIME_TYPE_OPUS, 48_000, 2),
        Codec::Pcmu => (MIME_TYPE_PCMU, 8_000, 0),
        Codec::Pcma => (MIME_TYPE_PCMA, 8_000, 0),
    };
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: codec.fmtp().to_owned(),
        rtcp_feedback: vec![RTCPFeedback { typ: "nack".to_owned(), parameter: String::new() }],
    }
}

fn outgoing(ssrc: u32, codec: Codec) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec: rtp_codec(codec),
        ..RTCRtpEncodingParameters::default()
    };
    let name = |part: &str| format!("callbridge-{part}");
    MediaStreamTrack::new(
        name("room"),
        name("audio"),
        name("audio"),
        RtpCodecKind::Audio,
        vec![encoding],
    )
}

fn random_ssrc() -> u32 {
    let mut bytes = [0; 4];
    entropy::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// Turns the engine's callbacks into values at once: they run on its driver and must not wait.
struct Handler {
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: watch::Sender<bool>,
    tracks: mpsc::Sender<Arc<dyn TrackRemote>>,
    part: Part,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Part::Offerer { candidates } = &self.part else { return };
        let told = event.candidate.to_json().map(|found| candidates.try_send(found.candidate));
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!("an address of ours is not told to the peer");
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.gathered.send_replace(state == RTCIceGatheringState::Complete);
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        if track.kind().await == RtpCodecKind::Audio && self.tracks.try_send(track).is_err() {
            tracing::debug!("a second audio track is not heard");
        }
    }
}

/// How long nothing may arrive before a peer counts as silent: three lost consent checks.
const SILENCE: Duration = Duration::from_secs(3);

/// How long the engine goes on after that; together the longest time a first check may take.
const FAILED: Duration = Duration::from_secs(12);

/// How often a peer is asked whether it is still there (RFC 7675).
const CONSENT: Duration = Duration::from_secs(1);

/// How often a pair of addresses is tried, and how many times: six seconds, as the peer may learn
/// of our addresses late.
const CHECK: Duration = Duration::from_millis(200);
const CHECKS: u16 = 30;
