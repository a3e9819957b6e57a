//! One caller: dials, says what its script says, every 20 ms, and notes what it hears and when.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Url};

use super::failure::CallFailure;
use super::leg::{Heard, Identity, Leg, Roads};
use super::road::RoadConfig;
use super::script::{Act, Script};
use super::talk::Talk;
use crate::media::FRAME_MS;
use crate::privacy::Secret;
use crate::sys::clock;

/// What a caller needs to know.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) http: Client,
    pub(super) identity: Identity,
    pub(super) whip: Url,
    pub(super) token: Option<Secret>,
    /// The local address to call from.
    pub(super) bind: IpAddr,
    pub(super) talk: Arc<Talk>,
    pub(super) script: Script,
    /// The network between, and its chances.
    pub(super) road: Option<(RoadConfig, u64)>,
    /// Whether nothing is sent in silence.
    pub(super) dtx: bool,
    /// When to hang up.
    pub(super) until: Until,
    /// Ticks fall on this instant and on every 20 ms from it, so that callers do not all speak at
    /// the same time.
    pub(super) phase: Instant,
}

/// When a caller hangs up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// At an instant.
    At(Instant),
    /// So long after it was connected.
    After(Duration),
}

/// What a caller has noted.
#[derive(Debug)]
pub(super) struct CallerLog {
    /// The offer was sent.
    pub(super) offered: Instant,
    /// ICE and DTLS were done.
    pub(super) connected: Instant,
    /// When the first tick was due; the others follow every 20 ms.
    pub(super) begun: Instant,
    /// When the packet of each tick was given to the socket; none in DTX.
    pub(super) sent: Vec<Option<Instant>>,
    pub(super) sayings: Vec<Saying>,
    pub(super) heard: Vec<Heard>,
    /// Answers that never came.
    pub(super) missed: u32,
}

/// A sentence that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) sentence: usize,
    /// The tick of its first packet.
    pub(super) tick: usize,
    /// Whether it was said over an answer.
    pub(super) over: bool,
}

/// A call that is up.
struct Call {
    leg: Leg,
    resource: Option<Url>,
    log: CallerLog,
    errand: Errand,
}

/// Holds a call from its offer to its end.
pub(super) async fn call(errand: Errand) -> Result<CallerLog, CallFailure> {
    let mut call = Call::dial(errand).await?;
    let talked = call.talk().await;
    let hung_up = call.hang_up().await;
    talked.and(hung_up).map(|()| call.log)
}

impl Call {
    async fn dial(errand: Errand) -> Result<Self, CallFailure> {
        let offered = clock::now();
        let roads = errand.road.as_ref();
        let roads = roads.map(|(config, seed)| Box::new(Roads::new(config, *seed, offered)));
        let (mut leg, offer) = Leg::offer(&errand.identity, errand.bind, roads, offered).await?;
        let (answer, resource) = post(&errand, offer).await?;
        leg.take_answer(&answer, clock::now())?;
        let log = CallerLog {
            offered,
            connected: offered,
            begun: offered,
            sent: Vec::new(),
            sayings: Vec::new(),
            heard: Vec::new(),
            missed: 0,
        };
        let mut call = Self { leg, resource, log, errand };
        match tokio::time::timeout(CONNECT_MAX, call.connect()).await {
            Ok(Ok(())) => Ok(call),
            Ok(Err(failure)) => call.give_up(failure).await,
            Err(_) => call.give_up(CallFailure::Late("the caller's connection")).await,
        }
    }

    async fn connect(&mut self) -> Result<(), CallFailure> {
        while !self.leg.is_connected() {
            // The engine's wishes are kept to the millisecond, not closer.
            let wake = self.leg.wake().max(clock::now() + Duration::from_millis(1));
            let wake = self.leg.road_due().map_or(wake, |due| due.min(wake));
            tokio::select! {
                ready = self.leg.readable() => {
                    ready?;
                    self.leg.receive(clock::now)?;
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    self.leg.on_road(clock::now())?;
                    self.leg.on_time(clock::now())?;
                }
            }
        }
        self.log.connected = clock::now();
        Ok(())
    }

    async fn give_up(mut self, failure: CallFailure) -> Result<Self, CallFailure> {
        // The failure that is there already says more than another one.
        let _ = self.hang_up().await;
        Err(failure)
    }

    async fn talk(&mut self) -> Result<(), CallFailure> {
        let begun = next_tick(self.errand.phase, clock::now());
        self.log.begun = begun;
        let until = match self.errand.until {
            Until::At(instant) => instant,
            Until::After(duration) => begun + duration,
        };
        let next = tokio::time::sleep_until(begun.into());
        tokio::pin!(next);
        for tick in 0_u32.. {
            let due = begun + FRAME * tick;
            if due >= until {
                break;
            }
            loop {
                let wake = self.leg.road_due().map_or(due, |arrival| arrival.min(due));
                if next.deadline() != wake.into() {
                    next.as_mut().reset(wake.into());
                }
                tokio::select! {
                    biased;
                    () = &mut next => {
                        self.leg.on_road(clock::now())?;
                        self.log.heard.extend(self.leg.take_heard());
                        if wake == due {
                            break;
                        }
                    }
                    ready = self.leg.readable() => {
                        ready?;
                        self.leg.receive(clock::now)?;
                        self.log.heard.extend(self.leg.take_heard());
                    }
                }
            }
            self.on_tick(tick)?;
        }
        self.log.missed = self.errand.script.missed();
        Ok(())
    }

    fn on_tick(&mut self, tick: u32) -> Result<(), CallFailure> {
        let now = clock::now();
        let quiet_for = self.log.heard.last().map(|heard| {
            let quiet = now.saturating_duration_since(heard.at).as_millis();
            u64::try_from(quiet).unwrap_or(u64::MAX) / FRAME_MS
        });
        let talk = &self.errand.talk;
        let packet = match self.errand.script.act(u64::from(tick), quiet_for) {
            Act::Silence if self.errand.dtx => None,
            Act::Silence => Some(talk.silence.clone()),
            Act::Begin { sentence, over } => {
                self.log.sayings.push(Saying { sentence, tick: self.log.sent.len(), over });
                Some(talk.sentences[sentence].packets[0].clone())
            }
            Act::Go { sentence, packet } => Some(talk.sentences[sentence].packets[packet].clone()),
        };
        self.log.sent.push(packet.is_some().then_some(now));
        if let Some(payload) = packet {
            self.leg.say(payload, u64::from(tick), now)?;
        } else {
            self.leg.on_time(now)?;
        }
        Ok(())
    }

    async fn hang_up(&mut self) -> Result<(), CallFailure> {
        self.leg.close(clock::now());
        let Some(resource) = self.resource.take() else { return Ok(()) };
        let request = self.errand.http.delete(resource);
        let request = with_token(request, self.errand.token.as_ref());
        let failed = |source| CallFailure::Http { what: "hanging up", source };
        request.send().await.map(drop).map_err(failed)
    }
}

/// Sends the offer (RFC 9725); the answer, and where to hang up.
async fn post(errand: &Errand, offer: String) -> Result<(String, Option<Url>), CallFailure> {
    let what = "calling";
    let failed = |source| CallFailure::Http { what, source };
    let request = errand.http.post(errand.whip.clone()).header(CONTENT_TYPE, "application/sdp");
    let request = with_token(request, errand.token.as_ref()).body(offer);
    let response = request.send().await.map_err(failed)?;
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let resource = location.and_then(|location| response.url().join(location).ok());
    let status = response.status();
    let body = response.text().await.map_err(failed)?;
    match status.is_success() {
        true => Ok((body, resource)),
        false => Err(CallFailure::of_response(what, status.as_u16(), &body)),
    }
}

fn with_token(request: reqwest::RequestBuilder, token: Option<&Secret>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {}", token.expose())),
        None => request,
    }
}

/// The first tick from `now` on.
fn next_tick(phase: Instant, now: Instant) -> Instant {
    let past = now.saturating_duration_since(phase).as_nanos() / FRAME.as_nanos();
    phase + FRAME * (u32::try_from(past).unwrap_or(u32::MAX - 1) + 1)
}

const FRAME: Duration = Duration::from_millis(FRAME_MS);
/// ICE and DTLS take some round trips; whoever is not there by then does not come.
const CONNECT_MAX: Duration = Duration::from_secs(15);
