//! The archive over REST: past calls, listed, read, erased.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Owner;
use super::body::Path;
use super::convert::{arguments, participant_bodies, timestamp};
use super::error::ApiError;
use super::rest::page_limit;
use super::wire::{
    CallSummaryBody, CallsBody, CallsQuery, ErrorBody, GatewayShareBody, LatencyBody, LineBody,
    PastCallBody, PastHandOffBody, ToolCallBody, TurnBody,
};
use crate::agent::{Line, ToolRecord, TurnRecord};
use crate::ids::{AgentId, CallId};
use crate::runtime::{ArchivedCall, CallError, CallSummary, HandOffRecord};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read, erase))
}

/// List past calls
///
/// Newest first. A call is there when it has ended, for as long as the gateway's settings say.
#[utoipa::path(
    get,
    path = "/api/calls",
    operation_id = "listCalls",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(CallsQuery),
    responses((status = 200, description = "A page of them.", body = CallsBody)),
)]
async fn list(
    State(api): State<Api>,
    Owner(owner): Owner,
    query: Result<Query<CallsQuery>, QueryRejection>,
) -> Result<Json<CallsBody>, ApiError> {
    let Query(CallsQuery { agent_id, limit, cursor }) =
        query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    let limit = page_limit(limit.as_deref())?;
    let agent = agent_id.map(AgentId::new);
    let page = api.gateway.calls(&owner, agent.as_ref(), limit, cursor.as_deref()).await?;
    let calls = page.rows.into_iter().map(summary_body).collect();
    Ok(Json(CallsBody { calls, next_cursor: page.next }))
}

/// Read a past call
#[utoipa::path(
    get,
    path = "/api/calls/{id}",
    operation_id = "readCall",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The call.")),
    responses(
        (status = 200, description = "All that is kept of it.", body = PastCallBody),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such call, or \
            it is someone else's."),
    ),
)]
async fn read(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Json<PastCallBody>, ApiError> {
    let id = CallId::new(id);
    let call = api.gateway.call(&owner, &id).await?;
    let recorded = match api.gateway.recording(&owner, &id).await {
        Ok(_) => true,
        Err(CallError::NotFound) => false,
        // The call can be read all the same.
        Err(error) => {
            tracing::warn!(%error, call = %id, "nobody can say whether a call is recorded");
            false
        }
    };
    Ok(Json(past_call_body(call, recorded)))
}

/// Erase a past call
#[utoipa::path(
    delete,
    path = "/api/calls/{id}",
    operation_id = "eraseCall",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The call.")),
    responses(
        (status = 204, description = "Nothing is left of it."),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such call, or \
            it is someone else's."),
    ),
)]
async fn erase(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.erase_call(&owner, &CallId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn past_call_body(call: ArchivedCall, recorded: bool) -> PastCallBody {
    PastCallBody {
        summary: summary_body(call.summary),
        participants: participant_bodies(&call.participants),
        transcript: call.lines.into_iter().map(line_body).collect(),
        turns: call.turns.into_iter().map(turn_body).collect(),
        tool_calls: call.tools.into_iter().map(tool_call_body).collect(),
        handoffs: call.handoffs.into_iter().map(hand_off_body).collect(),
        recorded,
    }
}

fn summary_body(call: CallSummary) -> CallSummaryBody {
    CallSummaryBody {
        id: call.id.to_string(),
        agent_id: call.agent.to_string(),
        agent_name: call.agent_name,
        user_id: call.user_id,
        room_url: call.room_url,
        started_at: timestamp(call.started_at_ms),
        ended_at: timestamp(call.ended_at_ms),
        duration_ms: call.ended_at_ms.saturating_sub(call.started_at_ms),
        reason: call.reason,
        incomplete: call.is_incomplete,
    }
}

fn line_body(line: Line) -> LineBody {
    LineBody {
        at_ms: line.at_ms,
        speaker: if line.participant.is_some() { "participant" } else { "agent" },
        participant_id: line.participant.map(|id| id.to_string()),
        text: line.text.expose().clone(),
    }
}

fn turn_body(turn: TurnRecord) -> TurnBody {
    TurnBody {
        latency_ms: turn.latency_ms(),
        latency: latency_body(&turn),
        participant_id: turn.participant.map(|id| id.to_string()),
        speech_start_ms: turn.speech_start_ms,
        speech_end_ms: turn.speech_end_ms,
        turn_end_ms: turn.turn_end_ms,
        transcript_ms: turn.transcript_ms,
        answer_ms: turn.answer_ms,
        first_audio_ms: turn.first_audio_ms,
        last_audio_ms: turn.last_audio_ms,
        heard_ms: turn.heard_ms,
        interrupted: turn.interrupted,
    }
}

fn latency_body(turn: &TurnRecord) -> Option<LatencyBody> {
    let latency = turn.latency()?;
    let taker = if turn.turn_end_is_ours { "gateway" } else { "model" };
    Some(LatencyBody {
        total_ms: latency.total_ms,
        end_of_turn_ms: latency.end_of_turn_ms,
        end_of_turn_by: latency.end_of_turn_ms.map(|_| taker),
        model_ms: latency.model_ms,
        gateway_us: GatewayShareBody { uplink: latency.uplink_us, downlink: latency.downlink_us },
    })
}

fn tool_call_body(tool: ToolRecord) -> ToolCallBody {
    ToolCallBody {
        tool_call_id: tool.id.to_string(),
        tool_name: tool.name,
        arguments: arguments(tool.arguments_json.expose()),
        outcome: tool.outcome.as_str(),
        output: tool.output.expose().clone(),
        asked_ms: tool.asked_ms,
        took_ms: tool.took_ms,
    }
}

fn hand_off_body(handoff: HandOffRecord) -> PastHandOffBody {
    PastHandOffBody {
        from_agent_id: handoff.from.to_string(),
        to_agent_id: handoff.to.to_string(),
        reason: handoff.reason,
        at_ms: handoff.at_ms,
    }
}
