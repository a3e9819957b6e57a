//! What a server sends: the events of a voice session. Those of MCP, DTMF and WebRTC playout
//! stay `Unknown`.

#![expect(missing_docs, reason = "the names are the protocol's own, documented by its vendor")]

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{Empty, ItemRef, events, misfit_is_default, null_is_default};
use super::item::{Content, Item, Response};
use super::session::{Field, SessionEvent};

events! {
    /// Sent by a server.
    ServerEvent<'a> {
        "error" => Error(ErrorEvent),
        "session.created" => SessionCreated(SessionEvent),
        "session.updated" | "transcription_session.updated" => SessionUpdated(SessionEvent),
        "conversation.created" => ConversationCreated(ConversationEvent),
        "conversation.item.added" | "conversation.item.created" => ItemAdded(ItemEvent),
        "conversation.item.done" => ItemDone(ItemEvent),
        "conversation.item.retrieved" => ItemRetrieved(ItemEvent),
        "conversation.item.deleted" => ItemDeleted(ItemRef),
        "conversation.item.truncated" => ItemTruncated(ItemTruncated),
        "conversation.item.input_audio_transcription.delta"
            => TranscriptionDelta(TranscriptionDelta),
        "conversation.item.input_audio_transcription.updated"
            => TranscriptionUpdated(TranscriptionUpdated),
        "conversation.item.input_audio_transcription.completed"
            => TranscriptionCompleted(TranscriptionCompleted),
        "conversation.item.input_audio_transcription.failed"
            => TranscriptionFailed(TranscriptionFailed),
        "input_audio_buffer.committed" => Committed(Committed),
        "input_audio_buffer.cleared" => Cleared(Empty),
        "input_audio_buffer.speech_started" => SpeechStarted(SpeechStarted),
        "input_audio_buffer.speech_stopped" => SpeechStopped(SpeechStopped),
        "input_audio_buffer.timeout_triggered" => TimeoutTriggered(TimeoutTriggered),
        "response.created" => ResponseCreated(ResponseEvent),
        "response.done" => ResponseDone(ResponseEvent),
        "response.output_item.added" => OutputItemAdded(OutputItem),
        "response.output_item.done" => OutputItemDone(OutputItem),
        "response.content_part.added" => PartAdded(PartEvent),
        "response.content_part.done" => PartDone(PartEvent),
        "response.output_audio.delta" | "response.audio.delta" => AudioDelta(AudioDelta<'a>),
        "response.output_audio.done" | "response.audio.done" => AudioDone(PartDone),
        "response.output_audio_transcript.delta" | "response.audio_transcript.delta"
            => TranscriptDelta(TextDelta),
        "response.output_audio_transcript.done" | "response.audio_transcript.done"
            => TranscriptDone(TranscriptDone),
        "response.output_text.delta" | "response.text.delta" => TextDelta(TextDelta),
        "response.output_text.done" | "response.text.done" => TextDone(TextDone),
        "response.function_call_arguments.delta" => ArgumentsDelta(ArgumentsDelta),
        "response.function_call_arguments.done" => ArgumentsDone(ArgumentsDone),
        "rate_limits.updated" => RateLimits(RateLimits),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEvent {
    pub error: ErrorBody,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    pub code: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub message: String,
    pub param: Option<String>,
    /// The client event that caused it; often `null` even when there is one.
    pub event_id: Option<String>,
}

impl ErrorBody {
    /// The code, or the kind where a server gives no code.
    #[must_use]
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.kind)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationEvent {
    pub conversation: Value,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemEvent {
    #[serde(default)]
    pub previous_item_id: Option<String>,
    pub item: Box<Item>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemTruncated {
    pub item_id: String,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default)]
    pub audio_end_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptionDelta {
    pub item_id: String,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default, deserialize_with = "null_is_default")]
    pub delta: String,
}

/// Of xAI: all of the words so far, earlier ones perhaps corrected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptionUpdated {
    pub item_id: String,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default, deserialize_with = "null_is_default")]
    pub transcript: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TranscriptionCompleted {
    pub item_id: String,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default, deserialize_with = "null_is_default")]
    pub transcript: String,
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub usage: Field<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptionFailed {
    pub item_id: String,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default, deserialize_with = "misfit_is_default")]
    pub error: ErrorBody,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Committed {
    pub item_id: String,
    pub previous_item_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpeechStarted {
    /// On the clock of the sound that was appended.
    pub audio_start_ms: u64,
    pub item_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpeechStopped {
    pub audio_end_ms: u64,
    pub item_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeoutTriggered {
    pub audio_start_ms: u64,
    pub audio_end_ms: u64,
    pub item_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseEvent {
    pub response: Box<Response>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputItem {
    #[serde(default)]
    pub response_id: String,
    #[serde(default)]
    pub output_index: u32,
    pub item: Box<Item>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartEvent {
    pub response_id: String,
    pub item_id: String,
    pub output_index: u32,
    pub content_index: u32,
    #[serde(deserialize_with = "misfit_is_default")]
    pub part: Content,
}

/// A stretch of the agent's sound. Read without copying: it comes in large and often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioDelta<'a> {
    #[serde(default, borrow)]
    pub response_id: Cow<'a, str>,
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
    #[serde(default)]
    pub output_index: u32,
    #[serde(default)]
    pub content_index: u32,
    /// Sound in the session's output format, as base64.
    #[serde(borrow)]
    pub delta: Cow<'a, str>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDone {
    #[serde(default)]
    pub response_id: String,
    pub item_id: String,
    #[serde(default)]
    pub output_index: u32,
    #[serde(default)]
    pub content_index: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDelta {
    #[serde(default)]
    pub response_id: String,
    pub item_id: String,
    #[serde(default)]
    pub output_index: u32,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default, deserialize_with = "null_is_default")]
    pub delta: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptDone {
    #[serde(default)]
    pub response_id: String,
    pub item_id: String,
    #[serde(default)]
    pub output_index: u32,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default)]
    pub transcript: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDone {
    #[serde(default)]
    pub response_id: String,
    pub item_id: String,
    #[serde(default)]
    pub output_index: u32,
    #[serde(default)]
    pub content_index: u32,
    #[serde(default)]
    pub text: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArgumentsDelta {
    pub response_id: String,
    pub item_id: String,
    pub output_index: u32,
    pub call_id: String,
    pub delta: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArgumentsDone {
    pub response_id: String,
    pub item_id: String,
    pub output_index: u32,
    pub call_id: Option<String>,
    /// Missing in older and compatible servers: the item has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub arguments: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimits {
    #[serde(deserialize_with = "misfit_is_default")]
    pub rate_limits: Vec<RateLimit>,
}

/// How much of `requests` or `tokens` is left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimit {
    pub name: String,
    pub limit: f64,
    pub remaining: f64,
    pub reset_seconds: f64,
}
