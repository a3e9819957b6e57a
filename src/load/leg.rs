//! One caller's WebRTC leg: str0m without its own I/O, over a socket of its own.
//!
//! A gateway has one port for all calls and tells callers by their address, so each has a socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};
use thiserror::Error;
use tokio::net::UdpSocket;

use super::road::{Road, RoadConfig};
use crate::media::RTP_TICKS_PER_FRAME;

/// Why a leg could not be, or is no more.
#[derive(Debug, Error)]
pub(super) enum LegError {
    /// Of the system.
    #[error("the caller's socket: {0}")]
    Socket(#[from] io::Error),
    /// Of the engine.
    #[error("the caller's WebRTC: {0}")]
    Engine(#[from] RtcError),
    /// Of the answer.
    #[error("the answer: {0}")]
    Answer(&'static str),
    /// ICE or DTLS have lost the other side.
    #[error("the connection is lost")]
    Lost,
}

/// What all legs share; making it costs more than a call should.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    certificate: DtlsCert,
}

impl Identity {
    pub(super) fn generate() -> Option<Self> {
        let certificate = from_feature_flags().dtls_provider.generate_certificate()?;
        Some(Self { certificate })
    }
}

/// A leg, from its offer on.
#[derive(Debug)]
pub(super) struct Leg {
    /// Large, and held over waits.
    rtc: Box<Rtc>,
    socket: UdpSocket,
    local: SocketAddr,
    mid: Mid,
    payload_type: Option<Pt>,
    pending: Option<SdpPendingOffer>,
    buffer: Box<[u8]>,
    /// When the engine wants to be woken.
    wake: Instant,
    is_connected: bool,
    heard: Vec<Heard>,
    /// Between the engine and the socket, if the network is to be a bad one.
    roads: Option<Box<Roads>>,
}

/// A bad network, each way.
#[derive(Debug)]
pub(super) struct Roads {
    up: Road<Datagram>,
    down: Road<Datagram>,
}

/// A datagram on its way, and whom it goes to or comes from.
#[derive(Clone, Debug)]
struct Datagram {
    bytes: Vec<u8>,
    far: SocketAddr,
}

impl Roads {
    pub(super) fn new(config: &RoadConfig, seed: u64, now: Instant) -> Self {
        let road = |seed| Road::new(config.clone(), seed, now);
        Self { up: road(seed), down: road(!seed) }
    }

    /// When the next datagram comes to its end.
    fn due(&self) -> Option<Instant> {
        self.up.poll_timeout().into_iter().chain(self.down.poll_timeout()).min()
    }
}

/// Setting up a call is delayed as all else is, but not spoilt: what is tested is its sound.
fn set_out(road: &mut Road<Datagram>, datagram: Datagram, now: Instant) {
    // RFC 7983, section 7: STUN and DTLS.
    if matches!(datagram.bytes.first(), Some(0..64)) {
        road.push_spared(datagram, now);
    } else {
        let length = datagram.bytes.len();
        road.push(datagram, length, now);
    }
}

/// A packet that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) at: Instant,
    /// Extended: it does not wrap.
    pub(super) sequence: u64,
}

impl Leg {
    /// Makes an offer of Opus, both ways.
    pub(super) async fn offer(
        identity: &Identity,
        bind: IpAddr,
        roads: Option<Box<Roads>>,
        now: Instant,
    ) -> Result<(Self, String), LegError> {
        let socket = UdpSocket::bind((bind, 0)).await?;
        let local = socket.local_addr()?;
        let rtc = RtcConfig::new()
            .set_crypto_provider(Arc::new(from_feature_flags()))
            .set_dtls_cert(identity.certificate.clone())
            .clear_codecs()
            .enable_opus(true, false)
            .set_rtp_mode(true)
            .build(now);
        let mut rtc = Box::new(rtc);
        let candidate = Candidate::host(local, "udp").map_err(RtcError::from)?;
        rtc.add_local_candidate(candidate);
        let mut change = rtc.sdp_api();
        let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = change.apply().ok_or(LegError::Answer("there was no offer"))?;
        let buffer = vec![0; DATAGRAM_MAX].into();
        let leg = Self {
            rtc,
            socket,
            local,
            mid,
            payload_type: None,
            pending: Some(pending),
            buffer,
            wake: now,
            is_connected: false,
            heard: Vec::new(),
            roads,
        };
        Ok((leg, offer.to_sdp_string()))
    }

    /// Takes the answer; the connection comes up from then on.
    pub(super) fn take_answer(&mut self, sdp: &str, now: Instant) -> Result<(), LegError> {
        let answer = SdpAnswer::from_sdp_string(sdp);
        let answer = answer.map_err(|_| LegError::Answer("it is no SDP"))?;
        let pending = self.pending.take().ok_or(LegError::Answer("there was one already"))?;
        self.rtc.sdp_api().accept_answer(pending, answer)?;
        let media = self.rtc.media(self.mid).ok_or(LegError::Answer("it has no sound"))?;
        self.payload_type = media.remote_pts().first().copied();
        self.payload_type.ok_or(LegError::Answer("it has no Opus"))?;
        self.run(now)
    }

    /// When [`Leg::on_time`] is to be called at the latest.
    pub(super) const fn wake(&self) -> Instant {
        self.wake
    }

    /// When [`Leg::on_road`] is to be called, if anything is under way.
    pub(super) fn road_due(&self) -> Option<Instant> {
        self.roads.as_ref().and_then(|roads| roads.due())
    }

    /// Takes what has come to the end of its road.
    pub(super) fn on_road(&mut self, now: Instant) -> Result<(), LegError> {
        while let Some(datagram) = self.roads.as_mut().and_then(|roads| roads.up.poll(now)) {
            self.send(&datagram.bytes, datagram.far);
        }
        while let Some(datagram) = self.roads.as_mut().and_then(|roads| roads.down.poll(now)) {
            self.take(&datagram.bytes, datagram.far, now)?;
        }
        Ok(())
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Waits for one datagram. Cancel safe: what was not taken stays in the socket.
    pub(super) async fn readable(&self) -> Result<(), LegError> {
        Ok(self.socket.readable().await?)
    }

    /// Takes what has come, but not without end: others want to be served as well.
    pub(super) fn receive(&mut self, clock: impl Fn() -> Instant) -> Result<(), LegError> {
        for _ in 0..BATCH {
            let (length, source) = match self.socket.try_recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // A port that is closed answers through the next call.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            let now = clock();
            if let Some(roads) = &mut self.roads {
                let bytes = self.buffer[..length].to_vec();
                set_out(&mut roads.down, Datagram { bytes, far: source }, now);
            } else {
                let buffer = std::mem::take(&mut self.buffer);
                let taken = self.take(&buffer[..length], source, now);
                self.buffer = buffer;
                taken?;
            }
        }
        Ok(())
    }

    /// Lets the engine's clock go on.
    pub(super) fn on_time(&mut self, now: Instant) -> Result<(), LegError> {
        self.rtc.handle_input(Input::Timeout(now))?;
        self.run(now)
    }

    /// Sends the packet of a tick; nothing goes before the leg is connected.
    pub(super) fn say(
        &mut self,
        payload: Arc<[u8]>,
        tick: u64,
        now: Instant,
    ) -> Result<(), LegError> {
        let (Some(payload_type), mid) = (self.payload_type, self.mid) else { return Ok(()) };
        let mut engine = self.rtc.direct_api();
        let stream = engine.stream_tx_by_mid(mid, None).ok_or(LegError::Lost)?;
        let time = u32::try_from(tick & u64::from(u32::MAX)).unwrap_or_default();
        let time = time.wrapping_mul(RTP_TICKS_PER_FRAME);
        let write = RtpWrite::new(payload_type, tick.into(), time, now, payload);
        stream.write_rtp(write.marker(tick == 0));
        self.on_time(now)
    }

    /// What was heard since the last time.
    pub(super) fn take_heard(&mut self) -> std::vec::Drain<'_, Heard> {
        self.heard.drain(..)
    }

    /// Says goodbye, as far as the protocol has one.
    pub(super) fn close(&mut self, now: Instant) {
        // Whoever hangs up does not wait for the other side's word.
        let _ = self.rtc.close().map_err(LegError::from).and_then(|()| self.run(now));
    }

    /// Gives a datagram to the engine.
    fn take(&mut self, bytes: &[u8], source: SocketAddr, now: Instant) -> Result<(), LegError> {
        let Ok(received) = Receive::new(Protocol::Udp, source, self.local, bytes) else {
            return Ok(());
        };
        self.rtc.handle_input(Input::Receive(now, received))?;
        self.run(now)
    }

    /// Does all that the engine wants done, until it waits for time to pass.
    fn run(&mut self, now: Instant) -> Result<(), LegError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.wake = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => self.transmit(transmit, now),
                Output::Event(event) => self.on_event(event, now)?,
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit, now: Instant) {
        let far = transmit.destination;
        match &mut self.roads {
            Some(roads) => {
                let bytes = transmit.contents.into();
                set_out(&mut roads.up, Datagram { bytes, far }, now);
            }
            None => self.send(&transmit.contents, far),
        }
    }

    /// A datagram that does not fit into the socket is lost, as on any network.
    fn send(&self, bytes: &[u8], far: SocketAddr) {
        if let Err(error) = self.socket.try_send_to(bytes, far) {
            tracing::debug!(%error, "a caller's datagram was not sent");
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else matters to a caller")]
    fn on_event(&mut self, event: Event, now: Instant) -> Result<(), LegError> {
        match event {
            Event::Connected => self.is_connected = true,
            Event::RtpPacket(packet) if packet.payload.len() > DTX_BYTES_MAX => {
                self.heard.push(Heard { at: now, sequence: *packet.seq_no });
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err(LegError::Lost);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Opus that says nothing but that there is nothing (RFC 6716, section 3.1).
const DTX_BYTES_MAX: usize = 2;
/// The largest datagram that anybody sends here.
const DATAGRAM_MAX: usize = 2_000;
/// How many datagrams one caller takes in a row.
const BATCH: usize = 16;
