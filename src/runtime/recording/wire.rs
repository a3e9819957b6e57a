//! The event log beside a recording: one JSON object a line, in the words that clients know.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Subject;
use crate::agent::{Notification, RecordingSpec, ToolRecord};
use crate::ids::AgentId;

/// Something that has happened, and when on the clock of the call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    at_ms: u64,
    #[serde(flatten)]
    what: Happening,
}

/// What has happened. Most of it is as clients are told it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub(super) enum Happening {
    /// The first line. `atMs` is 0 unless the call was taken over by an agent that is recorded.
    #[serde(rename = "recording_started")]
    Started {
        call_id: String,
        agent_id: String,
        agent_name: String,
        /// When the clock of the call was 0, in milliseconds since the Unix epoch.
        started_at_ms: u64,
        format: &'static str,
        sample_rate: u32,
        /// `left`: the participants; `right`: the agent, as far as it was heard.
        channels: [&'static str; 2],
        #[serde(skip_serializing_if = "Option::is_none")]
        consent: Option<String>,
    },
    /// The last line, if the gateway has lived to write it.
    #[serde(rename = "recording_ended")]
    Ended { reason: String },
    /// The last line of a recording that was found open when the gateway started.
    #[serde(rename = "recording_interrupted")]
    Interrupted,
    /// The sound ends here, for it is as long as it may become; what happens is written on.
    #[serde(rename = "recording_full")]
    Full,
    #[serde(rename = "participant_joined")]
    ParticipantJoined { participant_id: String, name: String },
    #[serde(rename = "participant_left")]
    ParticipantLeft { participant_id: String, name: String, reason: String },
    #[serde(rename = "room_message")]
    RoomMessage { participant_id: String, name: String, text: String },
    #[serde(rename = "vad_start")]
    VadStart { participant_id: String },
    #[serde(rename = "vad_end")]
    VadEnd { participant_id: String },
    #[serde(rename = "transcript")]
    Transcript { participant_id: String, utterance_id: String, text: String },
    #[serde(rename = "speak-status")]
    SpeakStatus { speech_id: String, status: &'static str, heard_ms: u64, text: String },
    #[serde(rename = "tool-call")]
    ToolCall { tool_call_id: String, tool_name: String, arguments: Box<RawValue> },
    #[serde(rename = "cancel-tool-call")]
    CancelToolCall { tool_call_id: String, reason: &'static str },
    /// How a tool call ended.
    #[serde(rename = "tool-result")]
    ToolResult { tool_call_id: String, outcome: &'static str, output: String, took_ms: u64 },
    #[serde(rename = "handoff")]
    Handoff { to_agent_id: String, reason: String },
}

impl Line {
    pub(super) const fn new(at_ms: u64, what: Happening) -> Self {
        Self { at_ms, what }
    }

    /// What clients are told at this moment of the call, as far as it belongs to the call. Speech
    /// is dated by itself: it was found out later.
    pub(super) fn told(told: &Notification, now_ms: u64) -> Option<Self> {
        let at_ms = if let Notification::VadStart { at_ms, .. }
        | Notification::VadEnd { at_ms, .. } = told
        {
            *at_ms
        } else {
            now_ms
        };
        Happening::told(told).map(|what| Self { at_ms, what })
    }

    /// The first line of a recording, that begins so long after its call.
    pub(super) fn first(
        subject: &Subject<'_>,
        spec: &RecordingSpec,
        unix_ms: u64,
        ago: Duration,
    ) -> Self {
        let at_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let what = Happening::Started {
            call_id: subject.call.to_string(),
            agent_id: subject.agent.to_string(),
            agent_name: subject.agent_name.to_owned(),
            started_at_ms: unix_ms.saturating_sub(at_ms),
            format: spec.format.as_str(),
            sample_rate: crate::media::HOUSE_RATE,
            channels: ["participants", "agent"],
            consent: spec.consent.clone(),
        };
        Self { at_ms, what }
    }

    /// The line as text, with its end.
    pub(super) fn text(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// When a line says that it has happened, by its text.
pub(super) fn at_ms_of(text: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Dated {
        at_ms: u64,
    }
    serde_json::from_slice::<Dated>(text).ok().map(|dated| dated.at_ms)
}

impl Happening {
    /// What clients are told, as far as it belongs to the call.
    fn told(told: &Notification) -> Option<Self> {
        Some(match told {
            Notification::ParticipantJoined(who) => Self::ParticipantJoined {
                participant_id: who.id.to_string(),
                name: who.name.clone(),
            },
            Notification::ParticipantLeft { participant: who, reason } => Self::ParticipantLeft {
                participant_id: who.id.to_string(),
                name: who.name.clone(),
                reason: reason.clone(),
            },
            Notification::RoomMessage { participant: who, text } => Self::RoomMessage {
                participant_id: who.id.to_string(),
                name: who.name.clone(),
                text: text.expose().clone(),
            },
            Notification::Transcript { participant, utterance, text, is_final: true } => {
                Self::Transcript {
                    participant_id: participant.to_string(),
                    utterance_id: utterance.to_string(),
                    text: text.expose().clone(),
                }
            }
            Notification::SpeakStatus { utterance, status, heard_ms, text } => Self::SpeakStatus {
                speech_id: utterance.to_string(),
                status: status.as_str(),
                heard_ms: *heard_ms,
                text: text.expose().clone(),
            },
            Notification::ToolCall { id, name, arguments_json, .. } => Self::ToolCall {
                tool_call_id: id.to_string(),
                tool_name: name.clone(),
                arguments: RawValue::from_string(arguments_json.clone()).unwrap_or_default(),
            },
            Notification::CancelToolCall { id, reason } => {
                Self::CancelToolCall { tool_call_id: id.to_string(), reason: reason.as_str() }
            }
            Notification::VadStart { participant, .. } => {
                Self::VadStart { participant_id: participant.to_string() }
            }
            Notification::VadEnd { participant, .. } => {
                Self::VadEnd { participant_id: participant.to_string() }
            }
            Notification::Transcript { is_final: false, .. }
            | Notification::Status(_)
            | Notification::State { .. }
            | Notification::RoomJoined { .. }
            | Notification::RoomLeft { .. }
            | Notification::Speak { .. }
            | Notification::VoiceStatus { .. }
            | Notification::TranscriberFatalError { .. }
            // It is told when the call is gone; the record knows before.
            | Notification::Handoff { .. }
            | Notification::Error { .. } => return None,
        })
    }

    /// Another agent takes the call over.
    pub(super) fn handed_off(to: &AgentId, reason: &str) -> Self {
        Self::Handoff { to_agent_id: to.to_string(), reason: reason.to_owned() }
    }

    /// How a tool call ended.
    pub(super) fn tool(tool: &ToolRecord) -> Self {
        Self::ToolResult {
            tool_call_id: tool.id.to_string(),
            outcome: tool.outcome.as_str(),
            output: tool.output.expose().clone(),
            took_ms: tool.took_ms,
        }
    }
}
