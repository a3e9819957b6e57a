//! What a leg reports: that it is up, what the peer says, and that it is lost.

use std::sync::Arc;
use std::time::Duration;

use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::transport::DtlsTransport;
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState};

use super::super::codecs::Format;
use super::super::fingerprint::Fingerprint;
use super::super::mux::Arrivals;
use super::engine::Engine;
use super::hearing::Hearing;
use super::reports::Report;
use crate::agent::LineQuality;
use crate::ids::ParticipantId;
use crate::media::{CodecError, OpusPacket};
use crate::sys::clock;

/// Something a leg reports.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rooms) enum PeerEvent {
    /// ICE and DTLS are up, and the peer is the one that was signalled. Told once.
    Connected,
    /// The peer has said this.
    Packet(OpusPacket),
    /// How the line was of late; about once a second.
    Quality(LineQuality),
    /// The leg is over, for this reason.
    Lost(&'static str),
}

/// Listens to one leg.
pub(in crate::rooms) struct Ear {
    connection: Arc<dyn PeerConnection>,
    participant: ParticipantId,
    hearing: Hearing,
    fingerprints: Vec<Fingerprint>,
    state: watch::Receiver<RTCPeerConnectionState>,
    tracks: mpsc::Receiver<Arc<dyn TrackRemote>>,
    track: Option<Arc<dyn TrackRemote>>,
    reports: mpsc::Receiver<Report>,
    pub(super) arrivals: Arc<Arrivals>,
    stage: Stage,
    /// How the engine is asked whether the peer has closed its end: it does not tell by itself.
    transport: Option<Arc<dyn DtlsTransport>>,
    asking: Interval,
    has_parted: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not up yet: nothing that arrives is believed.
    Connecting {
        deadline: Instant,
    },
    Up,
    /// Silent, or on its way to another address after a restart.
    Wavering {
        deadline: Instant,
    },
    /// It has said goodbye. Some say so of one stream and go on with another.
    Parting {
        deadline: Instant,
    },
}

impl Ear {
    pub(super) fn new(
        engine: Engine,
        participant: ParticipantId,
        format: Format,
        fingerprints: Vec<Fingerprint>,
    ) -> Result<Self, CodecError> {
        let Engine { connection, state, tracks, reports, arrivals, .. } = engine;
        let stage = Stage::Connecting { deadline: after(CONNECT) };
        let mut asking = interval_at(after(ASKING), ASKING);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            connection,
            participant,
            hearing: Hearing::new(format)?,
            fingerprints,
            state,
            tracks,
            track: None,
            reports,
            arrivals,
            stage,
            transport: None,
            asking,
            has_parted: false,
        })
    }

    /// The next report. Nothing follows `Lost`. May be dropped and asked again at any time.
    pub(in crate::rooms) async fn next(&mut self) -> PeerEvent {
        if let Some(packet) = self.hearing.next() {
            return PeerEvent::Packet(packet);
        }
        loop {
            let deadline = self.stage.deadline();
            tokio::select! {
                biased;
                changed = self.state.changed() => {
                    let state = *self.state.borrow_and_update();
                    let event = match changed {
                        Ok(()) => self.on_state(state).await,
                        Err(_) => Some(PeerEvent::Lost("the engine has ended")),
                    };
                    if let Some(event) = event {
                        return event;
                    }
                }
                Some(track) = self.tracks.recv(), if self.track.is_none() => {
                    self.track = Some(track);
                }
                event = poll(self.track.as_deref()) => {
                    if let Some(packet) = self.on_track_event(event) {
                        return PeerEvent::Packet(packet);
                    }
                }
                Some(report) = self.reports.recv() => match report {
                    Report::Quality(line) => return PeerEvent::Quality(line),
                    Report::Goodbye if matches!(self.stage, Stage::Up) => {
                        self.stage = Stage::Parting { deadline: after(PARTING) };
                    }
                    Report::Goodbye => {}
                },
                _ = self.asking.tick(), if self.transport.is_some() => {
                    if is_closed(self.transport.as_deref()).await {
                        self.has_parted = true;
                        return PeerEvent::Lost("it hung up");
                    }
                }
                () = reached(deadline) => return PeerEvent::Lost(match self.stage {
                    Stage::Connecting { .. } => "it did not connect in time",
                    Stage::Up | Stage::Wavering { .. } => "it fell silent",
                    Stage::Parting { .. } => {
                        self.has_parted = true;
                        "it said goodbye"
                    }
                }),
            }
        }
    }

    /// Whether the leg was lost because the peer has ended it, and not because it vanished.
    pub(in crate::rooms) const fn has_parted(&self) -> bool {
        self.has_parted
    }

    async fn on_state(&mut self, state: RTCPeerConnectionState) -> Option<PeerEvent> {
        match (state, self.stage) {
            (RTCPeerConnectionState::Connected, Stage::Connecting { .. }) => {
                self.transport = transport(&*self.connection).await;
                if !is_signalled(self.transport.as_deref(), &self.fingerprints).await {
                    return Some(PeerEvent::Lost("its certificate is not the signalled one"));
                }
                self.stage = Stage::Up;
                return Some(PeerEvent::Connected);
            }
            (RTCPeerConnectionState::Connected, _) => self.stage = Stage::Up,
            (RTCPeerConnectionState::Disconnected, Stage::Up | Stage::Parting { .. }) => {
                self.stage = Stage::Wavering { deadline: after(SILENCE) };
            }
            (RTCPeerConnectionState::Connecting, Stage::Up | Stage::Wavering { .. }) => {
                self.stage = Stage::Wavering { deadline: after(CONNECT) };
            }
            (RTCPeerConnectionState::Failed, _) => {
                return Some(PeerEvent::Lost("it cannot be reached"));
            }
            (RTCPeerConnectionState::Closed, _) => {
                self.has_parted = true;
                return Some(PeerEvent::Lost("it was closed"));
            }
            _ => {}
        }
        None
    }

    fn on_track_event(&mut self, event: Option<TrackRemoteEvent>) -> Option<OpusPacket> {
        let packet = match event {
            Some(TrackRemoteEvent::OnRtpPacket(packet)) => packet,
            Some(_) => return None,
            None => {
                self.track = None;
                return None;
            }
        };
        if matches!(self.stage, Stage::Connecting { .. }) {
            return None;
        }
        match self.stage {
            Stage::Parting { .. } => self.stage = Stage::Up,
            // Who is heard is not silent, though the engine has not found out yet where they are.
            // If it never does it fails, and the leg is lost by that.
            Stage::Wavering { .. } => self.stage = Stage::Wavering { deadline: after(SILENCE) },
            Stage::Connecting { .. } | Stage::Up => {}
        }
        let header = packet.header;
        let packet = OpusPacket {
            participant: self.participant.clone(),
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.payload,
            at: self.arrivals.of(header.sequence_number).unwrap_or_else(clock::now),
        };
        self.hearing.understand(header.payload_type, packet)
    }
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Stage {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Connecting { deadline }
            | Self::Wavering { deadline }
            | Self::Parting { deadline } => Some(deadline),
            Self::Up => None,
        }
    }
}

async fn transport(connection: &dyn PeerConnection) -> Option<Arc<dyn DtlsTransport>> {
    let sender = connection.get_senders().await.into_iter().next()?;
    sender.transport().await.ok().flatten()
}

/// Whether the certificate that the peer has shown is one that was signalled.
async fn is_signalled(transport: Option<&dyn DtlsTransport>, fingerprints: &[Fingerprint]) -> bool {
    let Some(transport) = transport else { return false };
    let Ok(certificates) = transport.get_remote_certificates().await else { return false };
    let Some(shown) = certificates.first() else { return false };
    fingerprints.iter().any(|fingerprint| fingerprint.matches(shown))
}

/// Whether the peer has closed its end of DTLS (`close_notify`; RFC 5246, section 7.2.1).
async fn is_closed(transport: Option<&dyn DtlsTransport>) -> bool {
    let Some(transport) = transport else { return false };
    matches!(transport.state().await, Ok(RTCDtlsTransportState::Closed))
}

async fn poll(track: Option<&dyn TrackRemote>) -> Option<TrackRemoteEvent> {
    match track {
        Some(track) => track.poll().await,
        None => std::future::pending().await,
    }
}

/// The moment so long from now.
fn after(time: Duration) -> Instant {
    Instant::from_std(clock::now() + time)
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How long a peer may take to come up: an ICE check that fails takes its time.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a peer may stay silent after the engine has noticed, at three seconds: a peer that
/// has vanished is gone within five.
const SILENCE: Duration = Duration::from_millis(1500);

/// How often the engine is asked whether the peer has closed its end.
const ASKING: Duration = Duration::from_millis(500);

/// How long a peer that has said goodbye may take to say something after all.
const PARTING: Duration = Duration::from_secs(1);
