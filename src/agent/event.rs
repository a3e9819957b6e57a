//! What the world reports to an agent. Events cannot be refused: they have happened.

use std::time::Instant;

use crate::ids::{ClientId, ParticipantId, ResponseId, ToolCallId, UtteranceId};
use crate::privacy::Pii;

/// Something that has happened.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A client has connected.
    ClientConnected(ClientId),
    /// A client has gone, whether it said so or not.
    ClientDisconnected(ClientId),
    /// The room reports.
    Room(RoomEvent),
    /// The model reports.
    Model(ModelEvent),
    /// A participant's speech has begun or ended, by our own ear.
    Speech(SpeechEdge),
    /// Our own voice reports what was heard of it.
    Playback(PlaybackEvent),
    /// Another agent has handed everything over to this one.
    TakenOver(Box<super::handoff::Baggage>),
    /// The process is going down; finish what runs, begin nothing.
    Shutdown,
}

/// Someone in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Its id in the room.
    pub id: ParticipantId,
    /// The name it has chosen, possibly empty.
    pub name: String,
}

/// What a room adapter reports, after a join was asked of it.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// We are in, with these others.
    Joined {
        /// Who was there before us.
        participants: Vec<Participant>,
    },
    /// We did not get in, or were dropped.
    Failed(RoomFailure),
    /// Someone else came in.
    ParticipantJoined(Participant),
    /// Someone else is gone.
    ParticipantLeft {
        /// Who.
        id: ParticipantId,
        /// Why, in a few words for people: they hung up, or fell silent.
        reason: String,
    },
    /// Someone else has begun to speak, or has ended, by the room's own word. Only rooms that mix
    /// everybody into one sound tell it, and they may tell it late.
    Speaking {
        /// Who.
        id: ParticipantId,
        /// Begun, or ended.
        is_speaking: bool,
    },
    /// Someone else has written to everybody in the room.
    Message {
        /// Who.
        id: ParticipantId,
        /// What.
        text: Pii<String>,
    },
    /// How the line to someone else is, about once a second while it carries anything.
    Quality {
        /// Who is at its other end.
        id: ParticipantId,
        /// How it was since the last time.
        line: LineQuality,
    },
    /// We are out, because we asked for it.
    Left,
}

/// How a line to a participant is, by the reports of both ends (RTCP; RFC 3550, section 6.4).
///
/// Up is from them to us, down is from us to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineQuality {
    /// Packets of theirs that did not reach us, in percent.
    pub lost_up_percent: u8,
    /// Packets of ours that did not reach them, in percent.
    pub lost_down_percent: u8,
    /// How unevenly their packets reach us, in milliseconds.
    pub jitter_up_ms: u16,
    /// How unevenly our packets reach them, in milliseconds.
    pub jitter_down_ms: u16,
    /// How long a packet takes there and back, in milliseconds, once it has been measured.
    pub round_trip_ms: Option<u16>,
}

/// Why a room cannot be had, or is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomFailure {
    /// No adapter takes such a URL, or it is switched off.
    #[error("no adapter takes rooms like {0:?}")]
    Unsupported(String),
    /// The place exists not.
    #[error("there is no such room")]
    NotFound,
    /// The token is missing, wrong or out of date.
    #[error("the room refused the token")]
    Unauthorized,
    /// The place does not answer.
    #[error("the room cannot be reached: {0}")]
    Unreachable(String),
    /// The room takes no more participants.
    #[error("the room is full")]
    Full,
    /// The offer or answer makes no sense, or no sound gets through.
    #[error("media failed: {0}")]
    Media(String),
    /// The room has closed, or has sent us out.
    #[error("the room has ended the call: {0}")]
    Closed(String),
}

impl RoomFailure {
    /// The code that clients see (contract, section 8).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "UNSUPPORTED_ROOM",
            Self::NotFound => "ROOM_NOT_FOUND",
            Self::Unauthorized => "ROOM_UNAUTHORIZED",
            Self::Unreachable(_) => "ROOM_UNREACHABLE",
            Self::Full => "ROOM_FULL",
            Self::Media(_) => "MEDIA_FAILED",
            Self::Closed(_) => "ROOM_CLOSED",
        }
    }
}

/// What a model adapter reports, after a session was opened.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// The session is configured; it hears from here on.
    Ready {
        /// Whether the model says when a turn is over. If not, the agent does.
        takes_turns: bool,
    },
    /// The session cannot be had, or is lost for good.
    Failed(ModelFailure),
    /// The model hears someone begin to speak (`input_audio_buffer.speech_started`).
    SpeechStarted {
        /// The utterance that begins.
        utterance: UtteranceId,
        /// Whether the model breaks off its own answer by it (`interrupt_response`).
        interrupts: bool,
    },
    /// The model takes the turn as over (`input_audio_buffer.speech_stopped`, or committed).
    SpeechStopped {
        /// The utterance that ends.
        utterance: UtteranceId,
    },
    /// What was said to the agent, as text.
    Transcript {
        /// Which utterance it is the text of.
        utterance: UtteranceId,
        /// All of its text so far.
        text: Pii<String>,
        /// Whether it will change no more.
        is_final: bool,
    },
    /// The model has begun to answer.
    ResponseStarted {
        /// The answer.
        response: ResponseId,
    },
    /// What the agent is saying, as text.
    Words {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// All of its text so far.
        text: Pii<String>,
        /// Whether it will change no more.
        is_final: bool,
    },
    /// The model asks for a tool.
    ToolCall {
        /// The answer that asks for it.
        response: ResponseId,
        /// The call, answered by a `ToolResult` with the same id.
        id: ToolCallId,
        /// The tool's name.
        name: String,
        /// A JSON object, as text.
        arguments_json: String,
    },
    /// The answer is complete, or was broken off. Its audio may still be playing.
    ResponseDone {
        /// The answer.
        response: ResponseId,
        /// How it ended.
        outcome: ResponseOutcome,
    },
    /// The session is lost, and another is being opened in its place. What was told of answers and
    /// utterances so far stays true; those that were under way have been ended.
    Reconnecting {
        /// What happened.
        reason: String,
    },
    /// The new session stands, and knows what was said.
    Restored,
    /// The model complains of something it survives.
    Complaint {
        /// The model's own code, or its kind of error.
        code: String,
        /// What it says.
        message: String,
    },
}

/// How a model's answer ended (`response.done`, `status`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseOutcome {
    /// All was said.
    Completed,
    /// It was broken off, by us or by speech.
    Cancelled,
    /// The model stopped short (tokens, content filter).
    Incomplete,
    /// The model failed, with its code.
    Failed(String),
}

/// Why a model cannot be had, or is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelFailure {
    /// No such profile, no connection, no session in time.
    #[error("the model cannot be had: {0}")]
    Unavailable(String),
    /// The session broke in mid-call.
    #[error("the model session was lost: {0}")]
    Lost(String),
    /// The model takes no audio: two seconds of it had to be dropped.
    #[error("the model takes no audio")]
    Stalled,
    /// The model has sent more speech than any queue will hold.
    #[error("the model sends more speech than can be queued")]
    Flooding,
}

impl ModelFailure {
    /// The code that clients see (contract, section 8).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "MODEL_UNAVAILABLE",
            Self::Lost(_) | Self::Stalled | Self::Flooding => "TRANSCRIBER_FATAL",
        }
    }
}

/// A change in a participant's speech, by our own VAD.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeechEdge {
    /// Whose speech.
    pub participant: ParticipantId,
    /// Begun or ended.
    pub kind: EdgeKind,
    /// When it really began or ended: before the detector could be sure of it.
    pub at: Instant,
}

/// Which way speech has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// From silence to speech, or to something that sounds like its beginning.
    Started,
    /// It has gone on for so long that it is meant: no click and no cough.
    Sustained,
    /// From speech to silence.
    Stopped,
}

/// What was heard of the agent's voice: told by the pacer, which alone knows.
#[derive(Clone, Debug, PartialEq)]
pub enum PlaybackEvent {
    /// The first packet of an utterance has left.
    Started {
        /// The agent's utterance.
        utterance: UtteranceId,
    },
    /// The last packet of an utterance has left.
    Finished {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// How much of it was heard, in milliseconds.
        heard_ms: u64,
    },
    /// An utterance was cut off, or was dropped before it began.
    Flushed {
        /// The agent's utterance.
        utterance: UtteranceId,
        /// How much of it was heard, in milliseconds; 0 if it had not begun.
        heard_ms: u64,
        /// Where it was cut, in milliseconds of the sound as the model has sent it: what was heard,
        /// and the silence before it that was left out.
        end_ms: u64,
        /// How much of it the model had delivered, in milliseconds.
        received_ms: u64,
        /// Whether the model had delivered all of it.
        is_complete: bool,
    },
    /// After a flush, when all of it is told: nothing of ours is left to be heard.
    Silent,
}
