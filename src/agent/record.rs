//! What goes on record of a call, as it happens: its words, its turns, its tools, its end.

use super::event::Participant;
use super::transcript::Line;
use crate::ids::{AgentId, ParticipantId, ToolCallId};
use crate::privacy::Pii;

/// One entry of a call's record. Times are in milliseconds of the call.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordEntry {
    /// The agent is in the room: the record begins.
    Began {
        /// Where.
        room_url: String,
        /// Who was there before.
        participants: Vec<Participant>,
    },
    /// Someone came in.
    Participant(Participant),
    /// Something was said; of the agent, only what was heard.
    Line(Line),
    /// A turn is over.
    Turn(TurnRecord),
    /// A tool call is resolved.
    Tool(ToolRecord),
    /// Another agent has taken the call over; its entries follow.
    HandedOff {
        /// Who goes on.
        to: AgentId,
        /// Why.
        reason: String,
        /// When.
        at_ms: u64,
    },
    /// The call is over: the record ends.
    Ended {
        /// Why.
        reason: String,
        /// When.
        at_ms: u64,
    },
}

/// How one turn went: somebody spoke, the agent answered, or one of the two did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnRecord {
    /// Who spoke; `None` where the agent spoke unasked.
    pub participant: Option<ParticipantId>,
    /// Their speech began, by our ear.
    pub speech_start_ms: Option<u64>,
    /// Their speech ended, by our ear.
    pub speech_end_ms: Option<u64>,
    /// The model took the turn as over.
    pub turn_end_ms: Option<u64>,
    /// Their final words were known.
    pub transcript_ms: Option<u64>,
    /// The model began to answer.
    pub answer_ms: Option<u64>,
    /// The first sound of the answer left.
    pub first_audio_ms: Option<u64>,
    /// The last sound of the answer left.
    pub last_audio_ms: Option<u64>,
    /// How much of the answer was heard, in milliseconds of sound.
    pub heard_ms: u64,
    /// Whether the answer was cut off.
    pub interrupted: bool,
}

impl TurnRecord {
    /// From the end of speech to the first sound of the answer: what the caller waited.
    #[must_use]
    pub fn latency_ms(&self) -> Option<u64> {
        Some(self.first_audio_ms?.saturating_sub(self.speech_end_ms?))
    }
}

/// How one tool call went.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRecord {
    /// The call.
    pub id: ToolCallId,
    /// The tool.
    pub name: String,
    /// A JSON object, as text.
    pub arguments_json: Pii<String>,
    /// How it ended.
    pub outcome: ToolOutcome,
    /// What the model was told: JSON or plain text.
    pub output: Pii<String>,
    /// When the model asked for it.
    pub asked_ms: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolOutcome {
    /// A client gave a result.
    Completed,
    /// A client said that it failed, or that it was canceled.
    Failed,
    /// Nobody answered in time.
    Timeout,
    /// A client interrupted the agent.
    Interrupted,
    /// The call, or the agent, ended first.
    Ended,
}

impl ToolOutcome {
    /// The outcome as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }
}
