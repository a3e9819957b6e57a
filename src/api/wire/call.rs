//! Past calls, as the archive shows them to their owners (extension).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ParticipantBody;
use super::words::{OutcomeWord, SpeakerWord, TakerWord};

/// Which page of which calls is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct CallsQuery {
    /// Only the calls that this agent was in.
    pub(in crate::api) agent_id: Option<String>,
    /// How many at most; 20 unless given.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, example = 20)]
    pub(in crate::api) limit: Option<String>,
    /// `nextCursor` of the page before.
    pub(in crate::api) cursor: Option<String>,
}

/// A page of calls.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Calls)]
pub(in crate::api) struct CallsBody {
    pub(in crate::api) calls: Vec<CallSummaryBody>,
    /// What to ask the next page with; null at the end.
    #[schema(required = true)]
    pub(in crate::api) next_cursor: Option<String>,
}

/// A call that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CallSummary)]
pub(in crate::api) struct CallSummaryBody {
    pub(in crate::api) id: String,
    /// The agent that was in it last.
    pub(in crate::api) agent_id: String,
    pub(in crate::api) agent_name: String,
    #[schema(required = true)]
    pub(in crate::api) user_id: Option<String>,
    pub(in crate::api) room_url: String,
    #[schema(format = DateTime)]
    pub(in crate::api) started_at: String,
    #[schema(format = DateTime)]
    pub(in crate::api) ended_at: String,
    pub(in crate::api) duration_ms: u64,
    pub(in crate::api) reason: String,
    /// There only if some of what happened was lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub(in crate::api) incomplete: bool,
}

/// All that is kept of a call. Times are in milliseconds of the call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PastCall)]
pub(in crate::api) struct PastCallBody {
    #[serde(flatten)]
    pub(in crate::api) summary: CallSummaryBody,
    pub(in crate::api) participants: Vec<ParticipantBody>,
    pub(in crate::api) transcript: Vec<LineBody>,
    pub(in crate::api) turns: Vec<TurnBody>,
    pub(in crate::api) tool_calls: Vec<ToolCallBody>,
    pub(in crate::api) handoffs: Vec<PastHandOffBody>,
    /// Whether its sound can be had.
    pub(in crate::api) recorded: bool,
}

/// Something that was said.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Line)]
pub(in crate::api) struct LineBody {
    pub(in crate::api) at_ms: u64,
    #[schema(required = true)]
    pub(in crate::api) participant_id: Option<String>,
    #[schema(inline, value_type = SpeakerWord)]
    pub(in crate::api) speaker: &'static str,
    pub(in crate::api) text: String,
}

/// How one turn went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Turn)]
pub(in crate::api) struct TurnBody {
    #[schema(required = true)]
    pub(in crate::api) participant_id: Option<String>,
    #[schema(required = true)]
    pub(in crate::api) speech_start_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) speech_end_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) turn_end_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) transcript_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) answer_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) first_audio_ms: Option<u64>,
    #[schema(required = true)]
    pub(in crate::api) last_audio_ms: Option<u64>,
    /// From the end of speech to the first sound of the answer.
    #[schema(required = true)]
    pub(in crate::api) latency_ms: Option<u64>,
    /// What that time was spent on; there only if somebody spoke and was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) latency: Option<LatencyBody>,
    pub(in crate::api) heard_ms: u64,
    pub(in crate::api) interrupted: bool,
}

/// What a caller has waited for, from the end of speech to the first sound of the answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Latency)]
pub(in crate::api) struct LatencyBody {
    /// All of it.
    pub(in crate::api) total_ms: u64,
    /// Until the turn was taken as over.
    #[schema(required = true)]
    pub(in crate::api) end_of_turn_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = TakerWord, required = false)]
    pub(in crate::api) end_of_turn_by: Option<&'static str>,
    /// From then on until the model's first sound was here.
    #[schema(required = true)]
    pub(in crate::api) model_ms: Option<u64>,
    pub(in crate::api) gateway_us: GatewayShareBody,
}

/// The gateway's own share, in microseconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GatewayShare)]
pub(in crate::api) struct GatewayShareBody {
    /// From the packet of the last sound that the turn's end was seen by, to the model's socket.
    #[schema(required = true)]
    pub(in crate::api) uplink: Option<u64>,
    /// From the model's first sound to its first packet.
    #[schema(required = true)]
    pub(in crate::api) downlink: Option<u64>,
}

/// How one tool call went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ToolCall)]
pub(in crate::api) struct ToolCallBody {
    pub(in crate::api) tool_call_id: String,
    pub(in crate::api) tool_name: String,
    #[schema(value_type = Object)]
    pub(in crate::api) arguments: Value,
    #[schema(inline, value_type = OutcomeWord)]
    pub(in crate::api) outcome: &'static str,
    /// What the model was told, as it was told.
    pub(in crate::api) output: String,
    pub(in crate::api) asked_ms: u64,
    pub(in crate::api) took_ms: u64,
}

/// From which agent to which the call went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PastHandOff)]
pub(in crate::api) struct PastHandOffBody {
    pub(in crate::api) from_agent_id: String,
    pub(in crate::api) to_agent_id: String,
    pub(in crate::api) reason: String,
    pub(in crate::api) at_ms: u64,
}
