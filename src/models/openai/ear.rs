//! What the model hears: speech that begins and ends, and its words.

use super::recent::Recent;
use crate::agent::ModelEvent;
use crate::ids::UtteranceId;
use crate::models::wire::{TranscriptionCompleted, TranscriptionDelta, TranscriptionFailed};
use crate::privacy::Pii;

/// The utterances of others, named as the server names its items.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// The utterance that has begun and not ended.
    hearing: Option<String>,
    /// Words that may still change. Transcripts may come long after the answer.
    drafts: Recent<Draft, DRAFTS_KEPT>,
}

#[derive(Debug)]
struct Draft {
    item_id: String,
    text: String,
}

impl Ear {
    /// Speech has begun. Said twice of one utterance, it counts once.
    pub(super) fn on_started(&mut self, item_id: String) -> Option<ModelEvent> {
        if self.hearing.as_ref() == Some(&item_id) {
            return None;
        }
        let utterance = UtteranceId::new(item_id.as_str());
        self.hearing = Some(item_id);
        Some(ModelEvent::SpeechStarted { utterance })
    }

    /// Speech has ended.
    pub(super) fn on_stopped(&mut self, item_id: &str) -> ModelEvent {
        self.hearing = None;
        ModelEvent::SpeechStopped { utterance: UtteranceId::new(item_id) }
    }

    /// The turn was taken as over; says so where the server did not say that speech had ended.
    pub(super) fn on_committed(&mut self, item_id: &str) -> Option<ModelEvent> {
        let open = self.hearing.as_deref() == Some(item_id);
        open.then(|| self.on_stopped(item_id))
    }

    /// More of the words.
    pub(super) fn on_words(&mut self, event: &TranscriptionDelta) -> Option<ModelEvent> {
        if event.delta.is_empty() {
            return None;
        }
        let draft = self.drafts.find_or_push(
            |draft| draft.item_id == event.item_id,
            || Draft { item_id: event.item_id.clone(), text: String::new() },
        );
        draft.text.push_str(&event.delta);
        Some(transcript(&draft.item_id, draft.text.clone(), false))
    }

    /// All of the words; none at all is an answer too.
    pub(super) fn on_transcript(&mut self, event: TranscriptionCompleted) -> ModelEvent {
        if let Some(draft) = self.drafts.find(|draft| draft.item_id == event.item_id) {
            draft.text.clear();
        }
        transcript(&event.item_id, event.transcript, true)
    }

    /// No more words will come: those there are must do.
    pub(super) fn on_failed(&mut self, event: &TranscriptionFailed) -> ModelEvent {
        let draft = self.drafts.find(|draft| draft.item_id == event.item_id);
        transcript(&event.item_id, draft.map(|draft| draft.text.clone()).unwrap_or_default(), true)
    }
}

fn transcript(item_id: &str, text: String, is_final: bool) -> ModelEvent {
    ModelEvent::Transcript { utterance: UtteranceId::new(item_id), text: Pii::new(text), is_final }
}

/// Utterances whose words may come at the same time; a few turns at most.
const DRAFTS_KEPT: usize = 8;
