//! One room: who is in it, and what each hears. An actor; it never waits for a member.

use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Interval;

use super::leg::LegOrder;
use super::mixer::Mixer;
use super::seat::Seat;
use crate::agent::{LineQuality, Participant, RoomEvent, RoomFailure};
use crate::ids::ParticipantId;
use crate::media::{CodecError, FRAME_MS, OpusPacket};
use crate::meter::{Counter, Meter, Stage};
use crate::privacy::{Secret, SecretHash};
use crate::rooms::EVENTS_CAPACITY;
use crate::rooms::line::Line;
use crate::rooms::peer::Voice;
use crate::rooms::url::RoomName;
use crate::sys::{clock, tasks};

/// Orders to a room that may wait.
///
/// When full: the one who orders waits; a room does nothing that takes long.
pub(super) const ROOM_ORDERS_CAPACITY: usize = 64;

/// Packets of humans that may wait for their room: 160 ms of a room full of speakers.
///
/// When full: the newest packet is dropped and counted by its leg; the listeners see a gap.
pub(super) const HEARD_CAPACITY: usize = 256;

/// What a room is told.
#[derive(Debug)]
pub(super) enum Order {
    /// A human has been answered, and is on the way.
    Human(Human),
    /// A human's leg is up.
    Connected(ParticipantId),
    /// A human's leg is over, for this reason.
    Gone { id: ParticipantId, reason: &'static str },
    /// How a human's line was of late.
    Quality { id: ParticipantId, line: LineQuality },
    /// An agent comes in.
    Agent(Agent),
    /// Whoever has this key wants to speak to their leg.
    Leg { key: Secret, reply: oneshot::Sender<Option<mpsc::Sender<LegOrder>>> },
    /// Whoever has this key wants to see who is in.
    Watch { key: Secret, reply: oneshot::Sender<Option<watch::Receiver<Vec<Participant>>>> },
    /// Put out the human who has this key; tells whether there was one.
    HangUp { key: Secret, reply: oneshot::Sender<bool> },
    /// Put everyone out.
    Close,
}

/// A human in a room, or on the way into it.
#[derive(Debug)]
pub(super) struct Human {
    pub(super) who: Participant,
    /// What only they know: the right to change or end their leg.
    pub(super) key: SecretHash,
    pub(super) voice: Voice,
    pub(super) leg: mpsc::Sender<LegOrder>,
    pub(super) task: tasks::Task,
    #[expect(dead_code, reason = "held until they leave, and never looked at")]
    pub(super) seat: Seat,
}

/// An agent in a room: the far ends of its link.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) who: Participant,
    pub(super) packets: mpsc::Sender<OpusPacket>,
    pub(super) events: mpsc::Sender<RoomEvent>,
    pub(super) playout: mpsc::Receiver<OpusPacket>,
    #[expect(dead_code, reason = "held until they leave, and never looked at")]
    pub(super) seat: Seat,
}

/// The state of a room.
#[derive(Debug)]
pub(super) struct Room {
    name: RoomName,
    /// Answered, but not up yet: nobody has been told of them.
    arriving: Vec<Human>,
    humans: Vec<Listener>,
    agents: Vec<Agent>,
    flow: Flow,
    /// Legs that are saying goodbye.
    closing: Vec<tasks::Task>,
    /// Who is in, for whoever watches.
    presence: watch::Sender<Vec<Participant>>,
    meter: Meter,
}

/// How sound gets to the humans.
#[derive(Debug)]
enum Flow {
    /// There is one source at most for anyone: packets go through as they are.
    Untouched,
    /// There are more.
    Mixed { clock: Interval, mixer: Box<Mixer> },
}

/// A human who is in, and the stream we send.
#[derive(Debug)]
struct Listener {
    human: Human,
    line: Line,
}

impl Room {
    pub(super) fn new(
        name: RoomName,
        presence: watch::Sender<Vec<Participant>>,
        meter: Meter,
    ) -> Self {
        let (arriving, humans, agents, closing) = Default::default();
        Self { name, arriving, humans, agents, flow: Flow::Untouched, closing, presence, meter }
    }

    /// Runs the room until it is told to close.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        mut heard: mpsc::Receiver<OpusPacket>,
    ) {
        loop {
            tokio::select! {
                // Orders first: who is in must be known before what they say.
                biased;
                order = orders.recv() => match order {
                    Some(Order::Close) | None => break,
                    Some(order) => self.obey(order),
                },
                Some(packet) = heard.recv() => self.relay(&packet),
                (place, said) = said(&mut self.agents) => match said {
                    Some(packet) => self.speak(&packet),
                    None => self.drop_agent(place),
                },
                () = self.flow.tick() => self.mix(),
            }
        }
        // Legs must not wait for a room that has stopped listening.
        drop((orders, heard));
        self.close().await;
    }

    fn obey(&mut self, order: Order) {
        self.closing.retain(|task| !task.is_finished());
        match order {
            Order::Human(human) => self.arriving.push(human),
            Order::Connected(id) => self.let_in(&id),
            Order::Gone { id, reason } => self.let_go(&id, reason),
            Order::Quality { id, line } => return self.tell_quality(&id, line),
            Order::Agent(agent) => self.let_agent_in(agent),
            Order::Leg { key, reply } => {
                let _ = reply.send(self.owner_of(&key).map(|human| human.leg.clone()));
            }
            Order::Watch { key, reply } => {
                let is_in = self.owner_of(&key).is_some();
                let _ = reply.send(is_in.then(|| self.presence.subscribe()));
            }
            Order::HangUp { key, reply } => {
                let _ = reply.send(self.hang_up(&key));
            }
            Order::Close => {}
        }
        self.publish();
    }

    fn hang_up(&mut self, key: &Secret) -> bool {
        let Some(human) = self.owner_of(key) else { return false };
        let is_there = human.leg.try_send(LegOrder::HangUp).is_ok();
        let id = human.who.id.clone();
        self.let_go(&id, "it hung up");
        is_there
    }

    /// Lets watchers know if somebody has come or gone.
    fn publish(&self) {
        let humans = self.humans.iter().map(|listener| &listener.human.who);
        let present = humans.chain(self.agents.iter().map(|agent| &agent.who));
        self.presence.send_if_modified(|known| {
            let changed = !known.iter().eq(present.clone());
            if changed {
                *known = present.cloned().collect();
            }
            changed
        });
    }

    fn let_in(&mut self, id: &ParticipantId) {
        let Some(place) = self.arriving.iter().position(|human| human.who.id == *id) else {
            return;
        };
        let human = self.arriving.swap_remove(place);
        tracing::info!(room = %self.name, participant = %id, "a human has come in");
        self.tell(&RoomEvent::ParticipantJoined(human.who.clone()));
        self.humans.push(Listener { human, line: Line::begin(clock::now()) });
        self.arrange();
    }

    fn let_go(&mut self, id: &ParticipantId, reason: &str) {
        if let Some(place) = self.arriving.iter().position(|human| human.who.id == *id) {
            self.closing.push(self.arriving.swap_remove(place).task);
        }
        if let Some(place) = self.humans.iter().position(|human| human.human.who.id == *id) {
            self.closing.push(self.humans.swap_remove(place).human.task);
            self.farewell(id, reason);
        }
    }

    fn let_agent_in(&mut self, agent: Agent) {
        let humans = self.humans.iter().map(|listener| &listener.human.who);
        let agents = self.agents.iter().map(|agent| &agent.who);
        let joined = RoomEvent::Joined { participants: humans.chain(agents).cloned().collect() };
        if agent.events.try_send(joined).is_err() {
            tracing::debug!(room = %self.name, "an agent left before it was in");
            return;
        }
        tracing::info!(room = %self.name, participant = %agent.who.id, "an agent has come in");
        self.tell(&RoomEvent::ParticipantJoined(agent.who.clone()));
        self.agents.push(agent);
        self.arrange();
    }

    /// An agent has dropped its link.
    fn drop_agent(&mut self, place: usize) {
        let agent = self.agents.swap_remove(place);
        tracing::info!(room = %self.name, participant = %agent.who.id, "an agent has left");
        self.farewell(&agent.who.id, "it left the room");
        self.publish();
    }

    /// Someone who was in is gone.
    fn farewell(&mut self, id: &ParticipantId, reason: &str) {
        if let Flow::Mixed { mixer, .. } = &mut self.flow {
            mixer.forget(id);
        }
        let (id, reason) = (id.clone(), reason.to_owned());
        self.tell(&RoomEvent::ParticipantLeft { id, reason });
        self.arrange();
    }

    /// Tells every agent. One that does not read what it is told is put out: the room waits for
    /// nobody, and an agent that has missed who is there must not go on.
    fn tell(&mut self, event: &RoomEvent) {
        let mut missed = Vec::new();
        self.agents.retain(|agent| {
            let is_told = agent.events.try_send(event.clone()).is_ok();
            if !is_told {
                missed.push(agent.who.id.clone());
            }
            is_told
        });
        for id in missed {
            tracing::warn!(room = %self.name, participant = %id, "an agent is deaf to its room");
            self.farewell(&id, "it does not take what the room tells");
        }
    }

    /// Tells every agent, and the mixer, how a human's line is. News of this kind soon come again,
    /// so they never take the place of others.
    fn tell_quality(&mut self, id: &ParticipantId, line: LineQuality) {
        if !self.humans.iter().any(|listener| listener.human.who.id == *id) {
            return;
        }
        if let Flow::Mixed { mixer, .. } = &mut self.flow {
            mixer.set_loss_percent(id, line.lost_down_percent);
        }
        for agent in self.agents.iter().filter(|agent| agent.events.capacity() > EVENTS_KEPT) {
            let _ = agent.events.try_send(RoomEvent::Quality { id: id.clone(), line });
        }
    }

    /// Begins or ends mixing, as the number of those who are in demands.
    fn arrange(&mut self) {
        let is_mixed = matches!(self.flow, Flow::Mixed { .. });
        let must_mix = !self.humans.is_empty() && self.humans.len() + self.agents.len() > 2;
        if must_mix && !is_mixed {
            match Flow::mixed() {
                Ok(flow) => self.flow = flow,
                Err(error) => tracing::error!(room = %self.name, %error, "a room cannot be mixed"),
            }
        } else if is_mixed && !must_mix {
            self.flow = Flow::Untouched;
        }
    }

    /// Brings a packet of an agent's to all others.
    fn speak(&mut self, packet: &OpusPacket) {
        self.relay(packet);
        let took = clock::now().saturating_duration_since(packet.at);
        self.meter.observe(Stage::DownlinkSend, took);
    }

    /// Brings a packet to all but the one it comes from.
    fn relay(&mut self, packet: &OpusPacket) {
        for agent in self.agents.iter().filter(|agent| agent.who.id != packet.participant) {
            // A full queue is the agent's own loss; its ear sees the gap.
            if let Err(TrySendError::Full(_)) = agent.packets.try_send(packet.clone()) {
                self.meter.count(Counter::DroppedAgent);
            }
        }
        match &mut self.flow {
            Flow::Untouched => self.pass(packet),
            Flow::Mixed { mixer, .. } => {
                if let Err(error) = mixer.push(packet.clone(), clock::now()) {
                    tracing::error!(room = %self.name, %error, "a source cannot be heard");
                }
            }
        }
    }

    /// With one source for each listener, packets go through as they are.
    fn pass(&mut self, packet: &OpusPacket) {
        let now = clock::now();
        for listener in &mut self.humans {
            if listener.human.who.id == packet.participant || packet.payload.is_empty() {
                continue;
            }
            if let Some(packet) = listener.line.pass(packet, now) {
                listener.human.voice.send(&packet);
            }
        }
    }

    /// Sends everyone the last 20 ms of all others.
    fn mix(&mut self) {
        let Flow::Mixed { mixer, .. } = &mut self.flow else { return };
        let now = clock::now();
        let tick = mixer.tick(now);
        for Listener { human, line } in &mut self.humans {
            match mixer.payload_for(&human.who.id) {
                Ok(Some(payload)) => {
                    human.voice.send(&line.mixed(tick, payload, now));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(room = %self.name, %error, "a human hears nothing"),
            }
        }
    }

    async fn close(mut self) {
        self.tell_closed();
        let listeners = self.humans.drain(..).map(|listener| listener.human);
        for human in self.arriving.drain(..).chain(listeners) {
            if human.leg.try_send(LegOrder::HangUp).is_ok() {
                self.closing.push(human.task);
            }
        }
        for task in self.closing {
            // A leg that panicked has ended too.
            let _ = task.await;
        }
    }

    fn tell_closed(&self) {
        let closed = RoomFailure::Closed("the room was closed".to_owned());
        for agent in &self.agents {
            let _ = agent.events.try_send(RoomEvent::Failed(closed.clone()));
        }
    }

    /// The human who has this key.
    fn owner_of(&self, key: &Secret) -> Option<&Human> {
        self.humans().find(|human| human.key.is_of(key))
    }

    fn humans(&self) -> impl Iterator<Item = &Human> {
        self.arriving.iter().chain(self.humans.iter().map(|listener| &listener.human))
    }
}

impl Flow {
    fn mixed() -> Result<Self, CodecError> {
        let mixer = Box::new(Mixer::new()?);
        Ok(Self::Mixed { clock: tokio::time::interval(Duration::from_millis(FRAME_MS)), mixer })
    }

    /// When the mixer is due; never if there is none.
    async fn tick(&mut self) {
        match self {
            Self::Untouched => std::future::pending().await,
            Self::Mixed { clock, .. } => {
                clock.tick().await;
            }
        }
    }
}

/// What an agent says next, by its place; nothing more if it has dropped its link.
async fn said(agents: &mut [Agent]) -> (usize, Option<OpusPacket>) {
    std::future::poll_fn(|cx| {
        for (place, agent) in agents.iter_mut().enumerate() {
            if let Poll::Ready(said) = agent.playout.poll_recv(cx) {
                let participant = agent.who.id.clone();
                return Poll::Ready((place, said.map(|said| OpusPacket { participant, ..said })));
            }
        }
        Poll::Pending
    })
    .await
}

/// So many places in an agent's queue are kept for what is told once only.
const EVENTS_KEPT: usize = EVENTS_CAPACITY / 2;
