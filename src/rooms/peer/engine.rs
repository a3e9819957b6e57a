//! How the WebRTC engine is set up, and how its callbacks become values.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use rtc::crypto::{SignatureScheme, default_provider};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_OPUS;
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
    RTCConfigurationBuilder, RTCIceGatheringState, RTCPeerConnectionState, Registry, SettingEngine,
    SettingEngineBuilder, register_default_interceptors,
};

use super::super::mux::LegRuntime;
use super::goodbye::{self, Farewells, GOODBYES_CAPACITY};
use crate::media::OpusPacket;
use crate::sys::entropy;

/// Tracks of one peer that may wait to be heard: a call has one.
///
/// When full: the track is not heard.
const TRACKS_CAPACITY: usize = 2;

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
    /// The peer has said that its stream is over.
    pub(super) goodbyes: mpsc::Receiver<()>,
    is_gathered: watch::Receiver<bool>,
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
}

impl Engine {
    /// Waits until the engine knows its own addresses, or for so long.
    pub(super) async fn gathered(&mut self, limit: Duration) {
        let gathered = self.is_gathered.wait_for(|is_gathered| *is_gathered);
        if tokio::time::timeout(limit, gathered).await.is_err() {
            tracing::debug!("the engine is slow to list its addresses");
        }
    }

    /// The way out for our sound.
    pub(super) fn voice(&self, payload_type: u8) -> Voice {
        Voice { track: Arc::clone(&self.track), ssrc: self.ssrc, payload_type }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("ssrc", &self.ssrc).finish_non_exhaustive()
    }
}

/// Sends to one peer. Cheap to clone.
#[derive(Clone)]
pub(in crate::rooms) struct Voice {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
}

impl Voice {
    /// Sends a packet at once, or drops it when the engine lags by its whole queue (256 packets).
    pub(in crate::rooms) fn send(&self, packet: &OpusPacket) -> bool {
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

    /// Tells the peer that nothing more will be said (RTCP BYE; RFC 3550, section 6.6).
    pub(in crate::rooms) async fn say_goodbye(&self) {
        let goodbye = Goodbye { sources: vec![self.ssrc], ..Goodbye::default() };
        if let Err(error) = self.track.write_rtcp(vec![Box::new(goodbye)]).await {
            tracing::debug!(%error, "a goodbye could not be said");
        }
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("ssrc", &self.ssrc).finish_non_exhaustive()
    }
}

/// Starts an engine with one outgoing Opus track.
pub(super) async fn start(
    identity: &Identity,
    bind: Vec<SocketAddr>,
    answering_role: RTCDtlsRole,
    runtime: Arc<LegRuntime>,
) -> Result<Engine, Error> {
    let mut media = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: opus(), payload_type: 111 };
    media.register_codec(parameters, RtpCodecKind::Audio)?;
    let (goodbyes_tx, goodbyes) = mpsc::channel(GOODBYES_CAPACITY);
    let interceptors = register_default_interceptors(Registry::new(), &mut media)?
        .with(goodbye::PLACE, Farewells::new(goodbyes_tx));
    let (state_tx, state) = watch::channel(RTCPeerConnectionState::New);
    let (gathered_tx, is_gathered) = watch::channel(false);
    let (tracks_tx, tracks) = mpsc::channel(TRACKS_CAPACITY);
    let configuration =
        RTCConfigurationBuilder::default().with_certificates(vec![identity.0.clone()]).build();
    let builder = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_setting_engine(settings(answering_role))
        .with_interceptor_registry(interceptors)
        .with_handler(Arc::new(Handler {
            state: state_tx,
            gathered: gathered_tx,
            tracks: tracks_tx,
        }))
        .with_runtime(runtime)
        .with_udp_addrs(bind);
    // The engine's future is large; whoever waits for it need not be.
    let connection = Box::pin(builder.build()).await?;
    let ssrc = random_ssrc();
    let track = Arc::new(TrackLocalStaticRTP::new(outgoing(ssrc)));
    connection.add_track(track.clone()).await?;
    let connection = Arc::new(connection);
    Ok(Engine { connection, state, tracks, goodbyes, is_gathered, track, ssrc })
}

fn settings(answering_role: RTCDtlsRole) -> SettingEngine {
    SettingEngineBuilder::new()
        .with_answering_dtls_role(answering_role)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_timeouts(Some(SILENCE), Some(FAILED), Some(CONSENT))
        .with_ice_connection_attempts(Some(CHECK), Some(CHECKS))
        // The engine knows one fingerprint only, and only SHA-256; the `Ear` checks them all
        // before a leg counts as connected.
        .with_disable_certificate_fingerprint_verification(true)
        .build()
}

fn opus() -> RTCRtpCodec {
    let feedback = |name: &str| RTCPFeedback { typ: name.to_owned(), parameter: String::new() };
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: vec![feedback("transport-cc"), feedback("nack")],
    }
}

fn outgoing(ssrc: u32) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec: opus(),
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
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
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
