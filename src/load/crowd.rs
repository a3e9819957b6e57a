//! One run: so many calls at once, begun one after another, and all that is noted of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::{Client, Url};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Progress;
use super::agent::Api;
use super::caller::{self, CallerLog, Errand, Until};
use super::cost::Ledger;
use super::dice::Dice;
use super::failure::CallFailure;
use super::figures::Figures;
use super::leg::Identity;
use super::mind::{Mind, SessionLog};
use super::plan::{Plan, Shape};
use super::script::{Manner, Script};
use super::talk::Talk;
use super::tally::{Window, tally};
use super::wire::Run;
use crate::media::FRAME_MS;
use crate::privacy::Secret;
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// What every run stands on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) plan: Plan,
    pub(super) talk: Arc<Talk>,
    pub(super) identity: Identity,
    pub(super) http: Client,
}

/// Where calls go.
#[derive(Debug)]
pub(super) struct Place {
    /// With `{n}` for the call's number.
    pub(super) whip: String,
    pub(super) token: Option<Secret>,
    /// The local address to call from.
    pub(super) bind: IpAddr,
    /// Where agents are made; none if somebody else answers.
    pub(super) api: Option<Api>,
    /// The gateway's process.
    pub(super) process: Option<u32>,
}

/// How many calls, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// At once.
    pub(super) size: u32,
    pub(super) shape: Shape,
}

/// What one call has come to.
struct Ended {
    number: u32,
    held: Result<CallerLog, CallFailure>,
    errors: u32,
}

/// A run that goes on.
struct Crowd<'a> {
    ground: &'a Ground,
    place: &'a Place,
    round: Round,
    total: u32,
    begun: u32,
    started: Instant,
    window: Window,
    calls: FuturesUnordered<Task<Ended>>,
    callers: HashMap<u32, CallerLog>,
    sessions: HashMap<u32, SessionLog>,
    figures: Figures,
    ledger: Ledger,
}

/// Holds one run.
pub(super) async fn run(
    ground: &Ground,
    place: &Place,
    mut mind: Option<&mut Mind>,
    round: Round,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Run {
    let mut crowd = Crowd::new(ground, place, round);
    let mut looks = looks();
    let mut over: Option<Instant> = None;
    while !crowd.is_done(over) {
        let (next, is_next) = crowd.next();
        tokio::select! {
            Some(ended) = crowd.calls.next(), if !crowd.calls.is_empty() => match ended {
                Ok(ended) => crowd.on_ended(ended),
                Err(error) => crowd.figures.fail(format!("a caller broke: {error}")),
            },
            Some(session) = session(&mut mind) => crowd.on_session(session),
            () = tokio::time::sleep_until(next.into()), if is_next => crowd.begin(),
            _ = looks.tick() => {
                crowd.ledger.look(crowd.figures.counts.held);
                progress(crowd.progress());
            }
        }
        if crowd.begun == crowd.total && crowd.calls.is_empty() {
            over.get_or_insert_with(clock::now);
        }
    }
    crowd.finish().await
}

/// The next session of the built-in model that has ended, if there is such a model.
async fn session(mind: &mut Option<&mut Mind>) -> Option<SessionLog> {
    match mind {
        Some(mind) => mind.ended().await,
        None => std::future::pending().await,
    }
}

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    looks
}

impl<'a> Crowd<'a> {
    fn new(ground: &'a Ground, place: &'a Place, round: Round) -> Self {
        let (plan, size, started) = (&ground.plan, round.size, clock::now());
        let ramp = Duration::from_secs_f64(f64::from(size.saturating_sub(1)) / plan.ramp);
        let from = started + ramp + plan.warm_up;
        let (total, to) = match round.shape {
            Shape::Steady { duration } => (size, from + duration),
            // Rounds of calls as they come, and some time for each to be set up.
            Shape::Series { total, each } => {
                let rounds = total.div_ceil(size.max(1));
                (total, started + ramp + (each + SERIES_PAUSE) * rounds)
            }
        };
        Self {
            ground,
            place,
            round,
            total,
            begun: 0,
            started,
            window: Window { from, to },
            calls: FuturesUnordered::new(),
            callers: HashMap::new(),
            sessions: HashMap::new(),
            figures: Figures::default(),
            ledger: Ledger::new(place.process),
        }
    }

    /// When the next call begins, and whether it may.
    fn next(&self) -> (Instant, bool) {
        let at = Duration::from_secs_f64(f64::from(self.begun) / self.ground.plan.ramp);
        let live = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        (self.started + at, self.begun < self.total && live < self.round.size)
    }

    fn begin(&mut self) {
        let number = self.begun;
        self.begun += 1;
        self.figures.counts.begun += 1;
        let room = format!("load-{number}");
        let whip = self.place.whip.replace("{n}", &number.to_string());
        let Ok(whip) = Url::parse(&whip) else {
            return self.figures.fail(format!("{whip} is no URL"));
        };
        let (errand, api) = (self.errand(number, whip), self.place.api.clone());
        self.calls.push(tasks::spawn("load's call", hold(number, errand, api, room)));
    }

    fn errand(&self, number: u32, whip: Url) -> Errand {
        let plan = &self.ground.plan;
        let manner =
            Manner { barge_in_percent: plan.barge_in_percent, is_greeted: plan.is_greeted };
        let lengths = self.ground.talk.sentences.iter().map(|said| said.packets.len()).collect();
        let dice = Dice::new(plan.seed, u64::from(number));
        // Evenly over the 20 ms, whatever the number of calls: by the golden ratio.
        let phase = Duration::from_millis(FRAME_MS).mul_f64((f64::from(number) * GOLDEN).fract());
        Errand {
            http: self.ground.http.clone(),
            identity: self.ground.identity.clone(),
            whip,
            token: self.place.token.clone(),
            bind: self.place.bind,
            talk: self.ground.talk.clone(),
            script: Script::new(dice, manner, lengths),
            road: plan.road.clone().map(|road| (road, plan.seed ^ u64::from(number))),
            dtx: plan.dtx,
            until: match self.round.shape {
                Shape::Steady { .. } => Until::At(self.window.to),
                Shape::Series { each, .. } => Until::After(each),
            },
            phase: self.started + phase,
        }
    }

    fn on_ended(&mut self, ended: Ended) {
        self.figures.counts.errors += ended.errors;
        match ended.held {
            Ok(log) => {
                self.callers.insert(ended.number, log);
                self.pair(ended.number);
            }
            Err(failure) if failure.is_refusal() => self.figures.counts.refused += 1,
            Err(failure) => self.figures.fail(failure.to_string()),
        }
    }

    fn on_session(&mut self, session: SessionLog) {
        let Some(number) = session.call else { return };
        let joined = match self.sessions.remove(&number) {
            Some(before) => before.and(session),
            None => session,
        };
        self.sessions.insert(number, joined);
        self.pair(number);
    }

    /// Counts a call as soon as both of its ends have told.
    fn pair(&mut self, number: u32) {
        if self.place.api.is_some() && !self.sessions.contains_key(&number) {
            return;
        }
        let Some(caller) = self.callers.remove(&number) else { return };
        let session = self.sessions.remove(&number);
        let window = match self.round.shape {
            Shape::Steady { .. } => self.window,
            Shape::Series { .. } => Window { from: self.started, to: clock::now() },
        };
        tally(&mut self.figures, &self.ground.talk, &caller, session.as_ref(), window);
    }

    fn is_done(&self, over: Option<Instant>) -> bool {
        over.is_some_and(|over| self.callers.is_empty() || clock::now() > over + SESSION_MAX)
    }

    fn progress(&self) -> Progress {
        let whole = self.window.to - self.started;
        let elapsed = clock::now() - self.started;
        let live = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        let counts = self.figures.counts;
        Progress {
            calls: self.round.size,
            live,
            done: counts.held,
            failed: counts.failed,
            elapsed,
            whole,
        }
    }

    async fn finish(mut self) -> Run {
        // Whoever has called and was never heard of at the model has not been served.
        for _ in 0..self.callers.len() {
            self.figures.fail("the model has never heard of a call".to_owned());
        }
        let (over, mut left_behind) = (clock::now(), 0);
        if let Some(api) = &self.place.api {
            match api.agents().await {
                Ok(agents) => left_behind = u32::try_from(agents).unwrap_or(u32::MAX),
                Err(failure) => self.figures.failures.push(failure.to_string()),
            }
        }
        tokio::time::sleep(SETTLE).await;
        self.ledger.look(self.figures.counts.held);
        let (window, live) = match self.round.shape {
            Shape::Steady { .. } => (self.window, self.figures.counts.held),
            Shape::Series { .. } => (Window { from: self.started, to: over }, self.round.size),
        };
        let is_series = matches!(self.round.shape, Shape::Series { .. });
        let seconds = (window.to - window.from).as_secs_f64();
        let (gateway, generator) = self.ledger.costs(window, live, is_series);
        self.figures.counts.left_behind = left_behind;
        let run = self.figures.into_run(self.round.size, seconds);
        Run { gateway, generator, ..run }
    }
}

/// Holds one call: an agent in a room, and a caller who comes into it.
async fn hold(number: u32, errand: Errand, api: Option<Api>, room: String) -> Ended {
    let Some(api) = api else {
        return Ended { number, held: caller::call(errand).await, errors: 0 };
    };
    let agent = match api.agent(number, &format!("rooms/{room}")).await {
        Ok(agent) => agent,
        Err(failure) => return Ended { number, held: Err(failure), errors: 0 },
    };
    let held = caller::call(errand).await;
    match agent.end().await {
        Ok(errors) => Ended { number, held, errors },
        Err(failure) => Ended { number, held: held.and(Err(failure)), errors: 0 },
    }
}

/// Loopback for loopback, and otherwise the address from which the host is reached.
pub(super) fn local_address(url: &str) -> IpAddr {
    let url = Url::parse(&url.replace("{n}", "0")).ok();
    let addresses = url.and_then(|url| url.socket_addrs(|| None).ok()).unwrap_or_default();
    let from = addresses.into_iter().find_map(|to| {
        let any: IpAddr = if to.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        // To connect a datagram socket sends nothing; it asks the system for the way.
        let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    from.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// Between two looks at what the processes use.
const LOOK: Duration = Duration::from_millis(500);
/// From the end of a call to the end of its session.
const SESSION_MAX: Duration = Duration::from_secs(10);
/// After the last call, until the gateway has put away what it held.
const SETTLE: Duration = Duration::from_secs(1);
/// About how long a call takes to be set up; for the progress bar only.
const SERIES_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_called_from_loopback() {
        assert_eq!(local_address("http://127.0.0.1:8080/rooms/{n}/whip"), Ipv4Addr::LOCALHOST);
        assert_eq!(local_address("no url"), Ipv4Addr::LOCALHOST);
    }
}
