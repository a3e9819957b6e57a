//! One task per agent: it waits for one thing to happen, lets the core decide, does what that says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::admission::Place;
use super::archive::Recorder;
use super::clients::Clients;
use super::core::{Core, Seed, Stimulus};
use super::handle::Subscription;
use super::handoff::{HandOff, Handover, HeirDoor};
use super::hooks::Reporter;
use super::journal::Pen;
use super::ledger::Ledger;
use super::recording::Recording;
use super::shell::Shell;
use super::tally::SessionTally;
use super::tracer::Tracer;
use crate::agent::{
    AgentRecord, Command, Memory, ModelAction, ModelFailure, Rejection, RoomEvent, Snapshot,
};
use crate::ids::{AgentId, ClientId, ParticipantId, UserId};
use crate::media::OpusPacket;
use crate::models::{Arrived, ModelLink};
use crate::rooms::RoomLink;
use crate::sys::{clock, entropy};

/// Commands that may wait for one agent.
///
/// When full: the client is told that the agent is busy; nothing else changes.
pub(super) const COMMANDS_CAPACITY: usize = 32;

/// What a handle may send.
#[derive(Debug)]
pub(super) enum Input {
    /// A client asks for something.
    Command(Command, oneshot::Sender<Result<(), Rejection>>),
    /// A client wants to listen.
    Subscribe(ClientId, oneshot::Sender<Subscription>),
    /// The owner asks to pass the conversation on, through a door that is held open.
    HandOff(HandOff),
    /// Another agent's conversation comes.
    TakeOver(Box<Handover>),
    /// The process is going down.
    Shutdown,
    /// Nothing asks for this: it stands for a bug of ours.
    #[cfg(test)]
    Panic,
}

/// How an agent's task ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The agent is to be deleted.
    Forget(Memory),
    /// The agent is kept for the next process.
    Stop,
}

/// An agent, its links and its clients.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) id: AgentId,
    pub(super) owner: UserId,
    pub(super) name: String,
    pub(super) core: Core,
    pub(super) shell: Arc<Shell>,
    pub(super) recorder: Recorder,
    pub(super) reporter: Reporter,
    pub(super) tracer: Tracer,
    /// The sound of the call, if it is recorded.
    pub(super) recording: Option<Recording>,
    /// What writes everything down that goes into the core, if that is wanted.
    pub(super) pen: Option<Pen>,
    pub(super) clients: Clients,
    pub(super) inbox: mpsc::Receiver<Input>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    /// What doing an effect has shown, for the core to hear after it.
    pub(super) facts: VecDeque<Stimulus>,
    pub(super) room: Option<RoomLink>,
    pub(super) room_url: String,
    /// The name by which the room knows the agent.
    pub(super) shown_as: Arc<str>,
    pub(super) model: Option<ModelLink>,
    pub(super) frames_refused: u32,
    pub(super) ledger: Ledger,
    pub(super) sessions: SessionTally,
    /// Held while in a call, or on the way into or out of one.
    place: Option<Place>,
    /// The way to the agent that goes on, while this one is handed off.
    pub(super) heir: Option<HeirDoor>,
}

/// Something from outside.
enum Arrival {
    Input(Option<Input>),
    Departed(ClientId),
    Packet(Option<OpusPacket>),
    Room(Option<RoomEvent>),
    Model(Option<Arrived>),
    /// The model takes actions again.
    Roomy,
    Woken,
}

impl Driver {
    /// An agent as it was kept, and the door through which it is reached.
    pub(super) fn new(
        record: &AgentRecord,
        shell: Arc<Shell>,
    ) -> (Self, mpsc::Sender<Input>, watch::Receiver<Snapshot>) {
        let now = clock::now();
        let seed = Seed {
            spec: Arc::new(record.spec.clone()),
            limits: Arc::clone(&shell.limits),
            expires_at: record.expires_at_ms.map(|at_ms| now + clock::until_unix_ms(at_ms)),
            own: ParticipantId::from_entropy(entropy::bits()),
            silero: shell.silero.clone(),
        };
        let pen = shell.journal.as_ref().and_then(|journal| journal.begin(&record.id, &seed, now));
        let core = Core::new(seed, now);
        let (snapshot, seen) = watch::channel(core.snapshot());
        let (door, inbox) = mpsc::channel(COMMANDS_CAPACITY);
        let meter = shell.meter.apart();
        let driver = Self {
            id: record.id.clone(),
            owner: record.owner.clone(),
            name: record.spec.name.clone(),
            core,
            recorder: shell.recorder(record),
            reporter: shell.reporter(record),
            tracer: Tracer::new(shell.traces.clone(), record.id.clone()),
            recording: None,
            pen,
            shell,
            clients: Clients::default(),
            inbox,
            snapshot,
            facts: VecDeque::new(),
            room: None,
            room_url: String::new(),
            shown_as: Arc::default(),
            model: None,
            frames_refused: 0,
            sessions: SessionTally::new(meter.clone()),
            ledger: Ledger::new(meter),
            place: None,
            heir: None,
        };
        (driver, door, seen)
    }

    /// Lives until the core says that nothing follows.
    pub(super) async fn run(&mut self) -> Exit {
        loop {
            let arrival = self.wait().await;
            self.take(arrival);
            if let Some(exit) = self.settle() {
                return exit;
            }
        }
    }

    /// The only place where the task waits.
    async fn wait(&mut self) -> Arrival {
        let wake = self.core.poll_timeout();
        let Self { inbox, clients, room, model, .. } = self;
        let (items, actions) = match model {
            Some(link) => (Some(&mut link.items), Some(&link.actions)),
            None => (None, None),
        };
        // What clients ask may become actions: it waits while the model does not take them.
        let is_roomy = actions.is_none_or(|actions| actions.capacity() >= ACTIONS_AT_ONCE);
        let (packets, events) = match room {
            Some(link) => (Some(&mut link.packets), Some(&mut link.events)),
            None => (None, None),
        };
        tokio::select! {
            packet = receive(packets) => Arrival::Packet(packet),
            item = receive(items) => Arrival::Model(item),
            () = sleep_until(wake) => Arrival::Woken,
            event = receive(events) => Arrival::Room(event),
            input = inbox.recv(), if is_roomy => Arrival::Input(input),
            () = until_roomy(actions), if !is_roomy => Arrival::Roomy,
            client = clients.departure() => Arrival::Departed(client),
        }
    }

    fn take(&mut self, arrival: Arrival) {
        let now = clock::now();
        let stimulus = match arrival {
            Arrival::Input(Some(input)) => return self.take_input(input, now),
            // Every handle is gone, and with them the registry: the process is going down.
            Arrival::Input(None) => Stimulus::Shutdown,
            Arrival::Departed(client) => Stimulus::ClientGone(client),
            Arrival::Packet(Some(packet)) => return self.take_packet(packet, now),
            Arrival::Room(Some(event)) => Stimulus::Room(event),
            Arrival::Packet(None) | Arrival::Room(None) => self.last_word(),
            Arrival::Model(Some(arrived)) => {
                self.ledger.on_arrival(&arrived, now);
                Stimulus::Model(arrived.item)
            }
            Arrival::Model(None) => {
                self.model = None;
                Stimulus::ModelLost(ModelFailure::Lost("the session has ended".into()))
            }
            Arrival::Roomy => return,
            Arrival::Woken => Stimulus::TimePassed,
        };
        self.feed(stimulus, now);
    }

    fn take_packet(&mut self, packet: OpusPacket, now: Instant) {
        self.ledger.on_packet(&packet, now);
        self.feed(Stimulus::Packet(packet), now);
        self.ledger.on_worked(now, clock::now());
    }

    fn take_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Command(command, reply) => {
                let name = new_name(&command);
                let outcome = self.admit(&command).and_then(|()| self.ask(command, now));
                if let (Ok(()), Some(name)) = (&outcome, name) {
                    self.name = name;
                }
                // A client that has gone before its answer needs none.
                let _ = reply.send(outcome);
            }
            Input::Subscribe(client, reply) => {
                let subscription = self.clients.add(client.clone(), self.core.open_tool_calls());
                let _ = reply.send(subscription);
                self.feed(Stimulus::ClientConnected(client), now);
            }
            Input::HandOff(wish) => self.begin_handoff(wish, now),
            Input::TakeOver(handover) => self.take_over(*handover, now),
            Input::Shutdown => self.feed(Stimulus::Shutdown, now),
            #[cfg(test)]
            Input::Panic => panic!("as a test has asked"),
        }
    }

    /// Takes a place for a call that may begin. What the core refuses gives it back.
    fn admit(&mut self, command: &Command) -> Result<(), Rejection> {
        if matches!(command, Command::Join(_)) && self.place.is_none() {
            self.place = Some(self.shell.admission.take_place()?);
        }
        Ok(())
    }

    /// The room's side of the link has ended: with a last word that waits, or without one.
    fn last_word(&mut self) -> Stimulus {
        let waiting = self.room.as_mut().and_then(|link| link.events.try_recv().ok());
        waiting.map_or(Stimulus::RoomLost, Stimulus::Room)
    }

    /// Lets the core know what has happened.
    pub(super) fn feed(&mut self, stimulus: Stimulus, now: Instant) {
        // Only commands are ever refused.
        let _ = self.handle(stimulus, None, now);
    }

    /// Asks something of the core, which may refuse it.
    pub(super) fn ask(&mut self, command: Command, now: Instant) -> Result<(), Rejection> {
        self.handle(Stimulus::Command(command), None, now)
    }

    /// Gives the core a stimulus, and writes down both sides of it; `from` is the journal of
    /// whoever hands over.
    pub(super) fn handle(
        &mut self,
        stimulus: Stimulus,
        from: Option<&str>,
        now: Instant,
    ) -> Result<(), Rejection> {
        let Some(pen) = &mut self.pen else { return self.core.handle(stimulus, now) };
        let draft = pen.draft(&stimulus, from, now);
        let outcome = self.core.handle(stimulus, now);
        pen.write(draft, &outcome, self.core.effects());
        outcome
    }

    /// Does all that the core says, and lets it know what that has shown, until it is at rest.
    fn settle(&mut self) -> Option<Exit> {
        loop {
            while let Some(effect) = self.core.poll_effect() {
                if let Some(exit) = self.perform(effect) {
                    return Some(exit);
                }
            }
            let Some(fact) = self.facts.pop_front() else { break };
            self.feed(fact, clock::now());
        }
        self.publish();
        self.settle_accounts();
        None
    }

    /// Lets operators know how things stand.
    fn settle_accounts(&mut self) {
        self.sessions.set(self.model.is_some());
        self.tracer.set_session(self.model.is_some());
        let is_in_call = self.snapshot.borrow().call.is_some();
        let has_left = !is_in_call && self.place.is_some();
        if has_left {
            self.place = None;
        } else if is_in_call && self.place.is_none() {
            self.place = Some(self.shell.admission.keep_place());
        }
        if has_left || (is_in_call && self.ledger.is_due(clock::now())) {
            self.ledger.on_sound(self.core.take_stats());
        }
    }

    fn publish(&mut self) {
        let Some(current) = self.core.poll_snapshot() else { return };
        self.snapshot.send_if_modified(|seen| {
            let changed = *seen != current;
            *seen = current;
            changed
        });
    }
}

/// What others see the agent as in its next call, if that changes.
fn new_name(command: &Command) -> Option<String> {
    match command {
        Command::Reconfigure { spec: Some(spec), .. } => Some(spec.name.clone()),
        Command::Reconfigure { spec: None, .. }
        | Command::Join(_)
        | Command::Leave
        | Command::Context(_)
        | Command::ToolResult(_)
        | Command::Say(_)
        | Command::Interrupt
        | Command::SetMuted(_)
        | Command::HandOff { .. }
        | Command::ExpectHandoff
        | Command::Delete => None,
    }
}

/// The next value of a queue that may not be there; for ever, if it is not.
async fn receive<T>(queue: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match queue {
        Some(queue) => queue.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until the model can take what one input may bring about.
async fn until_roomy(actions: Option<&mpsc::Sender<ModelAction>>) {
    let roomy = match actions {
        Some(actions) => actions.reserve_many(ACTIONS_AT_ONCE).await.is_ok(),
        None => false,
    };
    if !roomy {
        // The session has ended; its last items tell why.
        std::future::pending::<()>().await;
    }
}

/// The most actions that one input brings about.
const ACTIONS_AT_ONCE: usize = 16;

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
