//! The `OpenAI` Realtime protocol (GA) as types, for both sides of the socket.
//!
//! Reading is lenient: events, fields and names we do not know are passed over, beta names are
//! taken as aliases. Writing is strict: only what is set, because a server refuses a whole update
//! for one field it does not know; by GA names, or in the shape of a server's dialect.

mod audio;
mod client;
mod event;
mod item;
mod server;
mod session;
mod shape;

pub use audio::{FrameWriter, PcmDecoder, append_frame, output_audio_delta, pcm_to_base64};
pub use client::{Append, ClientEvent, ItemCreate, ItemTruncate, ResponseCancel, ResponseCreate};
pub use event::{DecodeError, Empty, ItemRef, Message};
pub use item::{Content, Item, ItemKind, Response, ResponseParams, ResponseStatus, StatusDetails};
pub use server::{
    ArgumentsDelta, ArgumentsDone, AudioDelta, Committed, ConversationEvent, ErrorBody, ErrorEvent,
    ItemEvent, ItemTruncated, OutputItem, PartDone, PartEvent, RateLimit, RateLimits,
    ResponseEvent, ServerEvent, SpeechStarted, SpeechStopped, TextDelta, TextDone,
    TimeoutTriggered, TranscriptDone, TranscriptionCompleted, TranscriptionDelta,
    TranscriptionFailed, TranscriptionUpdated,
};
pub use session::{
    AudioFormat, AudioInput, AudioOutput, Field, NoiseReduction, Reasoning, Session, SessionAudio,
    SessionEvent, SessionUpdate, Tool, Transcription, TurnDetection, Voice,
};

pub use shape::encode_for;

/// Why a text is not the JSON that is asked for.
pub use serde_json::Error as JsonError;

#[cfg(test)]
mod tests;
