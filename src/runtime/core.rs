//! PURE. One agent, whole: its machine and its sound, joined. What has happened goes in, one thing
//! at a time and with its instant; what is to be done comes out, in order.
//!
//! Nothing else decides anything: with the same things at the same instants, the same comes out,
//! bit by bit. The driver joins it to the world, the journal writes down what goes in and out, and
//! a replay or a rehearsal needs no world at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::sound::{Sound, SoundOutput, SoundStats};
use crate::agent::{
    Agent, AgentSpec, Baggage, Command, Event, JoinRequest, Limits, Listening, Medium, Memory,
    ModelAction, ModelEvent, ModelFailure, Notification, Output, PlaybackAction, PlaybackEvent,
    RecordEntry, RecordingSpec, Rejection, RoomAction, RoomEvent, RoomFailure, Snapshot,
};
use crate::ids::{CallId, ClientId, ParticipantId};
use crate::media::{OpusPacket, SileroModel, Taped, TimedFrame};
use crate::models::ModelItem;

/// One agent and its sound.
///
/// After each [`Core::handle`], take every effect before the next.
#[derive(Debug)]
pub struct Core {
    agent: Agent,
    /// There from the wish to join until the room is left or lost.
    sound: Option<Sound>,
    /// How others are heard, in this call and in the next.
    listening: Listening,
    /// Our own name on what we say.
    own: ParticipantId,
    silero: Option<SileroModel>,
    /// What doing an output has brought about at once, for the agent to hear after it.
    born: VecDeque<Event>,
    effects: VecDeque<Effect>,
    /// Whether the machine has heard something since it was last looked at.
    is_moved: bool,
    /// What became of others' packets in calls that are over, until somebody asks.
    counted: SoundStats,
    is_over: bool,
}

/// What a core is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    /// What the conversation needs of the agent.
    pub spec: Arc<AgentSpec>,
    /// How long anything may take.
    pub limits: Arc<Limits>,
    /// When its time to live is over, if it is.
    pub expires_at: Option<Instant>,
    /// Its own name on the packets it sends: rooms put their own in its place.
    pub own: ParticipantId,
    /// The model of the detector `silero`, where the gateway has it.
    pub silero: Option<SileroModel>,
}

/// Something that has happened, or is asked for.
#[derive(Debug)]
pub enum Stimulus {
    /// A client asks for something.
    Command(Command),
    /// A client has connected.
    ClientConnected(ClientId),
    /// A client has gone, or was let go because it does not take what it is told.
    ClientGone(ClientId),
    /// The room reports.
    Room(RoomEvent),
    /// The room's side of the link has ended without a last word.
    RoomLost,
    /// Somebody in the room is heard.
    Packet(OpusPacket),
    /// The model says something.
    Model(ModelItem),
    /// The session with the model is gone: it was not to be had, has ended, or took nothing.
    ModelLost(ModelFailure),
    /// Another agent hands everything over.
    TakenOver(Box<Heritage>),
    /// The process is going down.
    Shutdown,
    /// It is as late as [`Core::poll_timeout`] has said.
    TimePassed,
}

/// Something to be done at once, and never waited for. What comes of it is a stimulus.
#[derive(Debug)]
pub enum Effect {
    /// Tell every client.
    Notify(Notification),
    /// Join; answered by `RoomEvent::Joined` or `Failed`.
    JoinRoom(JoinRequest),
    /// Drop the link to the room; nothing answers.
    LeaveRoom,
    /// Open a session; answered by `ModelEvent::Ready` or `Failed`.
    OpenModel {
        /// Who is to answer.
        spec: Box<AgentSpec>,
        /// In which way.
        medium: Medium,
    },
    /// Do this about the conversation with the model: neither `Open` nor `Close`.
    Instruct(ModelAction),
    /// Drop the session with the model; nothing answers.
    CloseModel,
    /// Let the model hear this.
    Hear(TimedFrame),
    /// Send this to the room.
    Send(OpusPacket),
    /// Close every client's connection.
    CloseClients,
    /// Put this on the record of a call.
    Record {
        /// The stay.
        call: CallId,
        /// What has happened.
        entry: RecordEntry,
    },
    /// Record this call from here on; frames follow until the call ends or is handed over.
    BeginTape {
        /// The stay.
        call: CallId,
        /// In which way, if the call has no recording yet.
        recording: Box<RecordingSpec>,
        /// When the call began: where its clock is 0.
        began: Instant,
    },
    /// Put this on the recording.
    Tape(Taped),
    /// Give this to the agent that goes on, with the room if a call is in it.
    HandOver(Box<Heritage>),
    /// Delete the agent durably. Nothing follows.
    Forget(Memory),
    /// Stop without deleting. Nothing follows.
    Stop,
}

/// All that moves from one agent to the next. It exists once.
#[derive(Debug)]
pub struct Heritage {
    baggage: Baggage,
    /// The sound of the call in it: codecs and clocks go on without a gap.
    sound: Option<Sound>,
}

impl Heritage {
    /// Whether a call comes with it, and with the call a room.
    #[must_use]
    pub const fn has_call(&self) -> bool {
        self.sound.is_some()
    }
}

impl Core {
    /// Makes an agent.
    #[must_use]
    pub fn new(seed: Seed, now: Instant) -> Self {
        let Seed { spec, limits, expires_at, own, silero } = seed;
        Self {
            listening: spec.model.listening(),
            agent: Agent::new(spec, limits, expires_at, now),
            sound: None,
            own,
            silero,
            born: VecDeque::new(),
            effects: VecDeque::new(),
            is_moved: false,
            counted: SoundStats::default(),
            is_over: false,
        }
    }

    /// Takes in what has happened at `now`, with everything that follows from it. Only a command
    /// can be refused, and then nothing has changed.
    pub fn handle(&mut self, stimulus: Stimulus, now: Instant) -> Result<(), Rejection> {
        debug_assert!(self.effects.is_empty(), "every effect is taken before the next stimulus");
        if self.is_over {
            return Ok(());
        }
        let outcome = self.take(stimulus, now);
        self.settle(now);
        outcome
    }

    /// When to say that time has passed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let agent = self.agent.poll_timeout().map(|(at, _)| at);
        agent.into_iter().chain(self.sound.as_ref().and_then(Sound::poll_timeout)).min()
    }

    /// What to do next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is to be done, in order.
    pub fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.effects.iter()
    }

    /// What a client may see at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.agent.snapshot()
    }

    /// The same, if it may have changed since this was last asked. Frames change nothing of it.
    pub fn poll_snapshot(&mut self) -> Option<Snapshot> {
        std::mem::take(&mut self.is_moved).then(|| self.snapshot())
    }

    /// What was counted of sound since it was asked last.
    pub fn take_stats(&mut self) -> SoundStats {
        self.count();
        std::mem::take(&mut self.counted)
    }

    fn count(&mut self) {
        self.counted += self.sound.as_mut().map(Sound::take_stats).unwrap_or_default();
    }

    /// The open tool calls as they were told, for a client that has come back.
    pub fn open_tool_calls(&self) -> impl Iterator<Item = &Notification> {
        self.agent.open_tool_calls()
    }

    fn take(&mut self, stimulus: Stimulus, now: Instant) -> Result<(), Rejection> {
        match stimulus {
            Stimulus::Command(command) => {
                self.is_moved = true;
                return self.agent.handle_command(command, now);
            }
            Stimulus::ClientConnected(client) => self.hear(Event::ClientConnected(client), now),
            Stimulus::ClientGone(client) => self.hear(Event::ClientDisconnected(client), now),
            Stimulus::Room(event) => self.take_room_event(event, now),
            Stimulus::RoomLost => {
                let failure = RoomFailure::Closed("the connection to the room has ended".into());
                self.lose_room(RoomEvent::Failed(failure));
            }
            Stimulus::Packet(packet) => self.take_packet(packet, now),
            Stimulus::Model(item) => self.take_model_item(item, now),
            Stimulus::ModelLost(failure) => {
                self.hear(Event::Model(ModelEvent::Failed(failure)), now);
            }
            Stimulus::TakenOver(heritage) => self.take_over(*heritage, now),
            Stimulus::Shutdown => self.hear(Event::Shutdown, now),
            Stimulus::TimePassed => self.handle_timeout(now),
        }
        Ok(())
    }

    fn hear(&mut self, event: Event, now: Instant) {
        self.is_moved = true;
        self.agent.handle_event(event, now);
    }

    fn take_room_event(&mut self, event: RoomEvent, now: Instant) {
        match &event {
            RoomEvent::ParticipantLeft { id, .. } => {
                if let Some(sound) = &mut self.sound {
                    sound.on_participant_left(id);
                }
            }
            RoomEvent::Failed(_) | RoomEvent::Left => return self.lose_room(event),
            RoomEvent::Quality { id, line } => {
                if let Some(sound) = &mut self.sound {
                    sound.on_quality(id, line.lost_down_percent);
                }
                return;
            }
            RoomEvent::Joined { .. }
            | RoomEvent::ParticipantJoined(_)
            | RoomEvent::Speaking { .. }
            | RoomEvent::Message { .. } => {}
        }
        self.hear(Event::Room(event), now);
    }

    /// What was heard until then is known before the agent hears of the loss.
    fn lose_room(&mut self, last_word: RoomEvent) {
        self.flush();
        self.close_room();
        self.born.push_back(Event::Room(last_word));
    }

    fn close_room(&mut self) {
        self.count();
        self.sound = None;
        self.effects.push_back(Effect::LeaveRoom);
    }

    fn take_packet(&mut self, packet: OpusPacket, now: Instant) {
        let Some(sound) = &mut self.sound else { return };
        if let Err(error) = sound.on_packet(packet, now) {
            self.lose_room(RoomEvent::Failed(RoomFailure::Media(error.to_string())));
        }
    }

    fn take_model_item(&mut self, item: ModelItem, now: Instant) {
        match item {
            ModelItem::Event(event) => self.hear(Event::Model(event), now),
            ModelItem::Audio { utterance, samples } => {
                let sound = self.sound.as_mut();
                let flooded = sound.is_some_and(|sound| sound.speak(&utterance, &samples).is_err());
                if flooded {
                    self.fail_model(ModelFailure::Flooding);
                }
            }
            ModelItem::AudioDone { utterance } => {
                if let Some(sound) = &mut self.sound {
                    sound.finish(&utterance);
                }
            }
        }
    }

    /// Closes the session, and lets the agent hear why.
    fn fail_model(&mut self, failure: ModelFailure) {
        self.effects.push_back(Effect::CloseModel);
        self.born.push_back(Event::Model(ModelEvent::Failed(failure)));
    }

    fn take_over(&mut self, heritage: Heritage, now: Instant) {
        let Heritage { baggage, sound } = heritage;
        if self.sound.is_none() {
            self.sound = sound;
        }
        self.hear(Event::TakenOver(Box::new(baggage)), now);
        if let Some(call) = self.agent.snapshot().call {
            self.tape(call.id, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(sound) = &mut self.sound {
            sound.handle_timeout(now);
        }
        if self.agent.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.is_moved = true;
            self.agent.handle_timeout(now);
        }
    }

    /// Drains the agent, what was born of it, and the sound, until all are at rest.
    fn settle(&mut self, now: Instant) {
        while !self.is_over {
            if let Some(output) = self.agent.poll_output() {
                self.obey(output, now);
            } else if let Some(event) = self.born.pop_front() {
                self.hear(event, now);
            } else if let Some(output) = self.sound.as_mut().and_then(|sound| sound.poll(now)) {
                self.carry(output, now);
            } else {
                break;
            }
        }
    }

    fn obey(&mut self, output: Output, now: Instant) {
        let effect = match output {
            Output::Notify(notification) => Effect::Notify(notification),
            Output::Room(RoomAction::Join(request)) => return self.join(request, now),
            Output::Room(RoomAction::Leave) => {
                // Dropping the link leaves the room; there is no one left to wait for.
                self.close_room();
                return self.born.push_back(Event::Room(RoomEvent::Left));
            }
            Output::Model(ModelAction::Open { spec, medium }) => Effect::OpenModel { spec, medium },
            Output::Model(ModelAction::Close) => Effect::CloseModel,
            Output::Model(action) => Effect::Instruct(action),
            Output::Listen(listening) => return self.listen(listening),
            Output::Playback(action) => return self.play(action),
            Output::CloseClients => Effect::CloseClients,
            Output::Record { call, entry } => return self.record(call, entry, now),
            Output::HandOff(baggage) => {
                let sound = baggage.has_call().then(|| self.sound.take()).flatten();
                Effect::HandOver(Box::new(Heritage { baggage: *baggage, sound }))
            }
            Output::Forget(memory) => self.end(Effect::Forget(memory)),
            Output::Stop => self.end(Effect::Stop),
        };
        self.effects.push_back(effect);
    }

    fn join(&mut self, request: JoinRequest, now: Instant) {
        match Sound::new(self.own.clone(), self.listening, self.silero.clone(), now) {
            Ok(sound) => {
                self.sound = Some(sound);
                self.effects.push_back(Effect::JoinRoom(request));
            }
            Err(error) => {
                let failure = RoomFailure::Media(error.to_string());
                self.born.push_back(Event::Room(RoomEvent::Failed(failure)));
            }
        }
    }

    fn record(&mut self, call: CallId, entry: RecordEntry, now: Instant) {
        let begins = matches!(entry, RecordEntry::Began { .. });
        self.effects.push_back(Effect::Record { call: call.clone(), entry });
        if begins {
            self.tape(call, now);
        }
    }

    /// From here on the call is recorded if this agent's calls are.
    fn tape(&mut self, call: CallId, now: Instant) {
        let Some(sound) = &mut self.sound else { return };
        let recording = self.agent.recording();
        let began = sound.tape(recording.is_some(), now);
        if let Some(recording) = recording.cloned().map(Box::new) {
            self.effects.push_back(Effect::BeginTape { call, recording, began });
        }
    }

    fn listen(&mut self, listening: Listening) {
        self.listening = listening;
        let heard = self.sound.as_mut().map_or(Ok(()), |sound| sound.listen(listening));
        if let Err(error) = heard {
            self.lose_room(RoomEvent::Failed(RoomFailure::Media(error.to_string())));
        }
    }

    fn play(&mut self, action: PlaybackAction) {
        match action {
            PlaybackAction::Hold => self.sound.iter_mut().for_each(Sound::hold),
            PlaybackAction::Resume => self.sound.iter_mut().for_each(Sound::resume),
            PlaybackAction::Flush => self.flush(),
        }
    }

    /// Falls silent, and tells the agent how much was heard.
    fn flush(&mut self) {
        let flushed = self.sound.as_mut().map(|sound| sound.flush().map(Event::Playback));
        self.born.extend(flushed.into_iter().flatten());
        self.born.push_back(Event::Playback(PlaybackEvent::Silent));
    }

    /// Takes a frame, a packet or an edge to where it belongs.
    fn carry(&mut self, output: SoundOutput, now: Instant) {
        match output {
            SoundOutput::Hear(heard) => self.effects.push_back(Effect::Hear(heard)),
            SoundOutput::Send(packet) => self.effects.push_back(Effect::Send(packet)),
            SoundOutput::Tape(taped) => self.effects.push_back(Effect::Tape(taped)),
            SoundOutput::Edge(edge) => self.hear(Event::Speech(edge), now),
            SoundOutput::Playback(event) => self.hear(Event::Playback(event), now),
        }
    }

    const fn end(&mut self, last: Effect) -> Effect {
        self.is_over = true;
        last
    }
}
