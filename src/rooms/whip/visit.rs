//! An agent's stay in a room behind a WHIP endpoint: it comes in, carries sound, finds its way
//! back when its leg is lost, and says goodbye.

use std::time::Duration;

use reqwest::Url;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::http::{Endpoint, Session};
use super::{CODECS, Caller, LATE, enter, local_address, tell};
use crate::agent::{Participant, RoomFailure};
use crate::ids::ParticipantId;
use crate::privacy::Secret;
use crate::rooms::elsewhere::{Elsewhere, Parted, Stay};
use crate::rooms::peer::{Identity, Leg, News, Peer};
use crate::rooms::sdp::Fragment;
use crate::rooms::{FarEnd, new_participant};
use crate::sys::clock;

/// An agent's stay there.
#[derive(Debug)]
pub(in crate::rooms) struct Visit {
    pub(in crate::rooms) url: Url,
    pub(in crate::rooms) token: Option<Secret>,
    pub(in crate::rooms) far: FarEnd,
    pub(in crate::rooms) tools: Elsewhere,
}

impl Visit {
    /// Ends soon after the agent has left, and when the room has been lost for good.
    pub(in crate::rooms) async fn run(self) {
        let Self { url, token, far, tools } = self;
        let Elsewhere { identity, meter } = tools;
        let mut stay = Stay::new(far, meter);
        let room = Participant { id: new_participant(), name: readable(&url) };
        let url = with_name(url, &stay.me().name);
        let outcome = match Endpoint::open(url, token).await {
            Ok(endpoint) => Guest { endpoint, identity, room }.stay(&mut stay).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            stay.fail(failure);
        }
    }
}

/// Who comes in, however often.
struct Guest {
    endpoint: Endpoint,
    identity: Identity,
    /// One participant stands for all who are there: the endpoint does not tell them apart.
    room: Participant,
}

/// Our place in the room.
struct Place {
    leg: Leg,
    session: Option<Session>,
}

/// How we came to lose a place.
enum Departure {
    /// The agent has left.
    Left,
    /// The room wants us no more, in these words.
    SentOut(&'static str),
    /// It vanished.
    Lost(&'static str),
}

impl Guest {
    /// Stays for as long as agent and room want; an error is the room's doing.
    async fn stay(&self, stay: &mut Stay) -> Result<(), RoomFailure> {
        let until = after(JOIN);
        let Some(mut place) = self.enter(stay, until).await? else { return Ok(()) };
        loop {
            if !stay.enter(vec![self.room.clone()]) {
                place.leave().await;
                return Ok(());
            }
            let departure = place.carry(stay, &self.room.id).await;
            place.leave().await;
            let reason = match departure {
                Departure::Left => return Ok(()),
                Departure::SentOut(reason) => return Err(RoomFailure::Closed(reason.to_owned())),
                Departure::Lost(reason) => reason,
            };
            tracing::info!(reason, "a room elsewhere is lost; trying to come back");
            match self.come_back(stay, reason).await? {
                Some(again) => place = again,
                None => return Ok(()),
            }
        }
    }

    /// Comes in; `None` if the agent has left meanwhile.
    async fn enter(&self, stay: &mut Stay, until: Instant) -> Result<Option<Place>, RoomFailure> {
        let bind = local_address(self.endpoint.url());
        let caller = Caller::prepare_as(&self.identity, bind, &CODECS).await?;
        let mut has_left = false;
        let given_up = async {
            tokio::select! {
                () = stay.left() => has_left = true,
                () = sleep_until(until) => {}
            }
        };
        match enter(&self.endpoint, caller, given_up).await {
            Ok((leg, session)) => Ok(Some(Place { leg, session })),
            Err(_) if has_left => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Comes in again; `None` if the agent has left meanwhile. The room may be starting anew, or
    /// the network be away; but a room that says it does not exist is gone for good.
    async fn come_back(&self, stay: &mut Stay, lost: &str) -> Result<Option<Place>, RoomFailure> {
        let until = after(COME_BACK);
        let mut pause = PAUSE;
        loop {
            let failure = match self.enter(stay, until.min(after(JOIN))).await {
                Ok(entered) => return Ok(entered),
                Err(failure) => failure,
            };
            if failure == RoomFailure::NotFound {
                return Err(RoomFailure::Closed(format!("{lost}, and the room is gone")));
            }
            if failure == RoomFailure::Unauthorized {
                return Err(failure);
            }
            if after(pause) >= until {
                return Err(lost_for_good(lost, &failure));
            }
            tracing::debug!(%failure, "no way back yet");
            tokio::select! {
                () = stay.left() => return Ok(None),
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Place {
    /// Carries sound until either side ends it.
    async fn carry(&mut self, stay: &mut Stay, speaker: &ParticipantId) -> Departure {
        let Leg { peer, ear, voice } = &mut self.leg;
        tokio::select! {
            parted = stay.carry(ear, voice, speaker) => match parted {
                Parted::Left => Departure::Left,
                Parted::Lost(reason) if ear.has_parted() => Departure::SentOut(reason),
                Parted::Lost(reason) => Departure::Lost(reason),
            },
            reason = keep(peer, self.session.as_mut()) => Departure::Lost(reason),
        }
    }

    /// Says goodbye in every way there is.
    async fn leave(self) {
        let Self { leg: Leg { peer, voice, .. }, session } = self;
        let delete = async {
            if let Some(session) = session {
                session.delete().await;
            }
        };
        let hang_up = async {
            voice.say_goodbye().await;
            peer.close().await;
        };
        tokio::join!(delete, hang_up);
    }
}

/// Keeps a leg going: trickles what is found late, restarts ICE when nothing comes any more.
/// Ends, with the reason, when that does not help.
async fn keep(peer: &mut Peer, session: Option<&mut Session>) -> &'static str {
    let Some(session) = session.filter(|session| session.is_changeable()) else {
        // Whether the leg recovers by itself is for its ear to tell.
        return std::future::pending().await;
    };
    loop {
        match peer.news().await {
            News::Trickle(fragment) => tell(session, &fragment).await,
            News::Wavers => {
                let restarted = timeout(RESTART, restart(peer, session)).await;
                let late = |_| Err(RoomFailure::Unreachable(LATE.to_owned()));
                if let Err(failure) = restarted.unwrap_or_else(late) {
                    tracing::debug!(%failure, "ICE could not be restarted");
                    return "it fell silent";
                }
            }
        }
    }
}

fn lost_for_good(lost: &str, last: &RoomFailure) -> RoomFailure {
    let last = last.to_string();
    // What it is said with says so once more.
    let why = last.strip_prefix("the room cannot be reached: ").unwrap_or(&last);
    let seconds = COME_BACK.as_secs();
    RoomFailure::Unreachable(format!("{lost}, and within {seconds} s there was no way back: {why}"))
}

/// Restarts ICE as soon as the endpoint can be reached: our addresses before that are those of a
/// network that may be gone.
async fn restart(peer: &mut Peer, session: &mut Session) -> Result<(), RoomFailure> {
    while let Err(failure) = session.probe().await {
        tracing::debug!(%failure, "the endpoint is not reached");
        sleep(PAUSE).await;
    }
    if !peer.wavers() {
        return Ok(());
    }
    let fragment = peer.restart_ice().await.map_err(|error| super::media(&error))?;
    let answer = session.restart(&fragment).await?;
    let fragment = Fragment::read(&answer).map_err(|error| super::media(&error.into()))?;
    peer.take_restart(&fragment).await.map_err(|error| super::media(&error))?;
    tracing::info!("ICE was restarted with a room elsewhere");
    Ok(())
}

/// What to call the room: its name, if the URL shows one, and its host. Never the query, which may
/// be a key.
fn readable(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let mut parts = url.path_segments().into_iter().flatten();
    match parts.rfind(|part| !part.is_empty() && *part != "whip") {
        Some(room) => format!("{room} at {host}"),
        None => host.to_owned(),
    }
}

/// Rooms of our own kind are told our name; others may not like what they do not know.
fn with_name(mut url: Url, name: &str) -> Url {
    let parts: Vec<_> = url.path_segments().into_iter().flatten().collect();
    let is_ours = matches!(parts[..], [.., "rooms", _, "whip"]);
    let has_name = url.query_pairs().any(|(key, _)| key == "name");
    if is_ours && !has_name && !name.is_empty() {
        let name: String = name.chars().take(NAME_MAX).collect();
        url.query_pairs_mut().append_pair("name", &name);
    }
    url
}

/// The moment so long from now.
fn after(time: Duration) -> Instant {
    Instant::from_std(clock::now() + time)
}

/// How long coming in may take, name look-up, answer, ICE and DTLS together.
const JOIN: Duration = Duration::from_secs(15);

/// How long a way back is looked for, and the pauses between two attempts.
const COME_BACK: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// How long an endpoint may take to agree to a restart of ICE.
const RESTART: Duration = Duration::from_secs(2);

/// The longest name that rooms of our kind take, in characters.
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_a_readable_name_without_secrets() {
        for (url, name) in [
            ("https://call.example:8443/rooms/lobby/whip?token=x", "lobby at call.example"),
            ("https://user:pass@call.example/whip/abc#x", "abc at call.example"),
            ("https://call.example/whip/", "call.example"),
        ] {
            assert_eq!(readable(&Url::parse(url).unwrap()), name);
        }
    }

    #[test]
    fn our_own_kind_is_told_our_name() {
        let named = |url: &str| with_name(Url::parse(url).unwrap(), "Ada L").to_string();
        let room = "https://call.example/rooms/lobby/whip";
        assert_eq!(named(room), format!("{room}?name=Ada+L"));
        for url in [format!("{room}?name=Bob"), "https://call.example/whip".to_owned()] {
            assert_eq!(named(&url), url);
        }
    }
}
