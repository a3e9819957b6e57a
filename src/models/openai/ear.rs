//! What the model hears: speech that begins and ends, and its words.

use std::time::Instant;

use super::transcripts::{Kind, Transcripts};
use crate::agent::ModelEvent;
use crate::ids::UtteranceId;
use crate::models::wire::{Committed, ItemEvent, ServerEvent, SessionUpdate, TranscriptionFailed};

/// Who does what when somebody else speaks, by the settings that went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turns {
    /// Whether the server says when a turn is over.
    pub(super) by_server: bool,
    /// Whether it answers then by itself.
    pub(super) creates: bool,
    /// Whether it breaks off its own answer by speech.
    pub(super) interrupts: bool,
}

impl Turns {
    /// A session in which nobody is heard, or we say when a turn is over.
    pub(super) const OURS: Self = Self { by_server: false, creates: false, interrupts: false };

    /// As these settings have it. What they leave out is on.
    pub(super) fn of(update: &SessionUpdate) -> Self {
        let input = update.session.audio.as_ref().and_then(|audio| audio.input.as_ref());
        let Some(detection) = input.and_then(|input| input.turn_detection.value()) else {
            return Self::OURS;
        };
        Self {
            by_server: true,
            creates: detection.create_response.unwrap_or(true),
            interrupts: detection.interrupt_response.unwrap_or(true),
        }
    }
}

/// The utterances of others, named as the server names its items.
#[derive(Debug)]
pub(super) struct Ear {
    interrupts: bool,
    /// The utterance that has begun and not ended.
    hearing: Option<String>,
    /// The last turn that was taken as over.
    committed: Option<String>,
    transcripts: Transcripts,
}

impl Ear {
    /// Has heard nothing yet.
    pub(super) fn new(interrupts: bool) -> Self {
        Self { interrupts, hearing: None, committed: None, transcripts: Transcripts::default() }
    }

    /// Whether somebody is heard speaking.
    pub(super) const fn is_hearing(&self) -> bool {
        self.hearing.is_some()
    }

    /// Whether this was the last turn, and is over: what is said now answers it.
    pub(super) fn is_answered(&self, utterance: &UtteranceId) -> bool {
        self.committed.as_deref() == Some(utterance.as_str())
    }

    /// The words of an utterance so far.
    pub(super) fn draft(&self, item_id: &str) -> String {
        self.transcripts.draft(item_id).to_owned()
    }

    /// Speech has begun. Said twice of one utterance, it counts once.
    pub(super) fn on_started(&mut self, item_id: String) -> Option<ModelEvent> {
        if self.hearing.as_ref() == Some(&item_id) {
            return None;
        }
        let utterance = UtteranceId::new(item_id.as_str());
        self.hearing = Some(item_id);
        Some(ModelEvent::SpeechStarted { utterance, interrupts: self.interrupts })
    }

    /// Speech has ended.
    pub(super) fn on_stopped(&mut self, item_id: &str) -> ModelEvent {
        self.hearing = None;
        ModelEvent::SpeechStopped { utterance: UtteranceId::new(item_id) }
    }

    /// The turn was taken as over; says so where the server did not say that speech had ended.
    pub(super) fn on_committed(&mut self, event: &Committed) -> Option<ModelEvent> {
        let (id, previous) = (&event.item_id, event.previous_item_id.as_deref());
        self.transcripts.on_item(id, previous, Kind::Heard);
        self.committed = Some(id.clone());
        let open = self.hearing.as_ref() == Some(id);
        open.then(|| self.on_stopped(id))
    }

    /// What else tells of the words of others, or of their place.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what else there is needs no reaction")]
    pub(super) fn on_other(&mut self, event: ServerEvent<'_>, now: Instant) {
        let words = &mut self.transcripts;
        match event {
            ServerEvent::ItemAdded(event) | ServerEvent::ItemDone(event) => self.on_item(&event),
            ServerEvent::TimeoutTriggered(event) => words.on_silence(&event.item_id),
            ServerEvent::TranscriptionDelta(event) => words.on_words(&event.item_id, &event.delta),
            ServerEvent::TranscriptionUpdated(event) => {
                words.on_draft(&event.item_id, event.transcript);
            }
            ServerEvent::TranscriptionCompleted(event) => {
                words.on_final(&event.item_id, Some(event.transcript), now);
            }
            other => {
                tracing::trace!(kind = other.type_name(), "a model event without consequence");
            }
        }
    }

    /// An item is in the conversation.
    fn on_item(&mut self, event: &ItemEvent) {
        let mut parts = event.item.content.iter().flatten();
        let kind = match event.item.role.as_deref() {
            Some("user") if parts.any(|part| part.kind == "input_audio") => Kind::Heard,
            _ => Kind::Other,
        };
        let id = event.item.id.as_deref().unwrap_or_default();
        self.transcripts.on_item(id, event.previous_item_id.as_deref(), kind);
    }

    /// No more words will come: those there are must do.
    pub(super) fn on_failed(&mut self, event: &TranscriptionFailed, now: Instant) {
        self.transcripts.on_final(&event.item_id, None, now);
    }

    /// The words that there are to tell.
    pub(super) fn poll_words(&mut self) -> Option<ModelEvent> {
        self.transcripts.poll_event()
    }

    /// Lets go of words that wait for others: the session is at its end.
    pub(super) fn release_words(&mut self) {
        self.transcripts.release();
    }

    /// When words have waited long enough for those before them.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.transcripts.poll_timeout()
    }

    /// Lets go of words that have waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.transcripts.handle_timeout(now);
    }
}
