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

mod call;
mod clients;
mod command;
mod ending;
mod event;
mod lifecycle;
mod limits;
mod output;
mod spec;
#[cfg(test)]
mod tests;
mod tools;
mod transcript;
mod turn;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use call::{Call, Heard};
use clients::Clients;
use ending::End;
use lifecycle::{Lifecycle, Step};
use tools::{Request, Tools};
use turn::{Time, Turn, error};

pub use command::{Command, ContextUpdate, Deadline, JoinRequest, Rejection, ToolResult};
pub use event::{
    EdgeKind, Event, ModelEvent, ModelFailure, Participant, PlaybackEvent, ResponseOutcome,
    RoomEvent, RoomFailure, SpeechEdge,
};
pub use limits::Limits;
pub use output::{
    Activity, CallStage, CallView, ModelAction, Notification, Output, Phase, Role, RoomAction,
    Snapshot, SpeakStatus, ToolCancel, VoiceStatus,
};
pub use spec::{AgentRecord, AgentSpec, ModelSpec, ToolSpec};
pub use transcript::{Line, Transcript};

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
    tools: Tools,
    /// The newest context, for the next call.
    context: Option<ContextUpdate>,
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
            tools: Tools::default(),
            context: None,
            muted: false,
            told: Activity::Idle,
            outputs: Outputs::new(),
        }
    }

    /// Does what a client asks, or refuses it and changes nothing.
    pub fn handle_command(&mut self, command: Command, now: Instant) -> Result<(), Rejection> {
        self.check_drained();
        if self.phase() == Phase::Ended {
            return Err(Rejection::InvalidState { phase: Phase::Ended.as_str() });
        }
        let limits = Arc::clone(&self.limits);
        let time = Time { now, limits: &limits };
        self.carry_out(command, time)?;
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
        match event {
            Event::ClientConnected(client) => self.on_client(client),
            Event::ClientDisconnected(client) => {
                self.clients.on_disconnected(&client, &limits, now);
            }
            Event::Room(event) => self.on_room(event, time),
            Event::Model(event) => self.on_model(event, time),
            Event::Speech(edge) => {
                if let Some(call) = self.call.in_call() {
                    call.keep_awake(now, &limits);
                    call.on_speech(&edge, time, &mut self.outputs);
                }
            }
            Event::Playback(event) => self.on_playback(event, time),
            Event::Shutdown => self.lease = Lease::Draining(now + limits.shutdown_grace),
        }
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
        if let Lease::Until(at) = self.lease
            && at <= now
        {
            return self.end(End::Expired, time);
        }
        self.call.handle_timeout(time, &mut self.outputs);
        self.tools.handle_timeout(now, &mut self.outputs);
        let abandoned = self.clients.handle_timeout(&limits, now);
        if self.clients.deserted() {
            self.call.leave("abandoned", time, &mut self.outputs);
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
        let lease = match self.lease {
            Lease::Open => None,
            Lease::Until(at) => Some((at, "time to live")),
            Lease::Draining(at) => Some((at, "shutdown")),
        };
        [lease, self.clients.poll_timeout(), self.call.poll_timeout(), self.tools.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
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
        let turn = match &self.call {
            Call::In(call) => call.dialogue.turn(),
            Call::Out | Call::Joining { .. } | Call::Leaving { .. } => &Turn::Listening,
        };
        match turn {
            Turn::Speaking { .. } => Activity::Acting,
            Turn::Listening | Turn::Hearing(_) | Turn::Thinking { .. } if !self.tools.is_idle() => {
                Activity::Acting
            }
            Turn::Thinking { .. } => Activity::Thinking,
            Turn::Listening | Turn::Hearing(_) => Activity::Idle,
        }
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

    /// What was said in the call so far, if there is one.
    #[must_use]
    pub fn transcript(&self) -> Option<&Transcript> {
        match &self.call {
            Call::In(call) => Some(&call.transcript),
            Call::Leaving { call, .. } => call.as_ref().map(|call| &call.transcript),
            Call::Out | Call::Joining { .. } => None,
        }
    }

    fn carry_out(&mut self, command: Command, time: Time<'_>) -> Result<(), Rejection> {
        if let Some(call) = self.call.in_call() {
            call.keep_awake(time.now, time.limits);
        }
        match command {
            Command::Join(request) => self.join(request, time),
            Command::Leave => {
                if matches!(self.call, Call::Out | Call::Leaving { .. }) {
                    return Err(Rejection::NotInCall);
                }
                self.call.leave("requested", time, &mut self.outputs);
                Ok(())
            }
            Command::Context(update) => {
                self.on_context(update, time);
                Ok(())
            }
            Command::ToolResult(result) => {
                self.tools.on_result(result, &mut self.outputs)?;
                self.answer_tools(time);
                Ok(())
            }
            Command::Say(text) => {
                let call = self.call.in_call().ok_or(Rejection::NotInCall)?;
                let words = Pii::new(format!("Say exactly: \"{}\"", text.expose()));
                call.dialogue.respond(Some(words), time, &mut self.outputs);
                Ok(())
            }
            Command::Interrupt => {
                self.interrupt(time);
                Ok(())
            }
            Command::SetMuted(muted) => {
                self.muted = muted;
                if muted {
                    self.interrupt(time);
                }
                Ok(())
            }
            Command::Delete => {
                self.end(End::Deleted, time);
                Ok(())
            }
        }
    }

    fn join(&mut self, request: JoinRequest, time: Time<'_>) -> Result<(), Rejection> {
        if let Some(view) = self.call.view() {
            return Err(Rejection::AlreadyInCall { room_url: view.room_url });
        }
        if !self.spec.voice_enabled {
            return Err(Rejection::VoiceNotEnabled);
        }
        if self.phase() != Phase::Connected || matches!(self.lease, Lease::Draining(_)) {
            return Err(Rejection::InvalidState { phase: self.phase().as_str() });
        }
        self.call.on_join(request, time, &mut self.outputs);
        Ok(())
    }

    fn interrupt(&mut self, time: Time<'_>) {
        if let Some(call) = self.call.in_call() {
            call.dialogue.interrupt(time, &mut self.outputs);
        }
        self.tools.cancel_all(ToolCancel::Interrupted, &mut self.outputs);
    }

    fn on_client(&mut self, client: crate::ids::ClientId) {
        self.clients.on_connected(client);
        self.step(Step::ClientConnected, "a client has connected");
    }

    /// New context replaces the one before; in a call the model hears of it at once.
    fn on_context(&mut self, update: ContextUpdate, time: Time<'_>) {
        if let Some(call) = self.call.in_call() {
            self.outputs.push_back(add_context(&update));
            if update.triggering {
                call.dialogue.respond(None, time, &mut self.outputs);
            }
        }
        self.context = Some(update);
    }

    fn on_room(&mut self, event: RoomEvent, time: Time<'_>) {
        let outputs = &mut self.outputs;
        match event {
            RoomEvent::Joined { participants } => {
                self.call.on_joined(participants, &self.spec, time, outputs);
            }
            RoomEvent::Failed(failure) => self.call.on_failed(&failure, outputs),
            RoomEvent::ParticipantJoined(new) => self.call.on_participant_joined(new, outputs),
            RoomEvent::ParticipantLeft(id) => self.call.on_participant_left(&id, time, outputs),
            RoomEvent::Left => self.call.on_left(outputs),
        }
    }

    fn on_model(&mut self, event: ModelEvent, time: Time<'_>) {
        match event {
            ModelEvent::Ready => self.on_model_ready(),
            ModelEvent::Failed(failure) => {
                self.call.on_model_failed(&failure, time, &mut self.outputs);
            }
            ModelEvent::ToolCall { id, name, arguments_json } => {
                let request = Request { id, name, arguments_json };
                let declared = &self.spec.tools;
                self.tools.on_call(request, declared, time.now, &mut self.outputs);
            }
            ModelEvent::Complaint { code, message } => {
                let message = format!("{code}: {message}");
                self.outputs.push_back(error("MODEL_COMPLAINT", message));
            }
            ModelEvent::SpeechStarted { .. }
            | ModelEvent::SpeechStopped { .. }
            | ModelEvent::Transcript { .. }
            | ModelEvent::ResponseStarted { .. }
            | ModelEvent::Words { .. }
            | ModelEvent::ResponseDone { .. } => self.on_talk(event, time),
        }
    }

    /// What the model does in the conversation itself.
    fn on_talk(&mut self, event: ModelEvent, time: Time<'_>) {
        let Some(call) = self.call.in_call() else { return };
        call.keep_awake(time.now, time.limits);
        let (dialogue, outputs) = (&mut call.dialogue, &mut self.outputs);
        match event {
            ModelEvent::SpeechStarted { utterance } => dialogue.on_heard(utterance, time, outputs),
            ModelEvent::SpeechStopped { utterance } => dialogue.on_turn_over(utterance, time),
            ModelEvent::Transcript { utterance, text, is_final } => {
                let heard = Heard { utterance, text, is_final };
                call.on_transcript(heard, time, outputs);
            }
            ModelEvent::ResponseStarted { response } => {
                dialogue.on_response_started(response, time);
                if self.muted {
                    outputs.push_back(Output::Model(ModelAction::Cancel));
                }
            }
            ModelEvent::Words { utterance, text, is_final } => {
                dialogue.on_words(utterance, text, is_final, outputs);
            }
            ModelEvent::ResponseDone { response, outcome } => {
                dialogue.on_response_done(&response, &outcome, time, outputs);
                self.answer_tools(time);
            }
            ModelEvent::Ready
            | ModelEvent::Failed(_)
            | ModelEvent::ToolCall { .. }
            | ModelEvent::Complaint { .. } => {}
        }
    }

    /// The model listens: it learns what the clients have told so far.
    fn on_model_ready(&mut self) {
        if self.call.on_model_ready() {
            self.outputs.extend(self.context.as_ref().map(add_context));
        }
    }

    fn on_playback(&mut self, event: PlaybackEvent, time: Time<'_>) {
        let Some(call) = self.call.sounding() else { return };
        call.keep_awake(time.now, time.limits);
        if let Some(text) = call.dialogue.on_playback(event, time, &mut self.outputs) {
            let at_ms = call.at_ms(time.now);
            call.transcript.push(Line { participant: None, text, at_ms });
        }
    }

    /// Lets the model speak to its tools' results, once all of them are there.
    fn answer_tools(&mut self, time: Time<'_>) {
        let Some(call) = self.call.in_call() else { return };
        if self.tools.take_owed_answer() {
            call.dialogue.respond(None, time, &mut self.outputs);
        }
    }

    /// Brings the life cycle and what clients know up to what has become of the machines.
    fn settle(&mut self, time: Time<'_>) {
        if self.phase() == Phase::Ended {
            return;
        }
        self.answer_tools(time);
        if self.call.in_call().is_none() {
            self.tools.cancel_all(ToolCancel::Ended, &mut self.outputs);
        }
        if self.drained(time.now) {
            return self.end(End::Shutdown, time);
        }
        let busy = !matches!(self.call, Call::Out);
        match (self.phase(), busy) {
            (Phase::Connected, true) => self.step(Step::WorkBegan, "a call has begun"),
            (Phase::Active, false) => self.step(Step::WorkEnded, "the call is over"),
            _ => {}
        }
        if self.phase() == Phase::Connected && self.clients.deserted() {
            self.step(Step::Deserted, "no client came back");
        }
        let activity = self.activity();
        if activity != self.told {
            self.told = activity;
            self.outputs.push_back(Output::Notify(Notification::Status(activity)));
        }
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

fn add_context(update: &ContextUpdate) -> Output {
    let ContextUpdate { name, description, context_json, .. } = update;
    let (description, context) = (description.expose(), context_json.expose());
    let text = Pii::new(format!("{name}: {description}\nContext: {context}"));
    Output::Model(ModelAction::AddText { role: Role::System, text })
}
