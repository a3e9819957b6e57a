//! What an agent must be after each input: written from the contract (section 4), not from the
//! code. It knows the lifecycle, the call's stages, the open tools, and the deadlines of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use callbridge::agent::{
    Activity, AgentSpec, CallStage, Command, Event, Limits, ModelEvent, Phase, PlaybackEvent,
    RoomEvent, Snapshot,
};
use callbridge::ids::{ClientId, ParticipantId, ToolCallId};

/// The agent as it must be.
#[derive(Debug)]
pub(crate) struct Reference {
    limits: Limits,
    spec: AgentSpec,
    phase: Phase,
    call: Stage,
    tools: BTreeMap<ToolCallId, Instant>,
    /// Cancelled calls that a client may still confirm.
    cancelled: VecDeque<ToolCallId>,
    clients: BTreeSet<ClientId>,
    absence: Absence,
    expires: Option<Instant>,
    drains: Option<Instant>,
    /// The latest input may have ended what the agent was at.
    may_rest: bool,
    expects: Option<Instant>,
    parting: Option<Instant>,
    /// Who is in the room.
    others: BTreeSet<ParticipantId>,
    /// When it has been alone for too long.
    alone_at: Option<Instant>,
    /// Sayings that wait for a model.
    sayings: usize,
}

/// Where it is with its call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Out,
    Joining(Instant),
    In { mind: Mind, idle_at: Instant },
    Leaving(Instant),
}

/// Whether its model listens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mind {
    Closed,
    Opening(Instant),
    Ready,
    Restoring(Instant),
}

/// For how long there has been no client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Absence {
    None,
    Grace(Instant),
    Long(Instant),
}

impl Reference {
    pub(crate) fn new(
        spec: AgentSpec,
        limits: Limits,
        expires: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            absence: Absence::Long(now + limits.inactive),
            limits,
            spec,
            phase: Phase::Created,
            call: Stage::Out,
            tools: BTreeMap::new(),
            cancelled: VecDeque::new(),
            clients: BTreeSet::new(),
            expires,
            drains: None,
            may_rest: false,
            expects: None,
            parting: None,
            others: BTreeSet::new(),
            alone_at: None,
            sayings: 0,
        }
    }

    /// How a command is to be answered; if with a code, then nothing has changed.
    pub(crate) fn on_command(
        &mut self,
        command: &Command,
        now: Instant,
    ) -> Result<(), &'static str> {
        if self.is_over() || self.parting.is_some() {
            return Err("INVALID_STATE");
        }
        self.may_rest = !matches!(command, Command::Context(_) | Command::Say(_));
        match command {
            Command::Join(_) => self.on_join(now)?,
            Command::Leave => match self.call {
                Stage::Joining(_) | Stage::In { .. } => self.leave(now),
                Stage::Out | Stage::Leaving(_) => return Err("NOT_IN_CALL"),
            },
            Command::ToolResult(result) => {
                if self.tools.remove(&result.id).is_none() {
                    let confirmed = self.cancelled.iter().position(|id| *id == result.id);
                    let at = confirmed.filter(|_| result.canceled).ok_or("UNKNOWN_TOOL_CALL")?;
                    self.cancelled.remove(at);
                }
            }
            Command::Say(_) => self.on_say()?,
            Command::Interrupt | Command::SetMuted(true) => {
                self.sayings = 0;
                self.cancel_tools();
            }
            Command::Reconfigure { spec, expires_at } => {
                if self.phase == Phase::Active {
                    return Err("AGENT_BUSY");
                }
                if self.drains.or(self.expires).is_some_and(|at| at <= now) {
                    return Err("INVALID_STATE");
                }
                self.spec = spec.as_deref().unwrap_or(&self.spec).clone();
                self.expires = expires_at.unwrap_or(self.expires);
            }
            Command::HandOff { .. } => self.on_handoff(now)?,
            Command::ExpectHandoff => {
                let is_free = self.call == Stage::Out && self.expects.is_none();
                if !is_free || self.drains.is_some() {
                    return Err("AGENT_BUSY");
                }
                self.expects = Some(now + self.limits.handoff);
            }
            Command::Delete => self.part(now),
            Command::Context(_) | Command::SetMuted(false) => {}
        }
        self.keep_awake(now);
        self.end_if_drained(now);
        Ok(())
    }

    /// What is to be said waits for a model, but not without a bound.
    fn on_say(&mut self) -> Result<(), &'static str> {
        match self.call {
            Stage::In { mind: Mind::Closed | Mind::Opening(_), .. } if self.sayings == 4 => {
                Err("QUEUE_FULL")
            }
            Stage::In { mind: Mind::Closed | Mind::Opening(_), .. } => {
                self.sayings += 1;
                Ok(())
            }
            Stage::In { .. } => Ok(()),
            Stage::Out | Stage::Joining(_) | Stage::Leaving(_) => Err("NOT_IN_CALL"),
        }
    }

    fn on_join(&mut self, now: Instant) -> Result<(), &'static str> {
        if self.call != Stage::Out {
            return Err("ALREADY_IN_CALL");
        }
        if !self.spec.voice_enabled {
            return Err("VOICE_NOT_ENABLED");
        }
        let is_held = matches!(self.phase, Phase::Connected | Phase::Active);
        if !is_held || self.expects.is_some() || self.drains.is_some() {
            return Err("INVALID_STATE");
        }
        self.call = Stage::Joining(now + self.limits.joining);
        Ok(())
    }

    /// Nobody hands on what is still to come, nor from the door of a room.
    fn on_handoff(&mut self, now: Instant) -> Result<(), &'static str> {
        let is_held = matches!(self.phase, Phase::Connected | Phase::Active);
        let is_between = matches!(self.call, Stage::Joining(_) | Stage::Leaving(_));
        if !is_held || is_between || self.expects.is_some() || self.drains.is_some() {
            return Err("INVALID_STATE");
        }
        self.phase = Phase::HandingOff;
        self.part(now);
        Ok(())
    }

    /// What follows from an event. `is_wanted` says of a tool call that its answer counts.
    pub(crate) fn on_event(&mut self, event: &Event, is_wanted: bool, now: Instant) {
        let is_client = matches!(event, Event::ClientConnected(_) | Event::ClientDisconnected(_));
        self.may_rest = !is_client && !matches!(event, Event::Shutdown);
        match event {
            Event::ClientConnected(client) => {
                self.clients.insert(client.clone());
                self.absence = Absence::None;
            }
            Event::ClientDisconnected(client) => {
                if self.clients.remove(client) && self.clients.is_empty() {
                    self.absence = Absence::Grace(now + self.limits.client_grace);
                }
            }
            Event::Room(RoomEvent::Joined { participants }) => {
                self.others = participants.iter().map(|one| one.id.clone()).collect();
                self.count_others(now);
                self.enter(Mind::Opening(now + self.limits.model_opening), now);
            }
            Event::Room(RoomEvent::ParticipantJoined(new)) => {
                self.others.insert(new.id.clone());
                self.count_others(now);
                if self.parting.is_none() {
                    let opening = Mind::Opening(now + self.limits.model_opening);
                    self.set_mind(|mind| if mind == Mind::Closed { opening } else { mind });
                }
            }
            Event::Room(RoomEvent::ParticipantLeft { id, .. }) => {
                if self.others.remove(id) {
                    self.count_others(now);
                }
                if self.others.is_empty() {
                    self.set_mind(|_| Mind::Closed);
                }
            }
            Event::Room(
                RoomEvent::Quality { .. } | RoomEvent::Speaking { .. } | RoomEvent::Message { .. },
            ) => {}
            Event::Room(RoomEvent::Failed(_) | RoomEvent::Left) => self.set_call(Stage::Out),
            Event::Model(event) => self.on_model(event, is_wanted, now),
            Event::Speech(_) => self.keep_awake(now),
            Event::Playback(event) => {
                self.keep_awake(now);
                if *event == PlaybackEvent::Silent && self.parting.is_some() {
                    self.finish();
                }
            }
            Event::TakenOver(baggage) => {
                self.expects = None;
                if self.parting.is_none() && baggage.has_call() && self.call == Stage::Out {
                    if self.clients.is_empty() {
                        self.absence = Absence::Grace(now + self.limits.client_grace);
                    }
                    self.call = Stage::Joining(now);
                    let opening = Mind::Opening(now + self.limits.model_opening);
                    self.count_others(now);
                    let is_empty = self.others.is_empty();
                    self.enter(if is_empty { Mind::Closed } else { opening }, now);
                }
            }
            Event::Shutdown => self.drains = Some(now + self.limits.shutdown_grace),
        }
        self.end_if_drained(now);
    }

    fn on_model(&mut self, event: &ModelEvent, is_wanted: bool, now: Instant) {
        match event {
            ModelEvent::Ready { .. } => {
                self.sayings = 0;
                self.set_mind(|_| Mind::Ready);
            }
            ModelEvent::Reconnecting { .. } => {
                let restoring = Mind::Restoring(now + self.limits.model_restoring);
                self.set_mind(|_| restoring);
            }
            ModelEvent::Restored => self.set_mind(|_| Mind::Ready),
            ModelEvent::Failed(_) if self.is_in() => self.leave(now),
            ModelEvent::ToolCall { id, name, .. } => {
                let tool = self.spec.tools.iter().find(|tool| tool.name == *name);
                if let (Some(tool), true, None) = (tool, is_wanted, self.parting) {
                    let deadline = now + tool.timeout.max(Duration::from_secs(1));
                    self.tools.entry(id.clone()).or_insert(deadline);
                }
            }
            ModelEvent::Failed(_) | ModelEvent::Complaint { .. } => {}
            _ => self.keep_awake(now),
        }
    }

    /// What follows from time alone.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.may_rest = true;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if self.parting.is_some() {
            if is_due(self.parting) {
                self.finish();
            }
            return;
        }
        if self.drains.is_none() && is_due(self.expires) {
            return self.part(now);
        }
        self.expects = self.expects.filter(|at| *at > now);
        match self.call {
            Stage::Joining(until) | Stage::Leaving(until) if until <= now => {
                self.set_call(Stage::Out);
            }
            Stage::In { mind, idle_at }
                if is_due(mind.until()) || is_due(self.alone_at) || idle_at <= now =>
            {
                self.leave(now);
            }
            Stage::Out | Stage::Joining(_) | Stage::In { .. } | Stage::Leaving(_) => {}
        }
        let late = self.tools.extract_if(.., |_, deadline| *deadline <= now);
        let late: Vec<_> = late.map(|(id, _)| id).collect();
        self.remember(late);
        match self.absence {
            Absence::Grace(until) if until <= now => {
                self.absence = Absence::Long(now + self.limits.inactive);
                self.leave(now);
                self.cancel_tools();
            }
            Absence::Long(until) if until <= now && self.call == Stage::Out => self.part(now),
            Absence::None | Absence::Grace(_) | Absence::Long(_) => {}
        }
        self.end_if_drained(now);
    }

    /// The time that was left before the process goes down is over.
    fn end_if_drained(&mut self, now: Instant) {
        let is_due = self.drains.is_some_and(|until| until <= now);
        if is_due && self.parting.is_none() && !self.is_over() {
            self.part(now);
        }
    }

    /// Holds the agent against what it must be; `told` is the activity that clients know of.
    pub(crate) fn check(&mut self, is: &Snapshot, told: Activity, now: Instant) {
        if let Some(until) = self.drains
            && is.phase == Phase::Ended
            && !self.is_over()
        {
            let is_at_rest = told == Activity::Idle || self.may_rest;
            assert!(is_at_rest || until <= now, "the turn ends before the agent does");
            self.finish();
        }
        if !self.is_over() && self.parting.is_none() {
            self.phase = match self.absence {
                _ if self.call != Stage::Out => Phase::Active,
                Absence::Long(_) => Phase::Created,
                _ if told != Activity::Idle => Phase::Active,
                Absence::None | Absence::Grace(_) => Phase::Connected,
            };
        }
        assert_eq!(is.phase, self.phase, "the phase");
        let stage = is.call.as_ref().map(|call| call.stage);
        assert_eq!(stage, self.stage(), "the stage of the call");
        if !self.is_over() {
            assert_eq!(is.clients, self.clients.len(), "the number of clients");
        }
    }

    pub(crate) fn open_tools(&self) -> impl Iterator<Item = &ToolCallId> {
        self.tools.keys()
    }

    pub(crate) fn is_in(&self) -> bool {
        matches!(self.call, Stage::In { .. })
    }

    pub(crate) fn is_parting(&self) -> bool {
        self.parting.is_some()
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }

    fn stage(&self) -> Option<CallStage> {
        match self.call {
            Stage::Out => None,
            Stage::Joining(_) => Some(CallStage::Joining),
            Stage::In { .. } => Some(CallStage::InCall),
            Stage::Leaving(_) => Some(CallStage::Leaving),
        }
    }

    /// Somebody has come or gone.
    fn count_others(&mut self, now: Instant) {
        self.alone_at = self.others.is_empty().then(|| now + self.limits.alone);
    }

    fn enter(&mut self, mind: Mind, now: Instant) {
        if let Stage::Joining(_) = self.call {
            self.sayings = 0;
            self.call = Stage::In { mind, idle_at: now + self.limits.idle };
        }
    }

    fn set_mind(&mut self, change: impl FnOnce(Mind) -> Mind) {
        if let Stage::In { mind, .. } = &mut self.call {
            *mind = change(*mind);
        }
    }

    fn leave(&mut self, now: Instant) {
        if matches!(self.call, Stage::Joining(_) | Stage::In { .. }) {
            self.set_call(Stage::Leaving(now + self.limits.leaving));
        }
    }

    /// The tools of a call end with it.
    fn set_call(&mut self, stage: Stage) {
        if self.is_in() {
            self.cancel_tools();
        }
        self.call = stage;
    }

    /// All work stops; who may be heard falls silent first.
    fn part(&mut self, now: Instant) {
        self.cancel_tools();
        self.parting = Some(now + self.limits.farewell);
        if !self.is_in() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.cancel_tools();
        self.call = Stage::Out;
        self.phase = Phase::Ended;
    }

    fn keep_awake(&mut self, now: Instant) {
        if let Stage::In { idle_at, .. } = &mut self.call {
            *idle_at = now + self.limits.idle;
        }
    }

    fn cancel_tools(&mut self) {
        let all = std::mem::take(&mut self.tools);
        self.remember(all.into_keys());
    }

    /// Who is in the room that comes with a conversation.
    pub(crate) fn expect_others(&mut self, others: impl Iterator<Item = ParticipantId>) {
        self.others = others.collect();
    }

    /// A client confirms within moments, so only the latest are remembered.
    fn remember(&mut self, cancelled: impl IntoIterator<Item = ToolCallId>) {
        self.cancelled.extend(cancelled);
        while self.cancelled.len() > 64 {
            self.cancelled.pop_front();
        }
    }
}

impl Mind {
    const fn until(self) -> Option<Instant> {
        match self {
            Self::Opening(until) | Self::Restoring(until) => Some(until),
            Self::Closed | Self::Ready => None,
        }
    }
}
