//! The offering side of a leg, after its offer: addresses that it learns late, and new ones when
//! it restarts ICE.

use std::future::pending;

use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::{mpsc, watch};
use webrtc::peer_connection::{
    RTCConfigurationBuilder, RTCIceServer, RTCPeerConnectionState, RTCSessionDescription,
};

use super::engine::Engine;
use super::{GATHERING, Offering, Peer, PeerError, Side};
use crate::privacy::Secret;
use crate::rooms::sdp::{self, Description, Fragment, SdpError};

/// A server that tells us how we look from outside (STUN), or relays for us (TURN).
#[derive(Clone, Debug)]
pub(in crate::rooms) struct IceServer {
    /// `stun:HOST:PORT`, or `turn:HOST:PORT` over UDP. A host that is an address spares the leg
    /// the wait for its name.
    pub(in crate::rooms) url: String,
    /// As whom a relay knows us; empty for STUN.
    pub(in crate::rooms) user: String,
    pub(in crate::rooms) password: Secret,
}

/// What the offering side has to tell its peer in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rooms) enum News {
    /// More addresses of ours: a fragment to be trickled.
    Trickle(String),
    /// Nothing comes any more. A restart of ICE may find another way before the leg is lost.
    Wavers,
}

/// What the offering side remembers.
#[derive(Debug)]
pub(super) struct Offerer {
    /// Our description as the peer knows it.
    offer: String,
    /// The peer's, as it stands.
    answer: Description,
    candidates: mpsc::Receiver<String>,
    state: watch::Receiver<RTCPeerConnectionState>,
    is_gathered: watch::Receiver<bool>,
}

impl Offerer {
    pub(super) fn new(
        engine: &Engine,
        offer: String,
        candidates: mpsc::Receiver<String>,
        answer: Description,
    ) -> Self {
        let (state, is_gathered) = (engine.state.clone(), engine.is_gathered.clone());
        Self { offer, answer, candidates, state, is_gathered }
    }

    /// May be dropped and asked again at any time.
    async fn news(&mut self) -> News {
        loop {
            tokio::select! {
                Some(candidate) = self.candidates.recv() => {
                    if !self.offer.contains(&candidate) {
                        let candidates = [candidate.as_str()].into_iter();
                        return News::Trickle(sdp::trickle_fragment(&self.offer, candidates));
                    }
                }
                Ok(()) = self.state.changed() => {
                    if *self.state.borrow_and_update() == RTCPeerConnectionState::Disconnected {
                        return News::Wavers;
                    }
                }
                // The engine has ended, which is the ear's to tell.
                else => pending().await,
            }
        }
    }
}

impl Offering {
    /// Lets these servers tell us more addresses, which are news of the leg when they come.
    pub(in crate::rooms) async fn ask(&self, servers: &[IceServer]) -> Result<(), PeerError> {
        let connection = &self.engine.connection;
        let servers = servers.iter().map(|server| RTCIceServer {
            urls: vec![server.url.clone()],
            username: server.user.clone(),
            credential: server.password.expose().to_owned(),
        });
        let configuration = RTCConfigurationBuilder::default().with_ice_servers(servers.collect());
        connection.set_configuration(configuration.build()).await?;
        // The engine asks new servers when it looks for addresses, and it looks for them when an
        // offer is made, if it be the same.
        Ok(connection.set_local_description(self.made.clone()).await?)
    }
}

impl Peer {
    /// What is to be told to the peer: nothing ever, if it was the peer who offered. May be
    /// dropped and asked again at any time.
    pub(in crate::rooms) async fn news(&mut self) -> News {
        match &mut self.side {
            Side::Offerer(offerer) => offerer.news().await,
            Side::Answerer { .. } => pending().await,
        }
    }

    /// Whether nothing comes any more.
    pub(in crate::rooms) fn wavers(&self) -> bool {
        let Side::Offerer(offerer) = &self.side else { return false };
        *offerer.state.borrow() == RTCPeerConnectionState::Disconnected
    }

    /// Restarts ICE from new sockets: what to tell the peer (RFC 9725, section 4.3.3). The leg is
    /// silent until its answer is taken by [`Peer::take_restart`].
    pub(in crate::rooms) async fn restart_ice(&mut self) -> Result<String, PeerError> {
        let Side::Offerer(offerer) = &mut self.side else { return Err(PeerError::NoRestart) };
        let connection = &self.connection.0;
        offerer.is_gathered.mark_unchanged();
        let options = RTCOfferOptions { ice_restart: true };
        let offer = connection.create_offer(Some(options)).await?;
        connection.set_local_description(offer).await?;
        let gathered = async {
            while offerer.is_gathered.changed().await.is_ok() && !*offerer.is_gathered.borrow() {}
        };
        if tokio::time::timeout(GATHERING, gathered).await.is_err() {
            tracing::debug!("not all addresses are known yet; the rest will be trickled");
        }
        let sdp = connection.local_description().await.ok_or(SdpError::NotSdp)?.sdp;
        let former = std::mem::replace(&mut offerer.offer, sdp);
        // The engine still lists the sockets that it has closed.
        let fresh = sdp::candidates(&offerer.offer).filter(|candidate| !former.contains(candidate));
        Ok(sdp::trickle_fragment(&offerer.offer, fresh))
    }

    /// The peer has agreed to a restart, with new credentials of its own.
    pub(in crate::rooms) async fn take_restart(
        &mut self,
        fragment: &Fragment,
    ) -> Result<(), PeerError> {
        let Side::Offerer(offerer) = &mut self.side else { return Err(PeerError::NoRestart) };
        offerer.answer = offerer.answer.restarted(fragment).ok_or(PeerError::NoRestart)?;
        let answer = RTCSessionDescription::answer(offerer.answer.sdp.clone())?;
        Ok(self.connection.0.set_remote_description(answer).await?)
    }
}
