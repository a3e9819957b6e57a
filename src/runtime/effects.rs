//! Doing what the core says: each output becomes one call of an adapter, and none of them waits.

use tokio::sync::mpsc::error::TrySendError;

use super::driver::{Driver, Exit};
use super::sound::Sound;
use crate::agent::{
    Event, JoinRequest, ModelAction, ModelFailure, Notification, Output, PlaybackEvent, RoomAction,
    RoomEvent, RoomFailure,
};
use crate::ids::ParticipantId;
use crate::media::{Frame24k, OpusPacket};
use crate::sys::{clock, entropy};

impl Driver {
    /// Does one output. What it brings about at once is born as an event.
    pub(super) fn perform(&mut self, output: Output) -> Option<Exit> {
        match output {
            Output::Notify(notification) => self.tell(notification),
            Output::Room(RoomAction::Join(request)) => self.join(&request),
            Output::Room(RoomAction::Leave) => {
                // Dropping the link leaves the room; there is no one left to wait for.
                self.close_room();
                self.born.push_back(Event::Room(RoomEvent::Left));
            }
            Output::Model(action) => self.act(action),
            Output::FlushPlayback => self.flush(),
            Output::CloseClients => self.clients.close(),
            Output::Record { call, entry } => self.recorder.record(call, entry, &self.name),
            Output::HandOff(baggage) => self.hand_over(*baggage),
            Output::Forget(memory) => return Some(Exit::Forget(memory)),
            Output::Stop => return Some(Exit::Stop),
        }
        None
    }

    fn tell(&mut self, notification: Notification) {
        log(&notification);
        let (stamped, lost) = self.clients.tell(notification);
        for client in lost {
            tracing::warn!(%client, "disconnected a client that does not take its events");
            self.born.push_back(Event::ClientDisconnected(client));
        }
        // The room's page sees what its agents tell from their coming in to their going.
        if let Notification::RoomJoined { room_url, .. } = &stamped.notification {
            self.room_url.clone_from(room_url);
        } else if matches!(stamped.notification, Notification::RoomLeft { .. }) {
            self.room_url.clear();
        }
        self.shell.publish(&self.room_url, &self.id, stamped);
    }

    fn join(&mut self, request: &JoinRequest) {
        // The room stamps its own name for us on what we say; this one stays in here.
        let own = ParticipantId::from_entropy(entropy::bits());
        match Sound::new(own, clock::now()) {
            Ok(sound) => self.sound = Some(sound),
            Err(error) => {
                let failure = RoomFailure::Media(error.to_string());
                return self.born.push_back(Event::Room(RoomEvent::Failed(failure)));
            }
        }
        self.room = Some(self.shell.join(request, &self.name));
    }

    pub(super) fn close_room(&mut self) {
        self.room = None;
        self.sound = None;
    }

    /// Loses the room; what was heard until then is known before the core hears of it.
    pub(super) fn drop_room(&mut self) {
        self.flush();
        self.close_room();
    }

    /// Falls silent, and tells the core how much was heard.
    fn flush(&mut self) {
        let flushed = self.sound.as_mut().map(|sound| sound.flush().map(Event::Playback));
        self.born.extend(flushed.into_iter().flatten());
        self.born.push_back(Event::Playback(PlaybackEvent::Silent));
    }

    fn act(&mut self, action: ModelAction) {
        match action {
            ModelAction::Open { spec, medium } => match self.shell.open_model(*spec, medium) {
                Ok(link) => self.model = Some(link),
                Err(failure) => self.fail_model(failure),
            },
            ModelAction::Close => self.model = None,
            ModelAction::AddText { .. }
            | ModelAction::AddImage { .. }
            | ModelAction::Respond { .. }
            | ModelAction::ToolOutput { .. }
            | ModelAction::Cancel
            | ModelAction::Truncate { .. } => {
                let Some(link) = &self.model else { return };
                if link.actions.try_send(action).is_err() {
                    self.fail_model(ModelFailure::Lost("it takes no instructions".into()));
                }
            }
        }
    }

    /// Gives a frame to the model. Two seconds that it does not take are the end of the session.
    #[expect(clippy::large_types_passed_by_value, reason = "the queue takes it by value")]
    pub(super) fn hear(&mut self, frame: Frame24k) {
        let Some(link) = &self.model else { return };
        match link.audio.try_send(frame) {
            Ok(()) => self.frames_refused = 0,
            Err(TrySendError::Full(_)) => {
                self.frames_refused += 1;
                if self.frames_refused >= FRAMES_REFUSED_MAX {
                    self.frames_refused = 0;
                    self.fail_model(ModelFailure::Stalled);
                }
            }
            // The session has ended, and its last items tell why.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    pub(super) fn send(&mut self, packet: OpusPacket) {
        let Some(room) = &self.room else { return };
        if room.playout.try_send(packet).is_err() {
            tracing::debug!(agent = %self.id, "the room did not take a packet of ours");
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
        | Notification::ParticipantLeft(_)
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
