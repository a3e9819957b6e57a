//! PURE. The agent as a state machine: no I/O, no clock, no tasks; time is an argument.
//!
//! The shell gives it commands, events and the passing of time, one at a time, and after each of
//! them takes every output before the next:
//!
//! ```text
//! handle_command | handle_event | handle_timeout,
//! then poll_output until there is none, then poll_timeout
//! ```
//!
//! Commands may be refused; events have happened, so they may not. Everything a client can observe
//! about order is decided here.

mod answers;
mod barge_in;
mod call;
mod clients;
mod command;
mod ending;
mod event;
mod handoff;
mod heard;
mod history;
mod in_call;
mod lifecycle;
mod limits;
mod mixed;
mod noticing;
mod obeying;
mod output;
mod record;
mod recorder;
mod rounds;
mod spec;
#[cfg(test)]
mod tests;
mod tools;
mod transcript;
mod turn;
mod voice;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use answers::say;
use call::{Call, Stay};
use clients::Clients;
use ending::{End, Farewell};
use history::History;
use lifecycle::{Lifecycle, Step};
use limits::Time;
use rounds::{Desk, Rounds, Trigger};
use tools::{Resolved, Tools};
use turn::{Turn, error};

pub use command::{Command, ContextUpdate, Deadline, JoinRequest, Rejection, ToolResult};
pub use event::{
    EdgeKind, Event, LineQuality, ModelEvent, ModelFailure, Participant, PlaybackEvent,
    ResponseOutcome, RoomEvent, RoomFailure, SpeechEdge,
};
pub use handoff::Baggage;
pub use limits::Limits;
pub use output::{
    Activity, CallStage, CallView, Medium, Memory, ModelAction, Notification, Output, Phase,
    PlaybackAction, Role, RoomAction, Snapshot, SpeakStatus, ToolCancel, VoiceStatus,
};
pub use record::{RecordEntry, ToolOutcome, ToolRecord, TurnLatency, TurnRecord};
pub use spec::{
    AgentRecord, AgentSpec, BargeIn, Detector, Hearing, Listening, ModelSpec, NoiseSuppression,
    RecordingFormat, RecordingSpec, ToolSpec, TurnDetection,
};
pub use transcript::{Cut, Line, heard_words};

use crate::privacy::Pii;

type Outputs = VecDeque<Output>;

/// One agent, from its making to its end.
#[derive(Debug)]
pub struct Agent {
    spec: Arc<AgentSpec>,
    limits: Arc<Limits>,
    lifecycle: Lifecycle,
    lease: Lease,
    clients: Clients,
    call: Call,
    rounds: Rounds,
    tools: Tools,
    history: History,
    /// A word that the model is to say as soon as it can.
    owed: Option<Trigger>,
    /// Rounds that tools have begun since the last word from outside.
    rounds_alone: u32,
    /// Model sessions so far; the last one may be open.
    sessions: u32,
    /// The first session of the call, and the stay it belongs to.
    voice: Option<(u32, Stay)>,
    /// When the agent says that it waits for its tools, if nobody says anything before.
    filler_at: Option<Instant>,
    /// How it ends, as soon as it is silent.
    farewell: Option<Farewell>,
    /// Until when another agent's conversation is expected.
    expected: Option<Instant>,
    muted: bool,
    told: Activity,
    outputs: Outputs,
}

/// For how long the agent may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lease {
    /// Until somebody ends it.
    Open,
    /// Until its time to live is over.
    Until(Instant),
    /// Until the running turn is over, since the process is going down.
    Draining(Instant),
}

impl Agent {
    /// Makes an agent that lives until `expires_at`, if that is given.
    #[must_use]
    pub fn new(
        spec: Arc<AgentSpec>,
        limits: Arc<Limits>,
        expires_at: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            spec,
            lifecycle: Lifecycle::new(),
            lease: expires_at.map_or(Lease::Open, Lease::Until),
            clients: Clients::new(&limits, now),
            limits,
            call: Call::Out,
            rounds: Rounds::Closed,
            tools: Tools::default(),
            history: History::default(),
            owed: None,
            rounds_alone: 0,
            sessions: 0,
            voice: None,
            filler_at: None,
            farewell: None,
            expected: None,
            muted: false,
            told: Activity::Idle,
            outputs: Outputs::new(),
        }
    }

    /// How its calls are recorded, if they are.
    #[must_use]
    pub fn recording(&self) -> Option<&RecordingSpec> {
        self.spec.recording.as_ref()
    }

    /// Does what a client asks, or refuses it and changes nothing.
    pub fn handle_command(&mut self, command: Command, now: Instant) -> Result<(), Rejection> {
        self.check_drained();
        if self.phase() == Phase::Ended || self.farewell.is_some() {
            return Err(self.out_of_turn());
        }
        let limits = Arc::clone(&self.limits);
        let time = Time { now, limits: &limits };
        self.obey(command, time)?;
        if let Some(call) = self.call.in_call() {
            call.keep_awake(now, &limits);
        }
        self.settle(time);
        Ok(())
    }

    /// Takes note of what has happened.
    pub fn handle_event(&mut self, event: Event, now: Instant) {
        self.check_drained();
        if self.phase() == Phase::Ended {
            return;
        }
        let limits = Arc::clone(&self.limits);
        let time = Time { now, limits: &limits };
        self.notice(event, time);
        self.settle(time);
    }

    /// Does what was to be done by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.check_drained();
        if self.phase() == Phase::Ended {
            return;
        }
        let limits = Arc::clone(&self.limits);
        let time = Time { now, limits: &limits };
        if let Some(farewell) = &self.farewell {
            if farewell.until <= now {
                self.finish(time);
            }
            return;
        }
        if let Lease::Until(at) = self.lease
            && at <= now
        {
            return self.end(End::Expired, time);
        }
        self.expected = self.expected.filter(|until| *until > now);
        self.call.handle_timeout(time, &mut self.outputs);
        if self.rounds.handle_timeout(!self.tools.is_idle(), time, &mut self.outputs) {
            self.owed = Some(Trigger::Outside);
        }
        let late = self.tools.handle_timeout(now, &mut self.outputs);
        self.resolve(late, now);
        self.say_filler(time);
        let abandoned = self.clients.handle_timeout(&limits, now);
        if self.clients.deserted() {
            self.call.leave("abandoned", time, &mut self.outputs);
            self.fall_idle(ToolCancel::Ended, now);
        }
        if abandoned && matches!(self.call, Call::Out) {
            return self.end(End::Inactive, time);
        }
        self.settle(time);
    }

    /// When to call [`Self::handle_timeout`] next, and what is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.phase() == Phase::Ended {
            return None;
        }
        if let Some(farewell) = &self.farewell {
            return Some((farewell.until, "silence before the end"));
        }
        let lease = match self.lease {
            Lease::Open => None,
            Lease::Until(at) => Some((at, "time to live")),
            Lease::Draining(at) => Some((at, "shutdown")),
        };
        let expected = self.expected.map(|until| (until, "handoff"));
        let filler = self.filler_at.map(|at| (at, "silence while a tool runs"));
        let own = [lease, expected, filler, self.clients.poll_timeout()];
        let work = [
            self.call.poll_timeout(&self.limits),
            self.rounds.poll_timeout(),
            self.tools.poll_timeout(),
        ];
        own.into_iter().chain(work).flatten().min()
    }

    /// What the shell must do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where the agent is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.lifecycle.phase()
    }

    /// What the agent is busy with.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let work = match &self.call {
            Call::In(call) => match call.dialogue.turn() {
                Turn::Speaking => Activity::Acting,
                Turn::Thinking { .. } => Activity::Thinking,
                Turn::Listening | Turn::Hearing(_) => Activity::Idle,
            },
            Call::Out | Call::Joining { .. } | Call::Leaving { .. } => self.rounds.activity(),
        };
        if self.tools.is_idle() { work } else { Activity::Acting }
    }

    /// What a client may see at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: self.phase(),
            activity: self.activity(),
            call: self.call.view(),
            clients: self.clients.len(),
        }
    }

    /// The open tool calls as they were told, for a client that has come back.
    pub fn open_tool_calls(&self) -> impl Iterator<Item = &Notification> {
        self.tools.open_calls()
    }

    /// Puts resolved tool calls on record, and gives their results to the model that asked.
    fn resolve(&mut self, resolved: impl IntoIterator<Item = Resolved>, now: Instant) {
        for Resolved { request, outcome, output, asked } in resolved {
            if let Some((first, stay)) = &self.voice
                && *first <= request.session
            {
                let record = ToolRecord {
                    id: request.id.clone(),
                    name: request.name.clone(),
                    arguments_json: Pii::new(request.arguments_json),
                    outcome,
                    output: output.clone(),
                    asked_ms: stay.at_ms(asked),
                    took_ms: since_ms(asked, now),
                };
                let (call, entry) = (stay.id.clone(), RecordEntry::Tool(record));
                self.outputs.push_back(Output::Record { call, entry });
            }
            if outcome == ToolOutcome::Ended {
                continue;
            }
            if self.is_in_session() && request.session == self.sessions {
                let given = ModelAction::ToolOutput { id: request.id, output };
                self.outputs.push_back(Output::Model(given));
            } else {
                let text = format!("The tool {} has returned: {}", request.name, output.expose());
                self.history.add_news(Pii::new(text));
            }
        }
    }

    fn is_in_session(&self) -> bool {
        match &self.call {
            Call::In(call) => call.has_mind(),
            Call::Out | Call::Joining { .. } | Call::Leaving { .. } => self.rounds.is_open(),
        }
    }

    /// Stops all work outside of the call, and every tool.
    fn fall_idle(&mut self, reason: ToolCancel, now: Instant) {
        self.owed = None;
        self.rounds.close(&mut self.outputs);
        let cancelled = self.tools.cancel_all(reason, &mut self.outputs);
        self.resolve(cancelled, now);
    }

    /// Brings everything up to what has become of the machines.
    fn settle(&mut self, time: Time<'_>) {
        if self.phase() == Phase::Ended || self.farewell.is_some() {
            return;
        }
        self.settle_voice(time.now);
        self.count_round();
        if self.drained(time.now) {
            return self.end(End::Shutdown, time);
        }
        self.pay(time);
        self.settle_phase();
        let activity = self.activity();
        if activity != self.told {
            self.told = activity;
            self.outputs.push_back(Output::Notify(Notification::Status(activity)));
        }
    }

    /// The tools of a call end with it.
    fn settle_voice(&mut self, now: Instant) {
        if self.call.in_call().is_none() {
            self.end_tools_of_call(now);
        }
    }

    fn end_tools_of_call(&mut self, now: Instant) {
        if self.voice.is_some() {
            let cancelled = self.tools.cancel_all(ToolCancel::Ended, &mut self.outputs);
            self.resolve(cancelled, now);
            self.voice = None;
        }
    }

    /// Owes the model's tools an answer once all of them are resolved, but not without an end: a
    /// model that only ever hears its own tools may call them for ever.
    fn count_round(&mut self) {
        if !self.tools.take_owed_answer() {
            return;
        }
        if self.rounds_alone < self.limits.rounds_max {
            self.rounds_alone += 1;
            self.owed = self.owed.max(Some(Trigger::Tools));
        } else {
            let most = self.limits.rounds_max;
            let message = format!("the agent has gone on by itself for {most} rounds, and stops");
            self.outputs.push_back(error("TOO_MANY_ROUNDS", message));
        }
    }

    /// Gives the model what it has to hear, and lets it answer if that is owed.
    fn pay(&mut self, time: Time<'_>) {
        if self.call.in_call().is_some() {
            self.pay_in_call(time);
        } else if matches!(self.call, Call::Out)
            && !self.clients.deserted()
            && matches!(self.phase(), Phase::Connected | Phase::Active)
            && let Some(trigger) = self.owed.take()
        {
            let mut desk = Desk { history: &mut self.history, outputs: &mut self.outputs };
            if self.rounds.begin(trigger, &self.spec, &mut desk, time) {
                self.sessions += 1;
            }
        }
        self.await_filler(time);
    }

    /// In a call, what is to be answered waits until somebody is there to hear it.
    fn pay_in_call(&mut self, time: Time<'_>) {
        let may_greet = !self.muted && !matches!(self.lease, Lease::Draining(_));
        let Some(call) = self.call.in_call() else { return };
        if call.is_listening() {
            if self.history.has_news() {
                self.history.give(&mut self.outputs);
            }
            call.speak_up(may_greet, time, &mut self.outputs);
            if !call.participants.is_empty() && self.owed.take().is_some() {
                call.dialogue.owe(time, &mut self.outputs);
            }
        }
        call.dialogue.settle(time, &mut self.outputs);
    }

    /// A tool that takes longer than a moment is waited for in words, if it has any.
    fn await_filler(&mut self, time: Time<'_>) {
        let is_quiet = !self.muted && self.call.in_call().is_some_and(|call| call.is_quiet());
        let at = self.filler_at.unwrap_or(time.now + time.limits.filler);
        self.filler_at = (is_quiet && self.tools.filler().is_some()).then_some(at);
    }

    fn say_filler(&mut self, time: Time<'_>) {
        if self.filler_at.is_none_or(|at| at > time.now) {
            return;
        }
        self.filler_at = None;
        if let (Some(call), Some(words)) = (self.call.in_call(), self.tools.take_filler())
            && call.is_quiet()
        {
            call.dialogue.respond(Some(say(&words)), time, &mut self.outputs);
        }
    }

    fn settle_phase(&mut self) {
        let in_call = !matches!(self.call, Call::Out);
        let busy = in_call || self.activity() != Activity::Idle;
        match (self.phase(), busy) {
            (Phase::Connected, true) if in_call => self.step(Step::WorkBegan, "a call has begun"),
            (Phase::Connected, true) => self.step(Step::WorkBegan, "the agent is at work"),
            (Phase::Active, false) => self.step(Step::WorkEnded, "nothing is going on"),
            _ => {}
        }
        if self.phase() == Phase::Connected && self.clients.deserted() {
            self.step(Step::Deserted, "no client came back");
        }
    }

    fn out_of_turn(&self) -> Rejection {
        Rejection::InvalidState { phase: self.phase().as_str() }
    }

    fn step(&mut self, step: Step, reason: &'static str) {
        if let Some((from, to)) = self.lifecycle.take(step) {
            self.outputs.push_back(Output::Notify(Notification::State { from, to, reason }));
        }
    }

    fn check_drained(&self) {
        debug_assert!(self.outputs.is_empty(), "every output is taken before the next input");
    }
}

fn since_ms(then: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(then).as_millis()).unwrap_or(u64::MAX)
}
