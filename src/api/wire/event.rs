//! What Socket.IO clients and room pages are told (contract, section 3).

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One event, on the channel `event`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct ServerEvent<'a> {
    #[serde(flatten)]
    pub(in crate::api) kind: EventKind<'a>,
    /// The event's place in the agent's order; none for what concerns one client only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) seq: Option<u64>,
    /// ISO-8601, UTC, to the millisecond.
    pub(in crate::api) timestamp: String,
}

/// What has happened.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub(in crate::api) enum EventKind<'a> {
    #[serde(rename = "status")]
    Status { status: &'static str },
    #[serde(rename = "state")]
    State { from: &'static str, to: &'static str, reason: &'a str },
    #[serde(rename = "tool-call")]
    ToolCall { tool_call_id: &'a str, tool_name: &'a str, arguments: Value, timeout_seconds: u64 },
    #[serde(rename = "cancel-tool-call")]
    CancelToolCall { tool_call_id: &'a str, reason: &'static str },
    #[serde(rename = "room_joined")]
    RoomJoined { call_id: &'a str, room_url: &'a str, participants: Vec<ParticipantBody> },
    #[serde(rename = "room_left")]
    RoomLeft { call_id: &'a str, room_url: &'a str, reason: &'a str },
    #[serde(rename = "participant_joined")]
    ParticipantJoined { participant_id: &'a str, name: &'a str },
    #[serde(rename = "participant_left")]
    ParticipantLeft { participant_id: &'a str, name: &'a str, reason: &'a str },
    #[serde(rename = "room_message")]
    RoomMessage { participant_id: &'a str, name: &'a str, text: &'a str },
    #[serde(rename = "vad_start")]
    VadStart { participant_id: &'a str, at_ms: u64 },
    #[serde(rename = "vad_end")]
    VadEnd { participant_id: &'a str, at_ms: u64 },
    #[serde(rename = "transcript")]
    Transcript { participant_id: &'a str, text: &'a str, is_final: bool, utterance_id: &'a str },
    #[serde(rename = "speak")]
    Speak { speech_id: &'a str, text: &'a str, is_final: bool },
    #[serde(rename = "speak-status")]
    SpeakStatus { speech_id: &'a str, status: &'static str, heard_ms: u64, text: &'a str },
    #[serde(rename = "voice-status")]
    VoiceStatus {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    #[serde(rename = "transcriber_fatal_error")]
    TranscriberFatalError { code: &'a str, message: &'a str },
    #[serde(rename = "handoff")]
    Handoff { to_agent_id: &'a str, reason: &'a str },
    #[serde(rename = "error")]
    Error { code: &'a str, message: &'a str },
}

/// Someone in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Participant)]
pub(in crate::api) struct ParticipantBody {
    pub(in crate::api) id: String,
    #[schema(example = "Ann")]
    pub(in crate::api) name: String,
}

/// One event of a hosted room, for its page.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(in crate::api) enum RoomEvent<'a> {
    /// Who is there.
    Participants {
        #[serde(rename = "type")]
        kind: &'static str,
        participants: Vec<ParticipantBody>,
    },
    /// What an agent in the room hears, says and does.
    Agent {
        #[serde(rename = "agentId")]
        agent_id: &'a str,
        #[serde(rename = "agentName")]
        agent_name: &'a str,
        #[serde(flatten)]
        event: ServerEvent<'a>,
    },
}

/// One event of one of an owner's agents.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct FeedEvent<'a> {
    pub(in crate::api) agent_id: &'a str,
    pub(in crate::api) agent_name: &'a str,
    /// As the agent's clients get it.
    pub(in crate::api) event: ServerEvent<'a>,
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn an_event_is_flat_with_its_type_in_front() {
        let event = ServerEvent {
            kind: EventKind::Transcript {
                participant_id: "p_1",
                text: "hi",
                is_final: true,
                utterance_id: "utt_1",
            },
            seq: Some(7),
            timestamp: "2026-01-02T03:04:05.006Z".into(),
        };
        let text = serde_json::to_string(&event).expect("JSON");
        assert!(text.starts_with(r#"{"type":"transcript""#), "{text}");
        let expected = json!({
            "type": "transcript", "participantId": "p_1", "text": "hi", "isFinal": true,
            "utteranceId": "utt_1", "seq": 7, "timestamp": "2026-01-02T03:04:05.006Z",
        });
        assert_eq!(to_value(&event).expect("JSON"), expected);
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let event = ServerEvent {
            kind: EventKind::VoiceStatus { status: "joined", reason: None },
            seq: None,
            timestamp: String::new(),
        };
        let expected = json!({"type": "voice-status", "status": "joined", "timestamp": ""});
        assert_eq!(to_value(&event).expect("JSON"), expected);
    }

    #[test]
    fn a_room_event_names_its_agent() {
        let event = ServerEvent {
            kind: EventKind::Status { status: "idle" },
            seq: Some(1),
            timestamp: String::new(),
        };
        let event = RoomEvent::Agent { agent_id: "ag_1", agent_name: "Ada", event };
        let value = to_value(&event).expect("JSON");
        assert_eq!((&value["type"], &value["agentId"]), (&json!("status"), &json!("ag_1")));
    }
}
