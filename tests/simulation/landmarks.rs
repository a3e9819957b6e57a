//! Where a simulation must come to: one that never gets there proves nothing.

use callbridge::agent::{
    ModelAction, Notification, Output, PlaybackAction, RecordEntry, SpeakStatus, ToolCancel,
};

/// The landmark that this output is, if it is one.
pub(crate) fn landmark(output: &Output) -> Option<&'static str> {
    match output {
        Output::HandOff(baggage) if baggage.has_call() => Some("a call is handed off"),
        Output::HandOff(_) => Some("a thought is handed off"),
        Output::Record { entry: RecordEntry::Ended { reason, .. }, .. } => {
            (reason == "handoff failed").then_some("a call finds no heir")
        }
        Output::Notify(told) => told_landmark(told),
        Output::Playback(PlaybackAction::Resume) => Some("a false start"),
        Output::Model(ModelAction::Commit) => Some("a turn that we take"),
        Output::Model(ModelAction::Clear) => Some("a noise is forgotten"),
        Output::Model(ModelAction::Respond { instructions: Some(words) }) => {
            let is_said = |word: &&&str| words.expose().contains(**word);
            SAID.iter().find(|(word, _)| is_said(&word)).map(|(_, landmark)| *landmark)
        }
        _ => None,
    }
}

fn told_landmark(told: &Notification) -> Option<&'static str> {
    match told {
        Notification::CancelToolCall { reason, .. } => Some(match reason {
            ToolCancel::Timeout => "a tool takes too long",
            ToolCancel::Interrupted => "a tool is interrupted",
            ToolCancel::Ended => "a tool is ended",
        }),
        Notification::SpeakStatus { status: SpeakStatus::Finished, .. } => Some("a sentence ends"),
        Notification::SpeakStatus { status: SpeakStatus::Interrupted, .. } => Some("a barge-in"),
        Notification::RoomLeft { reason, .. } => LEFT.iter().find(|left| *left == reason).copied(),
        Notification::Error { code, .. } => Some(code),
        _ => None,
    }
}

const LEFT: [&str; 5] = ["requested", "idle", "alone", "abandoned", "TRANSCRIBER_FATAL"];

const SAID: [(&str, &str); 2] = [("Hello", "a greeting"), ("moment", "a filler")];

/// All of them, in order.
pub(crate) const LANDMARKS: [&str; 30] = [
    "AGENT_DELETED",
    "AGENT_EXPIRED",
    "AGENT_INACTIVE",
    "MODEL_COMPLAINT",
    "MODEL_RECONNECTING",
    "MODEL_RESPONSE_FAILED",
    "MODEL_UNAVAILABLE",
    "ROOM_CLOSED",
    "ROOM_FULL",
    "ROOM_UNREACHABLE",
    "SERVER_SHUTDOWN",
    "TOO_MANY_ROUNDS",
    "TRANSCRIBER_FATAL",
    "a barge-in",
    "a call finds no heir",
    "a call is handed off",
    "a false start",
    "a filler",
    "a greeting",
    "a noise is forgotten",
    "a sentence ends",
    "a thought is handed off",
    "a tool is ended",
    "a tool is interrupted",
    "a tool takes too long",
    "a turn that we take",
    "abandoned",
    "alone",
    "idle",
    "requested",
];
