//! What a client may ask of an agent, and the reasons for refusing it.

use std::time::Instant;

use thiserror::Error;

use super::spec::AgentSpec;
use crate::ids::{AgentId, CallId, ToolCallId};
use crate::privacy::{Pii, Secret};

/// Asked by a client; can be refused, and then nothing has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Join a call.
    Join(JoinRequest),
    /// Leave the call.
    Leave,
    /// New context: what has happened in the client's world. It replaces the context before it.
    Context(ContextUpdate),
    /// The outcome of a tool call.
    ToolResult(ToolResult),
    /// Speak this text in the call.
    Say(Pii<String>),
    /// Drop the current work: fall silent, stop thinking.
    Interrupt,
    /// Say nothing in the call until unmuted; it goes on listening.
    SetMuted(bool),
    /// Become another: the spec, and how long to live from now on.
    Reconfigure {
        /// The new spec, if it changes.
        spec: Option<std::sync::Arc<AgentSpec>>,
        /// When its time to live is over, if that changes.
        expires_at: Option<Option<Instant>>,
    },
    /// Pass the conversation on, and end.
    HandOff {
        /// To whom.
        to: AgentId,
        /// Why.
        reason: String,
        /// What the successor should know besides.
        context: Option<Pii<String>>,
    },
    /// Expect another agent's conversation: join no call until it is here.
    ExpectHandoff,
    /// End the agent for good, on its owner's word.
    Delete,
}

/// Where to go, and under which name.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinRequest {
    /// The id this stay will have, chosen by the shell.
    pub call: CallId,
    /// What decides the adapter: `rooms/NAME`, `https://…/whip`, ….
    pub room_url: String,
    /// What the room wants to see.
    pub token: Option<Secret>,
    /// The name others see; the agent's own unless given.
    pub participant_name: Option<String>,
}

/// What has happened in the client's world.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextUpdate {
    /// What kind of event it is.
    pub name: String,
    /// The event in plain words.
    pub description: Pii<String>,
    /// The whole state after it, a JSON object as text.
    pub context_json: Pii<String>,
    /// Images that came with it, as `data:` URLs.
    pub images: Vec<Pii<String>>,
    /// Whether the agent may respond to it.
    pub triggering: bool,
}

/// The outcome of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call it answers.
    pub id: ToolCallId,
    /// JSON text of the result, or what went wrong.
    pub outcome: Result<Pii<String>, Pii<String>>,
    /// Whether it says that the tool was canceled, perhaps because we asked for it.
    pub canceled: bool,
    /// Whether the model should go on at once.
    pub respond: bool,
}

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The agent was created without `voice.enabled`.
    #[error("this agent was created without voice; set metadata.voice.enabled")]
    VoiceNotEnabled,
    /// The agent is in a call, or on its way into or out of one.
    #[error("the agent is already in a call: {room_url}")]
    AlreadyInCall {
        /// Where it is.
        room_url: String,
    },
    /// The command needs a call, and there is none.
    #[error("the agent is not in a call")]
    NotInCall,
    /// The result is late, second, or for nothing.
    #[error("no tool call {id} is waiting for a result")]
    UnknownToolCall {
        /// The call it claims to answer.
        id: ToolCallId,
    },
    /// The agent is at work, and cannot become another.
    #[error("the agent is at work; try again when it is idle and out of its call")]
    AgentBusy,
    /// More has been told than the agent can take in.
    #[error("too much is waiting for this agent")]
    QueueFull,
    /// The process takes no more calls at this moment.
    #[error("{reason}; try again in {retry_after_seconds} s")]
    Capacity {
        /// Why, for people.
        reason: String,
        /// After how many seconds another try is worth it.
        retry_after_seconds: u64,
    },
    /// The agent is in a phase in which this cannot be done.
    #[error("this cannot be done while the agent's state is {phase}")]
    InvalidState {
        /// The phase, as clients see it.
        phase: &'static str,
    },
}

impl Rejection {
    /// The code that clients see (contract, section 8).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::VoiceNotEnabled => "VOICE_NOT_ENABLED",
            Self::AlreadyInCall { .. } => "ALREADY_IN_CALL",
            Self::NotInCall => "NOT_IN_CALL",
            Self::UnknownToolCall { .. } => "UNKNOWN_TOOL_CALL",
            Self::AgentBusy => "AGENT_BUSY",
            Self::QueueFull => "QUEUE_FULL",
            Self::Capacity { .. } => "CAPACITY",
            Self::InvalidState { .. } => "INVALID_STATE",
        }
    }
}

/// A moment by which something must have happened, and what.
pub type Deadline = (Instant, &'static str);
