//! A world of agents, made from a seed: who comes, what is asked, what happens, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use callbridge::agent::{
    Activity, AgentSpec, Baggage, Command, Event, Limits, Memory, Phase, ToolSpec,
};
use callbridge::ids::AgentId;
use callbridge::sys::clock;

use super::body::{Around, Body, Input};
use super::random::Random;
use super::shell::{Exit, Manners, Room, Shell};
use super::watch::Records;

/// All agents, and what is on its way between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) around: Around,
    pub(crate) bodies: Vec<Body>,
    parcels: Vec<Parcel>,
    /// Who serves which user of which owner.
    claims: BTreeMap<(u64, u64), AgentId>,
    serial: u64,
}

/// A conversation on its way from one agent to another.
#[derive(Debug)]
struct Parcel {
    to: AgentId,
    baggage: Box<Baggage>,
    room: Option<Room>,
}

impl World {
    pub(crate) fn new(seed: u64, is_logged: bool) -> Self {
        let mut random = Random::new(seed);
        let manners = Manners {
            rooms_are_prompt: random.one_in(2),
            voice_is_slow: random.one_in(3),
            post_is_slow: random.one_in(3),
        };
        let now = clock::now();
        let around = Around {
            start: now,
            now,
            step: 0,
            random,
            manners,
            records: Records::default(),
            reached: BTreeSet::new(),
            log: is_logged.then(Default::default),
        };
        Self { around, bodies: Vec::new(), parcels: Vec::new(), claims: BTreeMap::new(), serial: 0 }
    }

    /// Something happens, somewhere.
    pub(crate) fn step(&mut self) {
        self.around.step += 1;
        if self.around.random.one_in(2) {
            self.around.now += Duration::from_millis(self.around.random.below(400));
        }
        self.wake();
        let kind = self.around.random.below(100);
        let is_few = self.bodies.is_empty() || (kind < 3 && self.bodies.len() < BODIES_MAX);
        if is_few {
            return self.create(None);
        }
        match kind {
            3..8 => self.advance(),
            8..11 => self.hand_off(),
            11 => self.deliver(),
            _ => self.stir(kind),
        }
    }

    /// One agent, or something around it, does something.
    fn stir(&mut self, kind: u64) {
        let end = u64::try_from(self.bodies.len()).unwrap_or(1);
        let at = usize::try_from(self.around.random.below(end)).unwrap_or(0);
        let number = self.next();
        let (body, around) = (&mut self.bodies[at], &mut self.around);
        match kind {
            20..26 => body.come_or_go(number, around),
            26..44 => body.ask(number, around),
            44..52 => body.stir_room(number, around),
            52..62 => body.stir_ear(around),
            62..85 => body.stir_mind(number, around),
            85..99 => body.stir_voice(around),
            _ if around.random.one_in(20) => {
                body.feed(Input::Event(Event::Shutdown), around);
            }
            _ => {}
        }
        self.bury();
    }

    /// Everybody whose deadline has passed is woken, some of them late.
    fn wake(&mut self) {
        for body in &mut self.bodies {
            let next = body.agent.poll_timeout();
            let is_due = next.is_some_and(|(at, _)| at <= self.around.now);
            if is_due && !self.around.random.one_in(8) {
                body.feed(Input::Timeout, &mut self.around);
            }
        }
        self.bury();
    }

    /// Time jumps: to just before the next deadline of somebody, to it, or far beyond it.
    fn advance(&mut self) {
        let random = &mut self.around.random;
        let next = random.pick(&self.bodies).agent.poll_timeout();
        let now = self.around.now;
        let next = next.map_or(now, |(at, _)| at);
        let to = match random.below(40) {
            0 => now + Duration::from_secs(25 * 60 * 60),
            1..4 => now + Duration::from_secs(random.below(600)),
            4..20 => next.checked_sub(Duration::from_millis(1)).unwrap_or(next),
            20..36 => next,
            _ => next + Duration::from_millis(random.below(20_000)),
        };
        let is_soon = to < now + Duration::from_secs(120) || random.one_in(8);
        if is_soon {
            self.around.now = to.max(now);
        }
        self.wake();
    }

    /// As the registry: one live agent for each user of an owner.
    fn create(&mut self, owner: Option<u64>) {
        let number = self.next();
        let random = &mut self.around.random;
        let is_heir = owner.is_some();
        let owner = owner.unwrap_or_else(|| random.below(2));
        let user = (!is_heir && random.one_in(2)).then(|| random.below(2));
        let id = AgentId::new(format!("ag{number}"));
        if let Some(user) = user {
            if self.claims.contains_key(&(owner, user)) {
                return;
            }
            self.claims.insert((owner, user), id.clone());
        }
        let lives_long = random.one_in(2);
        let ttl = Duration::from_secs(5 + random.below(900));
        let expires = (!lives_long).then(|| self.around.now + ttl);
        let limits = Limits { rounds_max: ROUNDS_MAX, ..Limits::default() };
        let spec = spec(random);
        let mut body = Body::new(id, spec, limits, expires, self.around.now);
        (body.owner, body.user) = (owner, user);
        self.bodies.push(body);
    }

    /// As the runtime: the heir is made ready, then the first is asked to pass everything on.
    fn hand_off(&mut self) {
        let end = u64::try_from(self.bodies.len()).unwrap_or(1);
        let from = usize::try_from(self.around.random.below(end)).unwrap_or(0);
        let (owner, user) = (self.bodies[from].owner, self.bodies[from].user);
        if self.around.random.one_in(2) && self.bodies.len() < BODIES_MAX {
            self.create(Some(owner));
        }
        let Some(to) = (0..self.bodies.len()).rev().find(|at| {
            let heir = &self.bodies[*at];
            *at != from && heir.owner == owner && (user.is_none() || heir.user.is_none())
        }) else {
            return;
        };
        let heir = self.bodies[to].id.clone();
        let expect = Input::Command(Command::ExpectHandoff);
        if !self.bodies[to].feed(expect, &mut self.around) {
            return;
        }
        let command = Command::HandOff { to: heir, reason: "test".into(), context: None };
        self.bodies[from].feed(Input::Command(command), &mut self.around);
        self.bury();
    }

    /// Takes out who has ended, passes on what they leave, and frees what they held.
    fn bury(&mut self) {
        while let Some(at) = self.next_to_bury() {
            let mut body = self.bodies.swap_remove(at);
            assert_eq!(body.agent.phase(), Phase::Ended, "only who has ended is gone");
            assert_eq!(body.agent.poll_timeout(), None, "the dead wait for nothing");
            let Shell { room, mind, exit, parcel, .. } = &mut body.shell;
            let heir = match exit.take() {
                Some(Exit::Forgotten(Memory::Heir(heir))) => Some(heir),
                _ => None,
            };
            assert_eq!(parcel.is_some(), heir.is_some(), "who has an heir has passed it all on");
            if let (Some(to), Some(baggage)) = (heir.clone(), parcel.take()) {
                let room = baggage.has_call().then(|| room.take()).flatten();
                self.parcels.push(Parcel { to, baggage, room });
            }
            assert!(room.is_none(), "a room outlives its agent");
            assert!(mind.is_none(), "a model's session outlives its agent");
            self.free(&body, heir);
        }
        self.check_claims();
        if !self.around.manners.post_is_slow && self.around.random.one_in(4) {
            self.deliver();
        }
    }

    /// Two may go at a time, of which one is the other's heir: it comes last.
    fn next_to_bury(&self) -> Option<usize> {
        let is_gone = |body: &Body| body.shell.exit.is_some();
        let passes_on = |body: &Body| is_gone(body) && body.shell.parcel.is_some();
        let first = self.bodies.iter().position(passes_on);
        first.or_else(|| self.bodies.iter().position(is_gone))
    }

    fn free(&mut self, body: &Body, heir: Option<AgentId>) {
        if self.parcels.iter().any(|parcel| parcel.to == body.id) {
            self.around.records.lose(&body.id);
        }
        self.around.records.check_closed_by(&body.id);
        let Some(user) = body.user else { return };
        self.claims.remove(&(body.owner, user));
        let heir = heir.and_then(|id| self.bodies.iter_mut().find(|body| body.id == id));
        if let Some(heir) = heir {
            assert_eq!(heir.user.replace(user), None, "an heir serves one user");
            self.claims.insert((body.owner, user), heir.id.clone());
        }
    }

    /// At most one live agent serves a user, and every claim is a live agent's.
    fn check_claims(&self) {
        let served = self.bodies.iter().filter_map(|body| Some((body.owner, body.user?)));
        let mut served: Vec<_> = served.collect();
        served.sort_unstable();
        assert_eq!(served, self.claims.keys().copied().collect::<Vec<_>>(), "who serves whom");
    }

    /// What was passed on arrives, if there is still somebody to take it.
    fn deliver(&mut self) {
        let Some(Parcel { to, baggage, room }) = self.parcels.pop() else { return };
        let Some(body) = self.bodies.iter_mut().find(|body| body.id == to) else {
            return self.around.records.lose(&to);
        };
        let is_out = body.agent.snapshot().call.is_none();
        if room.is_some() && body.shell.room.is_none() && is_out {
            body.shell.room = room;
            body.shell.is_leaving = false;
            body.watch.set_room(true);
            let others = body.shell.room.iter().flat_map(|room| &room.others);
            body.reference.expect_others(others.map(|other| other.id.clone()));
        }
        body.feed(Input::Event(Event::TakenOver(baggage)), &mut self.around);
        let is_lost = body.shell.room.is_some() && body.agent.snapshot().call.is_none();
        assert!(!is_lost || body.shell.exit.is_some(), "nobody holds the room that has come");
        self.bury();
    }

    /// Lets time alone go on until nothing is to come: then nothing may be left over.
    pub(crate) fn come_to_rest(&mut self) {
        while !self.parcels.is_empty() {
            self.deliver();
        }
        for _ in 0..RESTING_STEPS_MAX {
            let next = self.bodies.iter().filter_map(|body| body.agent.poll_timeout()).min();
            let Some((at, _)) = next else { break };
            self.around.now = self.around.now.max(at);
            self.wake();
        }
        for body in &self.bodies {
            let is = body.agent.snapshot();
            assert_eq!(body.agent.poll_timeout(), None, "it never comes to rest");
            assert!(is.clients > 0 && is.call.is_none(), "it rests, and only for its clients");
            assert_eq!((is.phase, is.activity), (Phase::Connected, Activity::Idle));
            assert!(body.shell.mind.is_none(), "a session is open for nothing");
        }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

/// An agent with a quick tool and a slow one.
pub(crate) fn spec(random: &mut Random) -> AgentSpec {
    let tool = |name: &str, seconds| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters_json: "{}".into(),
        timeout: Duration::from_secs(seconds),
        filler: (name == "slow").then(|| "One moment.".into()),
    };
    let mut spec = AgentSpec {
        name: "Ada".into(),
        voice_enabled: !random.one_in(8),
        tools: vec![tool("instant", 0), tool("quick", 5), tool("slow", 400)],
        ..AgentSpec::default()
    };
    spec.model.greeting = random.one_in(2).then(|| "Hello.".into());
    spec
}

/// Agents that live at a time.
const BODIES_MAX: usize = 6;

/// Few, so that the bound is reached.
const ROUNDS_MAX: u32 = 2;

/// More deadlines than any world has.
const RESTING_STEPS_MAX: usize = 1_000;
