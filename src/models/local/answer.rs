//! One answer of the mind, from its request to its end, as the objects events carry.

use std::collections::VecDeque;

use futures_util::future::AbortHandle;
use serde_json::{Value, json};

use super::reply::dictated;
use super::voice::RATE;
use super::writing::Writing;
use crate::models::wire::{
    Content, ErrorBody, Field, Item, ItemKind, Response, ResponseParams, ResponseStatus,
    StatusDetails,
};

/// An answer under way.
#[derive(Debug)]
pub(super) struct Answer {
    /// By which events name it.
    pub(super) id: String,
    /// What was asked for.
    pub(super) params: ResponseParams,
    /// Whether it is written, not spoken.
    pub(super) is_text: bool,
    /// How far it has come.
    pub(super) stage: Stage,
    /// What it has put into words so far.
    pub(super) output: Option<Item>,
    /// How much sound it has sent, at 24 kHz.
    pub(super) samples: usize,
}

/// How far an answer has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for the words of what was just said; the recogniser has a deadline.
    Waiting,
    /// It speaks; the voice has a deadline for each sentence.
    Speaking(Speech),
    /// It writes; every pause in it ends.
    Writing(Writing),
}

/// Speech in the making.
#[derive(Debug)]
pub(super) struct Speech {
    /// What is not yet with the voice.
    pub(super) sentences: VecDeque<String>,
    /// What the voice is busy with, and how to stop it.
    pub(super) making: Option<(String, AbortHandle)>,
    /// What is made and not sent.
    pub(super) pieces: VecDeque<Piece>,
    /// The words sent so far.
    pub(super) told: String,
}

/// A piece of speech for one event.
#[derive(Debug)]
pub(super) enum Piece {
    /// The words of what follows.
    Words(String),
    /// Up to 200 ms of sound at 24 kHz.
    Sound(Vec<i16>),
}

/// How an answer ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// All is said.
    Completed,
    /// Broken off, and why.
    Cancelled(&'static str),
    /// There is no voice.
    Failed(String),
}

impl Answer {
    /// An answer that has been asked for.
    pub(super) fn new(id: String, params: ResponseParams, is_text: bool) -> Self {
        let stage = Stage::Waiting;
        Self { id, params, is_text, stage, output: None, samples: 0 }
    }

    /// Whether it stays out of the conversation.
    pub(super) fn is_beside(&self) -> bool {
        self.params.conversation.as_deref() == Some("none")
    }

    /// What it is to say word for word.
    pub(super) fn dictated(&self) -> Option<String> {
        self.params.instructions.as_deref().and_then(dictated).map(str::to_owned)
    }

    /// The id of what it has put into words.
    pub(super) fn item_id(&self) -> String {
        self.output.as_ref().and_then(|item| item.id.clone()).unwrap_or_default()
    }

    /// The speech, while there is one.
    pub(super) fn speech(&mut self) -> Option<&mut Speech> {
        match &mut self.stage {
            Stage::Waiting | Stage::Writing(_) => None,
            Stage::Speaking(speech) => Some(speech),
        }
    }

    /// The answer as events carry it while it is under way.
    pub(super) fn response(&self, conversation_id: &str) -> Response {
        let modality = if self.is_text { "text" } else { "audio" };
        Response {
            id: self.id.clone(),
            object: Some("realtime.response".to_owned()),
            status: ResponseStatus::InProgress,
            metadata: self.params.metadata.clone(),
            conversation_id: if self.is_beside() {
                Field::Null
            } else {
                Field::Value(conversation_id.to_owned())
            },
            output_modalities: Some(vec![modality.to_owned()]),
            ..Response::default()
        }
    }

    /// The answer as its last event carries it.
    pub(super) fn done(self, ending: Ending, conversation_id: &str) -> Response {
        let response = self.response(conversation_id);
        let usage = Field::Value(self.usage());
        let (status, status_details) = ending.status();
        let output = self.output.into_iter().collect();
        Response { status, status_details, output, usage, ..response }
    }

    /// Sound is counted as the real server does: 50 ms a token. Text is guessed.
    fn usage(&self) -> Value {
        let audio = self.samples / (RATE as usize / 20);
        let words = self.output.as_ref().map_or(0, |item| said(item).len());
        let text = words.div_ceil(CHARACTERS_PER_TOKEN);
        json!({
            "total_tokens": audio + text, "input_tokens": 0, "output_tokens": audio + text,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        })
    }
}

impl Speech {
    /// Speech that has not begun.
    pub(super) fn new(sentences: Vec<String>) -> Self {
        let sentences = sentences.into();
        Self { sentences, making: None, pieces: VecDeque::new(), told: String::new() }
    }

    /// Takes the sound of the sentence that was being made.
    pub(super) fn take(&mut self, sound: &[i16]) {
        let Some((sentence, _)) = self.making.take() else { return };
        let is_first = self.told.is_empty() && self.pieces.is_empty();
        let words = if is_first { sentence } else { format!(" {sentence}") };
        self.pieces.push_back(Piece::Words(words));
        let chunks = sound.chunks(PIECE_SAMPLES).map(|chunk| Piece::Sound(chunk.to_vec()));
        self.pieces.extend(chunks);
    }

    /// Whether nothing is left to make or to send.
    pub(super) fn is_over(&self) -> bool {
        self.sentences.is_empty() && self.making.is_none() && self.pieces.is_empty()
    }
}

impl Ending {
    /// What items are called by it.
    pub(super) fn item_status(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled(_) | Self::Failed(_) => "incomplete",
        }
    }

    fn status(self) -> (ResponseStatus, Option<StatusDetails>) {
        match self {
            Self::Completed => (ResponseStatus::Completed, None),
            Self::Cancelled(reason) => {
                let details = StatusDetails {
                    kind: Some("cancelled".to_owned()),
                    reason: Some(reason.to_owned()),
                    error: None,
                };
                (ResponseStatus::Cancelled, Some(details))
            }
            Self::Failed(message) => {
                let error = ErrorBody {
                    kind: "server_error".to_owned(),
                    code: Some("server_error".to_owned()),
                    message,
                    ..ErrorBody::default()
                };
                let kind = Some("failed".to_owned());
                let details = StatusDetails { kind, reason: None, error: Some(error) };
                (ResponseStatus::Failed, Some(details))
            }
        }
    }
}

/// A message of ours with one part of speech or text, or with none yet.
pub(super) fn message(id: &str, part: Option<Content>, status: &str) -> Item {
    Item {
        role: Some("assistant".to_owned()),
        content: Some(part.into_iter().collect()),
        ..item(id, ItemKind::Message, status)
    }
}

/// A call of a tool.
pub(super) fn call(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> Item {
    Item {
        call_id: Some(call_id.to_owned()),
        name: Some(name.to_owned()),
        arguments: Some(arguments.to_owned()),
        ..item(id, ItemKind::FunctionCall, status)
    }
}

/// An item as the server shows it.
pub(super) fn item(id: &str, kind: ItemKind, status: &str) -> Item {
    Item {
        id: Some(id.to_owned()),
        object: Some("realtime.item".to_owned()),
        kind,
        status: Some(status.to_owned()),
        ..Item::default()
    }
}

fn said(item: &Item) -> &str {
    let part = item.content.as_ref().and_then(|parts| parts.first());
    let words = part.and_then(|part| part.text.as_deref().or(part.transcript.as_deref()));
    words.or(item.arguments.as_deref()).unwrap_or_default()
}

/// 200 ms.
const PIECE_SAMPLES: usize = RATE as usize / 5;
const CHARACTERS_PER_TOKEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speech_is_cut_into_pieces_behind_its_words() {
        let mut speech = Speech::new(vec!["One.".into(), "Two.".into()]);
        for _ in 0..2 {
            let sentence = speech.sentences.pop_front().unwrap();
            speech.making = Some((sentence, AbortHandle::new_pair().0));
            speech.take(&[1; 5000]);
        }
        let pieces: Vec<String> = speech
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Words(words) => words.clone(),
                Piece::Sound(sound) => sound.len().to_string(),
            })
            .collect();
        assert_eq!(pieces, ["One.", "4800", "200", " Two.", "4800", "200"]);
        assert!(!speech.is_over());
    }

    #[test]
    fn a_cancelled_answer_says_why_and_what_it_cost() {
        let mut answer = Answer::new("resp_1".into(), ResponseParams::default(), false);
        answer.samples = 24_000;
        let response = answer.done(Ending::Cancelled("turn_detected"), "conv_1");
        let event = serde_json::to_value(&response).unwrap();
        assert_eq!(event["status"], "cancelled");
        assert_eq!(event["status_details"]["reason"], "turn_detected");
        assert_eq!(event["usage"]["output_token_details"]["audio_tokens"], 20);
    }
}
