//! The stage: everything that stands around one agent, on one clock that nobody waits for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::human::{FRAME, Human, Loudspeaker};
use super::script::{Ask, Fault, Script};
use super::server::{NETWORK, START_UNIX_SECONDS, Said, Server};
use super::timeline::{Timeline, arrow};
use super::{Cast, Rehearsed};
use crate::agent::{
    AgentSpec, Command, ContextUpdate, JoinRequest, Limits, Medium, ModelEvent, Notification,
    Participant, RoomEvent, RoomFailure, ToolResult,
};
use crate::ids::{CallId, ClientId, ParticipantId, ToolCallId};
use crate::media::CodecError;
use crate::models::conversation::{ConnectError, Conversation, LinkId, Output, WallClock};
use crate::models::{ModelItem, ModelProfile};
use crate::privacy::Pii;
use crate::runtime::{Core, Effect, Seed, Stimulus};

/// One agent and its world.
pub(super) struct Stage {
    script: Script,
    voice: Vec<i16>,
    start: Instant,
    now: Duration,
    core: Core,
    /// What opening and doing has shown, for the core to hear next.
    facts: VecDeque<Stimulus>,
    mind: Option<Mind>,
    minds: u32,
    server: Server,
    humans: Vec<Human>,
    loudspeaker: Option<Loudspeaker>,
    is_in_room: bool,
    clients: u32,
    calls: u32,
    is_over: bool,
    next_tick: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    queued: u64,
    timeline: Timeline,
}

/// A conversation with the server, and how many there were before it.
struct Mind {
    conversation: Conversation,
    number: u32,
}

/// Something that happens at its time.
#[derive(Debug)]
enum Happening {
    Ask(Ask),
    Fault(Fault),
    Join(usize),
    Leave(usize),
    Connected(LinkId, Result<(), u16>),
    Pong(LinkId),
    ToolReply(ToolCallId, Result<String, String>),
}

impl Stage {
    /// An agent that is asked to join at once; who is there from the beginning is there.
    pub(super) fn new(script: Script, cast: Cast, start: Instant) -> Result<Self, CodecError> {
        let Cast { human, agent, mut recorded } = cast;
        let seed = Seed {
            spec: Arc::new(script.agent.clone()),
            limits: Arc::new(Limits::default()),
            expires_at: None,
            own: ParticipantId::new("agent"),
            silero: None,
        };
        let people = script.people.iter().cloned();
        let humans = people.map(|person| Human::new(person, recorded.take(), start));
        let mut stage = Self {
            core: Core::new(seed, start),
            facts: VecDeque::new(),
            mind: None,
            minds: 0,
            server: Server::new(&script, agent),
            humans: humans.collect::<Result<_, _>>()?,
            loudspeaker: script.echo.map(Loudspeaker::new).transpose()?,
            is_in_room: false,
            clients: 0,
            calls: 0,
            is_over: false,
            next_tick: FRAME,
            queue: BTreeMap::new(),
            queued: 0,
            timeline: Timeline::default(),
            script,
            voice: human,
            start,
            now: Duration::ZERO,
        };
        stage.set_up();
        Ok(stage)
    }

    /// Lets everything happen, up to the end of the script or of the agent.
    pub(super) fn play(mut self) -> Rehearsed {
        let end = self.script.end();
        let mut at_once = 0;
        while !self.is_over {
            let next = self.next_at();
            if next > end && !self.waits_for_goodbye() {
                break;
            }
            at_once = if next > self.now { 0 } else { at_once + 1 };
            if at_once > AT_ONCE_MAX {
                self.timeline.note(self.now, "STUCK: time does not pass");
                break;
            }
            self.now = next.max(self.now);
            self.step();
            self.settle();
        }
        self.timeline.finish();
        let until = self.instant();
        let mut humans = self.humans.into_iter();
        let heard = humans.next().map(|first| first.heard(until)).unwrap_or_default();
        Rehearsed { timeline: self.timeline, lasted: self.now, heard }
    }

    /// Whether someone in the room hangs up by themselves, whatever is in the script.
    fn waits_for_goodbye(&self) -> bool {
        let is_recorded = self.humans.iter().any(Human::is_recorded);
        is_recorded && self.is_in_room && self.script.until.is_none()
    }

    fn set_up(&mut self) {
        for (at, ask) in self.script.asks.clone() {
            self.put(at, Happening::Ask(ask));
        }
        for (at, fault) in self.script.faults.clone() {
            self.put(at, Happening::Fault(fault));
        }
        for person in 0..self.humans.len() {
            let known = self.humans[person].person().clone();
            if !known.joins.is_zero() {
                self.put(known.joins, Happening::Join(person));
            }
            if let Some((at, _)) = known.leaves {
                self.put(at, Happening::Leave(person));
            }
        }
        self.ask(Ask::Connect);
        self.settle();
        self.ask(Ask::Join);
        self.settle();
    }

    fn next_at(&self) -> Duration {
        let mind = self.mind.as_ref().and_then(|mind| mind.conversation.poll_timeout());
        let timers = [self.core.poll_timeout(), mind].into_iter().flatten();
        let timers = timers.map(|at| at.saturating_duration_since(self.start));
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let others = [queued, self.server.poll_timeout()].into_iter().flatten();
        timers.chain(others).fold(self.next_tick, Duration::min)
    }

    /// One thing that is due.
    fn step(&mut self) {
        if let Some(((at, _), _)) = self.queue.first_key_value()
            && *at <= self.now
        {
            let happening = self.queue.pop_first().map(|(_, happening)| happening);
            return happening.into_iter().for_each(|happening| self.happen(happening));
        }
        if let Some((link, said)) = self.server.poll(self.now) {
            return self.hear_from_server(link, said);
        }
        if self.next_tick <= self.now {
            return self.tick();
        }
        let now = self.instant();
        if let Some(mind) = &mut self.mind
            && mind.conversation.poll_timeout().is_some_and(|at| at <= now)
        {
            return mind.conversation.handle_timeout(now);
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.feed(Stimulus::TimePassed);
        }
    }

    /// Everything that follows at once.
    fn settle(&mut self) {
        loop {
            if let Some(effect) = self.core.poll_effect() {
                self.perform(effect);
            } else if let Some(output) =
                self.mind.as_mut().and_then(|mind| mind.conversation.poll_output())
            {
                self.obey(output);
            } else if let Some(fact) = self.facts.pop_front() {
                self.feed(fact);
            } else {
                return;
            }
        }
    }

    /// 20 ms of everybody's microphones.
    fn tick(&mut self) {
        self.next_tick += FRAME;
        let mut echo = self.loudspeaker.as_mut().and_then(|speaker| speaker.echo(self.now));
        for human in &mut self.humans {
            let echo = echo.take();
            if human.is_there(self.now) && self.is_in_room {
                let packet =
                    human.packet(&self.voice, echo.as_ref(), self.now, self.start + self.now);
                self.facts.extend(packet.map(Stimulus::Packet));
            }
        }
        let at = self.instant();
        if self.humans.iter().any(|human| human.hangs_up(at)) {
            self.hang_up();
        }
    }

    /// The recorded human is gone, and their room with them.
    fn hang_up(&mut self) {
        self.is_over = true;
        if self.is_in_room {
            let id = self.humans[0].id.clone();
            let gone = RoomEvent::ParticipantLeft { id, reason: "hung up".into() };
            let closed = RoomFailure::Closed("the recording is over".into());
            self.facts.extend([gone, RoomEvent::Failed(closed)].map(Stimulus::Room));
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.instant();
        match happening {
            Happening::Ask(ask) => self.ask(ask),
            Happening::Fault(fault) => self.server.suffer(fault, self.now),
            Happening::Join(person) => {
                let who = self.participant(person);
                self.feed_if_in_room(RoomEvent::ParticipantJoined(who));
            }
            Happening::Leave(person) => {
                let known = &self.humans[person];
                let reason = known.person().leaves.clone().unwrap_or_default().1;
                let id = known.id.clone();
                self.feed_if_in_room(RoomEvent::ParticipantLeft { id, reason });
            }
            Happening::Connected(link, outcome) => {
                let Some((mind, link)) = self.mind_of(link) else { return };
                match outcome {
                    Ok(()) => mind.on_connected(link, now),
                    Err(status) => {
                        let place = "the rehearsal".to_owned();
                        let error = ConnectError::Refused { place, status, retry_after: None };
                        mind.on_refused(link, &error, now);
                    }
                }
            }
            Happening::Pong(link) => {
                if self.server.is_alive(link)
                    && let Some((mind, link)) = self.mind_of(link)
                {
                    mind.on_alive(link, now);
                }
            }
            Happening::ToolReply(id, outcome) => {
                let outcome = outcome.map(Pii::new).map_err(Pii::new);
                let result = ToolResult { id, outcome, canceled: false, respond: true };
                self.command(Command::ToolResult(result));
            }
        }
    }

    fn hear_from_server(&mut self, link: LinkId, said: Said) {
        let now = self.instant();
        if let Said::Closed(code) = &said {
            let how = code.map_or("without a goodbye".to_owned(), |code| format!("with {code}"));
            self.timeline.note(self.now, format!("model socket {} closes {how}", link.0));
        }
        if let Said::Refused(_, code) = &said {
            self.timeline.note(self.now, format!("{} refused: {code}", arrow(link)));
        }
        let Some((mind, link)) = self.mind_of(link) else { return };
        match said {
            Said::Text(text) | Said::Refused(text, _) => mind.handle_text(link, &text, now),
            Said::Closed(code) => mind.on_closed(link, code, "closed by the script", now),
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Notify(told) => self.tell(&told),
            Effect::JoinRoom(_) => {
                self.is_in_room = true;
                let there = 0..self.humans.len();
                let there = there.filter(|person| self.humans[*person].is_there(self.now));
                let participants = there.map(|person| self.participant(person)).collect();
                self.facts.push_back(Stimulus::Room(RoomEvent::Joined { participants }));
            }
            Effect::LeaveRoom => self.is_in_room = false,
            Effect::OpenModel { spec, medium } => self.open_mind(&spec, medium),
            Effect::Instruct(action) => {
                let now = self.instant();
                if let Some(mind) = &mut self.mind {
                    mind.conversation.handle_action(action, now);
                }
            }
            Effect::CloseModel => {
                if let Some(mind) = self.mind.take() {
                    let own = mind.number * LINKS_PER_MIND..(mind.number + 1) * LINKS_PER_MIND;
                    own.for_each(|link| self.server.disconnect(LinkId(link)));
                }
            }
            Effect::Hear(heard) => {
                let now = self.instant();
                if let Some(mind) = &mut self.mind {
                    mind.conversation.handle_frame(&heard.frame, now);
                }
            }
            Effect::Send(packet) => {
                self.timeline.sound(self.now);
                let now = self.instant();
                self.humans.iter_mut().for_each(|human| human.hear(&packet, now));
                if let Some(loudspeaker) = &mut self.loudspeaker {
                    loudspeaker.play(&packet, self.now);
                }
            }
            Effect::CloseClients
            | Effect::Record { .. }
            | Effect::BeginTape { .. }
            | Effect::Tape(_) => {}
            Effect::HandOver(_) | Effect::Forget(_) | Effect::Stop => self.is_over = true,
        }
    }

    fn tell(&mut self, told: &Notification) {
        self.timeline.told(self.now, told);
        if let Notification::ToolCall { id, name, .. } = told
            && let Some(reply) = self.script.tools.get(name)
        {
            let (at, outcome) = (self.now + reply.after, reply.outcome.clone());
            self.put(at, Happening::ToolReply(id.clone(), outcome));
        }
    }

    fn open_mind(&mut self, spec: &AgentSpec, medium: Medium) {
        let transcription = Some("whisper-1".to_owned());
        let profile =
            ModelProfile { transcription, ..ModelProfile::new("rehearsal", "ws://rehearsal") };
        let unix_ms = START_UNIX_SECONDS * 1_000 + u64::try_from(self.now.as_millis()).unwrap_or(0);
        let clock = WallClock { now: self.instant(), unix_ms };
        match Conversation::new(&profile, spec, medium, clock) {
            Ok(conversation) => {
                self.mind = Some(Mind { conversation, number: self.minds });
                self.minds += 1;
            }
            Err(failure) => self.facts.push_back(Stimulus::ModelLost(failure)),
        }
    }

    fn obey(&mut self, output: Output) {
        let offset = self.mind.as_ref().map_or(0, |mind| mind.number * LINKS_PER_MIND);
        let global = |link: LinkId| LinkId(link.0 + offset);
        match output {
            Output::Connect(link) => {
                let link = global(link);
                let outcome = self.server.connect(link, self.now);
                if link.0 > 1 || outcome.is_err() {
                    let how = outcome.map_or_else(
                        |status| format!(" is refused: {status}"),
                        |()| " opens".into(),
                    );
                    self.timeline.note(self.now, format!("model socket {}{how}", link.0));
                }
                self.put(self.now + NETWORK, Happening::Connected(link, outcome));
            }
            Output::Send { link, text } => {
                let link = global(link);
                self.timeline.asked(self.now, link, &text);
                self.server.take(link, &text, self.now);
            }
            Output::SendFrame { link, frame } => {
                let frame = self.mind.as_ref().and_then(|mind| mind.conversation.frame(frame));
                if let Some(frame) = frame {
                    self.server.hear(global(link), frame, self.now);
                }
            }
            Output::Ping(link) => self.put(self.now + 2 * NETWORK, Happening::Pong(global(link))),
            Output::Close(link) => self.server.disconnect(global(link)),
            Output::Item(item) => self.feed(Stimulus::Model(item)),
            Output::Ended(outcome) => {
                self.mind = None;
                if let Err(failure) = outcome {
                    let failed = ModelItem::Event(ModelEvent::Failed(failure));
                    self.feed(Stimulus::Model(failed));
                }
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Say(text) => self.command(Command::Say(Pii::new(text))),
            Ask::Interrupt => self.command(Command::Interrupt),
            Ask::Mute(is_muted) => self.command(Command::SetMuted(is_muted)),
            Ask::Context { text, triggering } => self.command(Command::Context(ContextUpdate {
                name: "event".into(),
                description: Pii::new(text),
                context_json: Pii::new("{}".into()),
                images: Vec::new(),
                triggering,
            })),
            Ask::Join => self.join(),
            Ask::Leave => self.command(Command::Leave),
            Ask::Delete => self.command(Command::Delete),
            Ask::Disconnect => {
                let gone = ClientId::new(format!("cl_{}", self.clients));
                self.feed(Stimulus::ClientGone(gone));
            }
            Ask::Connect => {
                self.clients += 1;
                let client = ClientId::new(format!("cl_{}", self.clients));
                self.feed(Stimulus::ClientConnected(client));
            }
            Ask::Shutdown => self.feed(Stimulus::Shutdown),
        }
    }

    fn join(&mut self) {
        self.calls += 1;
        let call = CallId::new(format!("call_{}", self.calls));
        let room_url = "rooms/stage".to_owned();
        let request = JoinRequest { call, room_url, token: None, participant_name: None };
        self.command(Command::Join(request));
    }

    fn command(&mut self, command: Command) {
        let now = self.instant();
        if let Err(rejection) = self.core.handle(Stimulus::Command(command), now) {
            self.timeline.note(self.now, format!("refused {}", rejection.code()));
        }
    }

    fn feed_if_in_room(&mut self, event: RoomEvent) {
        if self.is_in_room {
            self.feed(Stimulus::Room(event));
        }
    }

    fn feed(&mut self, stimulus: Stimulus) {
        let now = self.instant();
        // Only commands are ever refused.
        let _ = self.core.handle(stimulus, now);
    }

    /// Whose socket it is, and what it is called there.
    fn mind_of(&mut self, link: LinkId) -> Option<(&mut Conversation, LinkId)> {
        let mind = self.mind.as_mut().filter(|mind| mind.number == link.0 / LINKS_PER_MIND)?;
        Some((&mut mind.conversation, LinkId(link.0 % LINKS_PER_MIND)))
    }

    fn participant(&self, person: usize) -> Participant {
        let human = &self.humans[person];
        Participant { id: human.id.clone(), name: human.person().name.clone() }
    }

    fn put(&mut self, at: Duration, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    fn instant(&self) -> Instant {
        self.start + self.now
    }
}

/// Things that may happen at one instant. More is a loop.
const AT_ONCE_MAX: u32 = 10_000;

/// Sockets of one conversation, by which those of the next are told from them.
const LINKS_PER_MIND: u32 = 1_000;
