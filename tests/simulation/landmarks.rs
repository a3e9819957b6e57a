//! Where a simulation must come to: one that never gets there proves nothing.

use callbridge::agent::{Notification, Output, RecordEntry, SpeakStatus, ToolCancel};

/// The landmark that this output is, if it is one.
pub(crate) fn landmark(output: &Output) -> Option<&'static str> {
    match output {
        Output::HandOff(baggage) if baggage.has_call() => Some("a call is handed off"),
        Output::HandOff(_) => Some("a thought is handed off"),
        Output::Record { entry: RecordEntry::Ended { reason, .. }, .. } => {
            (reason == "handoff failed").then_some("a call finds no heir")
        }
        Output::Notify(told) => told_landmark(told),
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

const LEFT: [&str; 4] = ["requested", "idle", "abandoned", "TRANSCRIBER_FATAL"];

/// All of them, in order.
pub(crate) const LANDMARKS: [&str; 23] = [
    "AGENT_DELETED",
    "AGENT_EXPIRED",
    "AGENT_INACTIVE",
    "MODEL_COMPLAINT",
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
    "a sentence ends",
    "a thought is handed off",
    "a tool is ended",
    "a tool is interrupted",
    "a tool takes too long",
    "abandoned",
    "idle",
    "requested",
];
