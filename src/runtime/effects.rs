//! Doing what the core says: each output becomes one call of an adapter, and none of them waits.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::error::TrySendError;

use super::core::{Effect, Stimulus};
use super::driver::{Driver, Exit};
use super::handle::Stamped;
use super::recording::Subject;
use super::shell::{News, Seen};
use crate::agent::{
    AgentSpec, Medium, ModelAction, ModelFailure, Notification, RecordEntry, RecordingSpec,
};
use crate::ids::CallId;
use crate::media::{OpusPacket, Taped, TimedFrame};
use crate::meter::Counter;
use crate::models::HeardFrame;
use crate::sys::clock;

impl Driver {
    /// Does one effect. What it shows at once is a fact for the core.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Exit> {
        match effect {
            Effect::Notify(notification) => self.tell(notification),
            Effect::JoinRoom(request) => {
                let name = request.participant_name.as_deref().unwrap_or(&self.name);
                self.shown_as = name.into();
                self.room = Some(self.shell.join(&request, &self.name));
            }
            Effect::LeaveRoom => self.room = None,
            Effect::OpenModel { spec, medium } => self.open_model(*spec, medium),
            Effect::Instruct(action) => self.instruct(action),
            Effect::CloseModel => self.model = None,
            Effect::Hear(heard) => self.hear(heard),
            Effect::Send(packet) => self.send(packet),
            Effect::CloseClients => self.clients.close(),
            Effect::Record { call, entry } => self.record(call, entry),
            Effect::BeginTape { call, recording, began } => {
                self.begin_recording(&call, &recording, began);
            }
            Effect::Tape(taped) => self.tape(taped),
            Effect::HandOver(heritage) => self.hand_over(heritage),
            Effect::Forget(memory) => return Some(Exit::Forget(memory)),
            Effect::Stop => return Some(Exit::Stop),
        }
        None
    }

    fn tell(&mut self, notification: Notification) {
        log(&notification);
        self.tally(&notification);
        self.reporter.on_told(&notification, &self.name);
        if let Some(recording) = &self.recording {
            recording.hear(&notification, clock::now());
        }
        let (stamped, lost) = self.clients.tell(notification);
        for client in lost {
            tracing::warn!(%client, "disconnected a client that does not take its events");
            self.shell.meter.count(Counter::ClientDropped);
            self.facts.push_back(Stimulus::ClientGone(client));
        }
        // The room's page sees what its agents tell from their coming in to their going.
        if let Notification::RoomJoined { room_url, .. } = &stamped.notification {
            self.room_url.clone_from(room_url);
        } else if matches!(stamped.notification, Notification::RoomLeft { .. }) {
            self.room_url.clear();
        }
        self.show(stamped);
    }

    fn show(&self, stamped: Arc<Stamped>) {
        if !self.shell.is_watched() {
            return;
        }
        self.shell.publish(News {
            owner: self.owner.clone(),
            agent: self.id.clone(),
            name: self.name.as_str().into(),
            seen: Seen::at(&self.room_url, &self.shown_as),
            stamped,
        });
    }

    fn open_model(&mut self, spec: AgentSpec, medium: Medium) {
        match self.shell.open_model(spec, medium, self.ledger.meter()) {
            Ok(link) => self.model = Some(link),
            Err(failure) => self.lose_model(failure),
        }
    }

    fn instruct(&mut self, action: ModelAction) {
        let Some(link) = &self.model else { return };
        if action == ModelAction::Commit {
            self.ledger.on_turn_over();
        }
        if link.actions.try_send(action).is_err() {
            self.lose_model(ModelFailure::Lost("it takes no instructions".into()));
        }
    }

    /// Drops a session that is of no use, and lets the core know.
    fn lose_model(&mut self, failure: ModelFailure) {
        self.model = None;
        self.facts.push_back(Stimulus::ModelLost(failure));
    }

    /// Gives a frame to the model. Two seconds that it does not take are the end of the session.
    #[expect(clippy::large_types_passed_by_value, reason = "the queue takes it by value")]
    fn hear(&mut self, heard: TimedFrame) {
        let Some(link) = &self.model else { return };
        match link.audio.try_send(HeardFrame::new(heard, clock::now())) {
            Ok(()) => self.frames_refused = 0,
            Err(TrySendError::Full(_)) => {
                self.frames_refused += 1;
                self.shell.meter.count(Counter::FrameModel);
                if self.frames_refused >= FRAMES_REFUSED_MAX {
                    self.frames_refused = 0;
                    self.lose_model(ModelFailure::Stalled);
                }
            }
            // The session has ended, and its last items tell why.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    fn send(&mut self, packet: OpusPacket) {
        let Some(room) = &self.room else { return };
        let now = clock::now();
        self.ledger.on_sent(&packet, now);
        if let Err(error) = room.playout.try_send(OpusPacket { at: now, ..packet }) {
            tracing::debug!(agent = %self.id, "the room did not take a packet of ours");
            if matches!(error, TrySendError::Full(_)) {
                self.shell.meter.count(Counter::FrameRoom);
            }
        }
    }

    fn record(&mut self, call: CallId, mut entry: RecordEntry) {
        self.ledger.complete(&mut entry);
        self.tally_entry(&entry);
        self.tracer.record(&call, &entry);
        if let RecordEntry::Turn(turn) = &entry
            && let Some(latency) = turn.latency()
        {
            tracing::debug!(%call, is_ours = turn.turn_end_is_ours, "a turn: {latency}");
        }
        self.reporter.on_record(&call, &entry, &self.name);
        if let Some(recording) = &mut self.recording {
            recording.on_entry(&entry);
            self.recording.take_if(|_| matches!(entry, RecordEntry::Ended { .. }));
        }
        self.recorder.record(call, entry, &self.name);
    }

    /// Begins the recording of a call, or goes on with the one that came with it.
    fn begin_recording(&mut self, call: &CallId, spec: &RecordingSpec, began: Instant) {
        if let Some(recording) = &mut self.recording {
            return recording.resume();
        }
        let Some(recordings) = &self.shell.recordings else {
            return tracing::error!(%call, "to be recorded, and recordings.directory is unset");
        };
        let agent = self.recorder.agent();
        let (owner, agent_name) = (&agent.owner, &*self.name);
        let subject = Subject { owner, call, agent: &agent.id, agent_name };
        self.recording = recordings.begin(&subject, spec, began);
    }

    #[expect(clippy::large_types_passed_by_value, reason = "the queue takes it by value")]
    fn tape(&self, taped: Taped) {
        if let Some(recording) = &self.recording {
            recording.put(taped);
        }
    }
}

/// What an operator may read: what happens, and never what is said.
fn log(notification: &Notification) {
    match notification {
        Notification::State { from, to, reason } => {
            tracing::info!(from = from.as_str(), to = to.as_str(), reason, "lifecycle");
        }
        Notification::RoomJoined { call, participants, .. } => {
            tracing::info!(%call, others = participants.len(), "joined the room");
        }
        Notification::RoomLeft { call, reason, .. } => {
            tracing::info!(%call, reason, "left the room");
        }
        Notification::TranscriberFatalError { code, message }
        | Notification::Error { code, message } => {
            // A model's message may quote what was said, so it is for DEBUG only.
            tracing::info!(code, "told an error");
            tracing::debug!(code, message, "what the error said");
        }
        Notification::Status(_)
        | Notification::ToolCall { .. }
        | Notification::CancelToolCall { .. }
        | Notification::ParticipantJoined(_)
        | Notification::ParticipantLeft { .. }
        | Notification::RoomMessage { .. }
        | Notification::VadStart { .. }
        | Notification::VadEnd { .. }
        | Notification::Transcript { .. }
        | Notification::Speak { .. }
        | Notification::SpeakStatus { .. }
        | Notification::VoiceStatus { .. }
        | Notification::Handoff { .. } => tracing::debug!(?notification, "told"),
    }
}

/// Two seconds of frames.
const FRAMES_REFUSED_MAX: u32 = 100;
