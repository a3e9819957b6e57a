//! What the shell must do for an agent, in this order; and what clients are told.

use super::command::JoinRequest;
use super::event::Participant;
use super::handoff::Baggage;
use super::record::RecordEntry;
use super::spec::{AgentSpec, Listening};
use crate::ids::{AgentId, CallId, ParticipantId, ToolCallId, UtteranceId};
use crate::privacy::Pii;

/// To be done by the shell, in the order given.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Tell every client.
    Notify(Notification),
    /// Do something about the room.
    Room(RoomAction),
    /// Do something about the model.
    Model(ModelAction),
    /// Hear others in this way from here on, and speak to them in this way.
    Listen(Listening),
    /// Do something about our own speech that was not yet heard.
    Playback(PlaybackAction),
    /// Close every client's connection.
    CloseClients,
    /// Put this on the record of a call.
    Record {
        /// The stay.
        call: CallId,
        /// What has happened.
        entry: RecordEntry,
    },
    /// Pass this on to the successor, with the room if there is a call.
    HandOff(Box<Baggage>),
    /// Delete the agent durably, and stop. Nothing follows.
    Forget(Memory),
    /// Stop without deleting: the process is going down. Nothing follows.
    Stop,
}

/// What stays of an agent that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing.
    None,
    /// That it has expired, for a day.
    Expired,
    /// The end user it served is served by this agent.
    Heir(AgentId),
}

/// To be done about the room.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomAction {
    /// Join; answered by `RoomEvent::Joined` or `Failed`.
    Join(JoinRequest),
    /// Leave; answered by `RoomEvent::Left`.
    Leave,
}

/// To be done about our own voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaybackAction {
    /// Fall silent at the frame's edge, and keep what was not heard yet: somebody may be speaking.
    Hold,
    /// Go on where we were held.
    Resume,
    /// Drop all that was not heard yet; answered by one `Flushed` for each utterance queued, and
    /// then by `Silent`.
    Flush,
}

/// To be done about the model.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelAction {
    /// Open a session for this agent; answered by `ModelEvent::Ready` or `Failed`.
    Open {
        /// Who is to answer.
        spec: Box<AgentSpec>,
        /// In which way.
        medium: Medium,
    },
    /// Add something to the conversation, without answering it.
    AddText {
        /// Who says it.
        role: Role,
        /// What is said.
        text: Pii<String>,
    },
    /// Add an image to the conversation, without answering it.
    AddImage {
        /// A `data:` URL.
        url: Pii<String>,
    },
    /// Answer now. Requests that come while an answer runs are merged into one after it.
    Respond {
        /// What to say, in place of the agent's own instructions.
        instructions: Option<Pii<String>>,
    },
    /// Give a tool's outcome to the model (`function_call_output`).
    ToolOutput {
        /// The call it answers.
        id: ToolCallId,
        /// JSON or plain text.
        output: Pii<String>,
    },
    /// Break off the running answer, if there is one.
    Cancel,
    /// Break off the answer that ran when the model began to hear this, and not the one to it.
    GiveWay {
        /// What it hears, or has heard meanwhile.
        utterance: UtteranceId,
    },
    /// Make the model forget what was not heard (`conversation.item.truncate`, or delete at 0 ms).
    Truncate {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// Up to where of it was heard, in milliseconds of the sound as the model has sent it.
        end_ms: u64,
    },
    /// Take the turn as over (`input_audio_buffer.commit`), where the model does not do so itself.
    Commit,
    /// Forget what was heard since the last turn (`input_audio_buffer.clear`): it was no speech.
    Clear,
    /// Close the session.
    Close,
}

/// Who says something in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The frame around the conversation.
    System,
    /// The other side.
    User,
    /// The agent itself.
    Assistant,
}

/// How a conversation with a model is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// It hears and speaks.
    Voice,
    /// It reads and writes.
    Text,
}

/// Told to every client of the agent, in one order.
#[derive(Clone, Debug, PartialEq)]
pub enum Notification {
    /// What the agent is busy with.
    Status(Activity),
    /// A lifecycle transition.
    State {
        /// The phase before.
        from: Phase,
        /// The phase after.
        to: Phase,
        /// Why.
        reason: &'static str,
    },
    /// Run this tool.
    ToolCall {
        /// Answer with this id.
        id: ToolCallId,
        /// The tool.
        name: String,
        /// A JSON object, as text.
        arguments_json: String,
        /// How long the client may take.
        timeout_seconds: u64,
    },
    /// Stop running this tool.
    CancelToolCall {
        /// The call.
        id: ToolCallId,
        /// Why it is not wanted any more.
        reason: ToolCancel,
    },
    /// The agent is in the room.
    RoomJoined {
        /// The stay.
        call: CallId,
        /// Where.
        room_url: String,
        /// Who else is there.
        participants: Vec<Participant>,
    },
    /// The agent is out of the room.
    RoomLeft {
        /// The stay.
        call: CallId,
        /// Where.
        room_url: String,
        /// Why.
        reason: String,
    },
    /// Someone came in.
    ParticipantJoined(Participant),
    /// Someone went out.
    ParticipantLeft {
        /// Who.
        participant: Participant,
        /// Why, in a few words for people.
        reason: String,
    },
    /// Someone has written to everybody in the room.
    RoomMessage {
        /// Who.
        participant: Participant,
        /// What.
        text: Pii<String>,
    },
    /// Someone begins to speak, by our own ear.
    VadStart {
        /// Who.
        participant: ParticipantId,
        /// When the speech began, in milliseconds of the call.
        at_ms: u64,
    },
    /// Someone has stopped speaking, by our own ear.
    VadEnd {
        /// Who.
        participant: ParticipantId,
        /// When the speech ended, in milliseconds of the call.
        at_ms: u64,
    },
    /// What someone said.
    Transcript {
        /// Who.
        participant: ParticipantId,
        /// The utterance.
        utterance: UtteranceId,
        /// All of its text so far.
        text: Pii<String>,
        /// Whether it will change no more.
        is_final: bool,
    },
    /// What the agent says.
    Speak {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// All of its text so far.
        text: Pii<String>,
        /// Whether it will change no more.
        is_final: bool,
    },
    /// What was heard of what the agent says.
    SpeakStatus {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// Where it stands.
        status: SpeakStatus,
        /// How much was heard, in milliseconds.
        heard_ms: u64,
        /// The part of its text that was heard.
        text: Pii<String>,
    },
    /// Where the agent stands with the call.
    VoiceStatus {
        /// Where it stands.
        status: VoiceStatus,
        /// Why.
        reason: Option<String>,
    },
    /// The agent cannot hear any more; it will leave the call.
    TranscriberFatalError {
        /// The kind of failure.
        code: &'static str,
        /// What happened.
        message: String,
    },
    /// Another agent goes on in the place of this one.
    Handoff {
        /// Which.
        to: AgentId,
        /// Why.
        reason: String,
    },
    /// Something went wrong that the clients should know.
    Error {
        /// The kind (contract, section 8).
        code: &'static str,
        /// What happened.
        message: String,
    },
}

/// Where the agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Made, and nobody is connected.
    Created,
    /// At least one client, nothing going on.
    Connected,
    /// Working, or in a call.
    Active,
    /// Passing the conversation on.
    HandingOff,
    /// Over.
    Ended,
}

impl Phase {
    /// The phase as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Connected => "connected",
            Self::Active => "active",
            Self::HandingOff => "handing_off",
            Self::Ended => "ended",
        }
    }
}

/// What the agent is busy with; computed from its machines, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activity {
    /// Nothing; it listens if it is in a call.
    #[default]
    Idle,
    /// The model is at work and nothing of it is to be heard.
    Thinking,
    /// The agent speaks, or a tool runs.
    Acting,
}

impl Activity {
    /// The activity as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Thinking => "thinking",
            Self::Acting => "acting",
        }
    }
}

/// Where an utterance of the agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeakStatus {
    /// Its first sound has left.
    Started,
    /// All of it was heard.
    Finished,
    /// It was cut off.
    Interrupted,
}

impl SpeakStatus {
    /// The status as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Where the agent stands with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoiceStatus {
    /// On its way in.
    Joining,
    /// In.
    Joined,
    /// Out.
    Left,
    /// It did not get in, or was thrown out.
    Error,
}

/// Why a tool call is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolCancel {
    /// Its time is over.
    Timeout,
    /// A client has interrupted the agent.
    Interrupted,
    /// The agent, or the call that asked for it, has ended.
    Ended,
}

impl ToolCancel {
    /// The reason as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }
}

/// What a client may see of an agent at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where it is in its life.
    pub phase: Phase,
    /// What it is busy with.
    pub activity: Activity,
    /// The call it is in, or on its way into or out of.
    pub call: Option<CallView>,
    /// How many clients are connected.
    pub clients: usize,
}

/// What a client may see of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallView {
    /// The stay.
    pub id: CallId,
    /// Where.
    pub room_url: String,
    /// How far in.
    pub stage: CallStage,
    /// Who else is there.
    pub participants: Vec<Participant>,
    /// For how long this stage has lasted is told by the shell's clock: when it began.
    pub since: std::time::Instant,
}

/// How far into or out of a call an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStage {
    /// On its way in.
    Joining,
    /// In.
    InCall,
    /// On its way out.
    Leaving,
}

impl CallStage {
    /// The stage as clients see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::InCall => "in_call",
            Self::Leaving => "leaving",
        }
    }
}
