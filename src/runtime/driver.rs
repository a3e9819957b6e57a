//! One task per agent: it takes one input, lets the core decide, does what the core says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use super::archive::Recorder;
use super::clients::Clients;
use super::handle::Subscription;
use super::handoff::{HandOff, Handover, HeirDoor};
use super::shell::Shell;
use super::sound::{Sound, SoundOutput};
use crate::agent::{
    Agent, AgentRecord, Command, Event, Memory, ModelAction, ModelEvent, ModelFailure, Rejection,
    RoomEvent, RoomFailure, Snapshot,
};
use crate::ids::{AgentId, ClientId};
use crate::media::OpusPacket;
use crate::models::{ModelItem, ModelLink};
use crate::rooms::RoomLink;
use crate::sys::clock;

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
    pub(super) name: String,
    pub(super) agent: Agent,
    pub(super) shell: Arc<Shell>,
    pub(super) recorder: Recorder,
    pub(super) clients: Clients,
    pub(super) inbox: mpsc::Receiver<Input>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    /// What doing an output has brought about at once, for the core to hear after it.
    pub(super) born: VecDeque<Event>,
    pub(super) room: Option<RoomLink>,
    pub(super) room_url: String,
    pub(super) model: Option<ModelLink>,
    pub(super) sound: Option<Sound>,
    pub(super) frames_refused: u32,
    /// The way to the agent that goes on, while this one is handed off.
    pub(super) heir: Option<HeirDoor>,
}

/// Something from outside.
enum Stimulus {
    Input(Option<Input>),
    Departed(ClientId),
    Packet(Option<OpusPacket>),
    Room(Option<RoomEvent>),
    Model(Option<ModelItem>),
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
        let expires_at = record.expires_at_ms.map(|at_ms| now + clock::until_unix_ms(at_ms));
        let spec = Arc::new(record.spec.clone());
        let agent = Agent::new(spec, Arc::clone(&shell.limits), expires_at, now);
        let (snapshot, seen) = watch::channel(agent.snapshot());
        let (door, inbox) = mpsc::channel(COMMANDS_CAPACITY);
        let driver = Self {
            id: record.id.clone(),
            name: record.spec.name.clone(),
            agent,
            recorder: shell.recorder(record),
            shell,
            clients: Clients::default(),
            inbox,
            snapshot,
            born: VecDeque::new(),
            room: None,
            room_url: String::new(),
            model: None,
            sound: None,
            frames_refused: 0,
            heir: None,
        };
        (driver, door, seen)
    }

    /// Lives until the core says that nothing follows.
    pub(super) async fn run(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.settle() {
                return exit;
            }
            let stimulus = self.wait().await;
            self.take(stimulus);
        }
    }

    /// The only place where the task waits.
    async fn wait(&mut self) -> Stimulus {
        let wake = self.wake_at();
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
            packet = receive(packets) => Stimulus::Packet(packet),
            item = receive(items) => Stimulus::Model(item),
            () = sleep_until(wake) => Stimulus::Woken,
            event = receive(events) => Stimulus::Room(event),
            input = inbox.recv(), if is_roomy => Stimulus::Input(input),
            () = until_roomy(actions), if !is_roomy => Stimulus::Roomy,
            client = clients.departure() => Stimulus::Departed(client),
        }
    }

    /// One mutation of the core, or a frame on its way past it.
    fn take(&mut self, stimulus: Stimulus) {
        let now = clock::now();
        match stimulus {
            Stimulus::Input(Some(input)) => self.take_input(input, now),
            // Every handle is gone, and with them the registry: the process is going down.
            Stimulus::Input(None) => self.agent.handle_event(Event::Shutdown, now),
            Stimulus::Departed(client) => {
                self.agent.handle_event(Event::ClientDisconnected(client), now);
            }
            Stimulus::Packet(packet) => self.take_packet(packet, now),
            Stimulus::Room(event) => self.take_room_event(event, now),
            Stimulus::Model(item) => self.take_model_item(item, now),
            Stimulus::Roomy => {}
            Stimulus::Woken => {
                if let Some(sound) = &mut self.sound {
                    sound.handle_timeout(now);
                }
                if self.agent.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    self.agent.handle_timeout(now);
                }
            }
        }
    }

    fn take_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Command(command, reply) => {
                let name = new_name(&command);
                let outcome = self.agent.handle_command(command, now);
                if let (Ok(()), Some(name)) = (&outcome, name) {
                    self.name = name;
                }
                // A client that has gone before its answer needs none.
                let _ = reply.send(outcome);
            }
            Input::Subscribe(client, reply) => {
                let subscription = self.clients.add(client.clone(), self.agent.open_tool_calls());
                let _ = reply.send(subscription);
                self.agent.handle_event(Event::ClientConnected(client), now);
            }
            Input::HandOff(wish) => self.begin_handoff(wish, now),
            Input::TakeOver(handover) => self.take_over(*handover, now),
            Input::Shutdown => self.agent.handle_event(Event::Shutdown, now),
            #[cfg(test)]
            Input::Panic => panic!("as a test has asked"),
        }
    }

    fn take_packet(&mut self, packet: Option<OpusPacket>, now: Instant) {
        let (Some(packet), Some(sound)) = (packet, &mut self.sound) else {
            return self.lose_room(now);
        };
        if let Err(error) = sound.on_packet(packet, now) {
            let failure = RoomFailure::Media(error.to_string());
            self.agent.handle_event(Event::Room(RoomEvent::Failed(failure)), now);
        }
    }

    fn take_room_event(&mut self, event: Option<RoomEvent>, now: Instant) {
        let Some(event) = event else { return self.lose_room(now) };
        match &event {
            RoomEvent::ParticipantLeft(id) => {
                if let Some(sound) = &mut self.sound {
                    sound.on_participant_left(id);
                }
            }
            RoomEvent::Failed(_) | RoomEvent::Left => {
                self.drop_room();
                return self.born.push_back(Event::Room(event));
            }
            RoomEvent::Joined { .. } | RoomEvent::ParticipantJoined(_) => {}
        }
        self.agent.handle_event(Event::Room(event), now);
    }

    /// The room's side of the link has ended: with a last word that waits, or without one.
    fn lose_room(&mut self, now: Instant) {
        let last_word = self.room.as_mut().and_then(|link| link.events.try_recv().ok());
        if last_word.is_some() {
            return self.take_room_event(last_word, now);
        }
        self.drop_room();
        let failure = RoomFailure::Closed("the connection to the room has ended".into());
        self.born.push_back(Event::Room(RoomEvent::Failed(failure)));
    }

    fn take_model_item(&mut self, item: Option<ModelItem>, now: Instant) {
        match item {
            Some(ModelItem::Event(event)) => self.agent.handle_event(Event::Model(event), now),
            Some(ModelItem::Audio { utterance, samples }) => {
                let sound = self.sound.as_mut();
                let flooded = sound.is_some_and(|sound| sound.speak(&utterance, &samples).is_err());
                if flooded {
                    self.fail_model(ModelFailure::Flooding);
                }
            }
            Some(ModelItem::AudioDone { utterance }) => {
                if let Some(sound) = &mut self.sound {
                    sound.finish(&utterance);
                }
            }
            None => self.fail_model(ModelFailure::Lost("the session has ended".into())),
        }
    }

    /// Closes the session, and lets the core hear why.
    pub(super) fn fail_model(&mut self, failure: ModelFailure) {
        self.model = None;
        self.born.push_back(Event::Model(ModelEvent::Failed(failure)));
    }

    /// Drains the core, what was born of it, and the sound, until all are at rest.
    fn settle(&mut self) -> Option<Exit> {
        loop {
            while let Some(output) = self.agent.poll_output() {
                if let Some(exit) = self.perform(output) {
                    return Some(exit);
                }
            }
            let now = clock::now();
            if let Some(event) = self.born.pop_front() {
                self.agent.handle_event(event, now);
            } else if let Some(output) = self.sound.as_mut().and_then(|sound| sound.poll(now)) {
                self.carry(output, now);
            } else {
                break;
            }
        }
        self.publish();
        None
    }

    /// Takes a frame, a packet or an edge to where it belongs.
    fn carry(&mut self, output: SoundOutput, now: Instant) {
        match output {
            SoundOutput::Hear(frame) => self.hear(frame),
            SoundOutput::Send(packet) => self.send(packet),
            SoundOutput::Edge(edge) => self.agent.handle_event(Event::Speech(edge), now),
            SoundOutput::Playback(event) => self.agent.handle_event(Event::Playback(event), now),
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let core = self.agent.poll_timeout().map(|(at, _)| at);
        let sound = self.sound.as_ref().and_then(Sound::poll_timeout);
        core.into_iter().chain(sound).min()
    }

    fn publish(&self) {
        self.snapshot.send_if_modified(|seen| {
            let current = self.agent.snapshot();
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
