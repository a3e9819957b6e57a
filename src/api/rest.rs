//! Agents over REST: made, listed, read, changed, handed off, ended.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Owner;
use super::body::{JsonText, Path};
use super::convert::{Moment, agent_body, agent_change, heir, new_agent};
use super::error::ApiError;
use super::wire::{
    AgentBody, AgentChangeBody, AgentChangeSchema, AgentsBody, ErrorBody, HandOffBody,
    HandOffSchema, HandedOffBody, ListQuery, NewAgentBody, NewAgentSchema, OnDuplicate,
};
use crate::agent::AgentSpec;
use crate::ids::AgentId;
use crate::privacy::Pii;
use crate::runtime::{AgentView, CreateError, HandOffWish, Heir};
use crate::sys::clock;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update, replace, end))
        .routes(routes!(hand_off))
}

/// Make an agent
#[utoipa::path(
    post,
    path = "/api/agents",
    operation_id = "createAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    request_body = NewAgentSchema,
    responses(
        (status = 201, description = "The new agent.", body = AgentBody,
            headers(("Location" = String, description = "Where the agent is read."))),
        (status = 200, body = AgentBody, description = "The agent that serves this `userId` \
            already, if `onDuplicate` is `return`."),
        (status = 409, body = ErrorBody, description = "`DUPLICATE_SESSION`: an agent serves \
            this `userId` already; `agentId` names it."),
    ),
)]
async fn create(
    State(api): State<Api>,
    Owner(owner): Owner,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let body = NewAgentBody::parse(&text)?;
    let on_duplicate = body.on_duplicate;
    let new = new_agent(body);
    check_model(&api, &new.spec, "")?;
    let error = match api.gateway.create(&owner, new).await {
        Ok(view) => return Ok(created(view)),
        Err(error) => error,
    };
    match (&error, on_duplicate) {
        (CreateError::Duplicate(first), OnDuplicate::Return) => {
            let view = api.gateway.read(&owner, first).await?;
            Ok(Json(shown(view)).into_response())
        }
        _ => Err(error.into()),
    }
}

/// List one's agents
#[utoipa::path(
    get,
    path = "/api/agents",
    operation_id = "listAgents",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(ListQuery),
    responses((status = 200, description = "A page of them.", body = AgentsBody)),
)]
async fn list(
    State(api): State<Api>,
    Owner(owner): Owner,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<AgentsBody>, ApiError> {
    let Query(ListQuery { limit, cursor }) =
        query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    let limit = page_limit(limit.as_deref())?;
    let page = api.gateway.list(&owner, limit, cursor.as_deref()).await?;
    let agents = page.rows.into_iter().map(shown).collect();
    Ok(Json(AgentsBody { agents, next_cursor: page.next }))
}

/// Read an agent
#[utoipa::path(
    get,
    path = "/api/agents/{id}",
    operation_id = "readAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The agent.")),
    responses(
        (status = 200, description = "The agent.", body = AgentBody),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: there is no such \
            agent, or it is someone else's."),
    ),
)]
async fn read(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Json<AgentBody>, ApiError> {
    Ok(Json(shown(api.gateway.read(&owner, &AgentId::new(id)).await?)))
}

/// Change an agent
///
/// What is left out stays as it is; `metadata` is replaced whole. The time to live counts anew from
/// this moment. An agent at work is not changed.
#[utoipa::path(
    patch,
    path = "/api/agents/{id}",
    operation_id = "updateAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The agent.")),
    request_body = AgentChangeSchema,
    responses(
        (status = 200, description = "The agent as it is after the change.", body = AgentBody),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: there is no such \
            agent, or it is someone else's."),
        (status = 409, body = ErrorBody, description = "`AGENT_BUSY`: it is at work; \
            `DUPLICATE_SESSION`: another agent serves this `userId`, and `agentId` names it; \
            `INVALID_STATE`: it is on its way out."),
    ),
)]
async fn update(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
    JsonText(text): JsonText,
) -> Result<Json<AgentBody>, ApiError> {
    let change = agent_change(AgentChangeBody::parse(&text)?);
    if let Some(metadata) = &change.metadata {
        check_model(&api, &metadata.spec, "")?;
    }
    Ok(Json(shown(api.gateway.update(&owner, &AgentId::new(id), change).await?)))
}

/// Change an agent, as `PATCH` does
#[utoipa::path(
    put,
    path = "/api/agents/{id}",
    operation_id = "replaceAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The agent.")),
    request_body = AgentChangeSchema,
    responses(
        (status = 200, description = "The agent as it is after the change.", body = AgentBody),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: there is no such \
            agent, or it is someone else's."),
        (status = 409, body = ErrorBody, description = "`AGENT_BUSY`, `DUPLICATE_SESSION`, \
            `INVALID_STATE`: as for `PATCH`."),
    ),
)]
async fn replace(
    api: State<Api>,
    owner: Owner,
    id: Path<String>,
    text: JsonText,
) -> Result<Json<AgentBody>, ApiError> {
    update(api, owner, id, text).await
}

/// Hand an agent off
///
/// Another agent, which is there or is made for this, goes on with the conversation, the user and
/// the call; this one ends.
#[utoipa::path(
    post,
    path = "/api/agents/{id}/handoff",
    operation_id = "handOffAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The agent that hands off.")),
    request_body = HandOffSchema,
    responses(
        (status = 202, description = "Both are named; the first one ends.", body = HandedOffBody),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: one of the two is \
            not there, or is someone else's."),
        (status = 409, body = ErrorBody, description = "`AGENT_BUSY`, `INVALID_STATE`: one of \
            the two cannot at this moment; `DUPLICATE_SESSION`: the successor serves another \
            user, and `agentId` names it."),
    ),
)]
async fn hand_off(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
    JsonText(text): JsonText,
) -> Result<(StatusCode, Json<HandedOffBody>), ApiError> {
    let HandOffBody { to, context, reason } = HandOffBody::parse(&text)?;
    let heir = heir(to);
    if let Heir::New(new) = &heir {
        check_model(&api, &new.spec, "to.")?;
    }
    let from = AgentId::new(id);
    let wish = HandOffWish { heir, reason, context: context.map(Pii::new) };
    let to = api.gateway.hand_off(&owner, &from, wish).await?;
    let body = HandedOffBody { from: from.to_string(), to: to.to_string() };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// End an agent
///
/// Answers when it has left its call, its clients are told and gone, and it is deleted.
#[utoipa::path(
    delete,
    path = "/api/agents/{id}",
    operation_id = "endAgent",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The agent.")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: there is no such \
            agent, or it is someone else's."),
    ),
)]
async fn end(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.delete(&owner, &AgentId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an agent chooses must be here.
fn check_model(api: &Api, spec: &AgentSpec, prefix: &str) -> Result<(), ApiError> {
    check_profile(api, spec, prefix)?;
    check_detector(api, spec, prefix)?;
    check_recording(api, spec, prefix)
}

/// Who asks for recordings must not find out only after the call that there is none.
fn check_recording(api: &Api, spec: &AgentSpec, prefix: &str) -> Result<(), ApiError> {
    if spec.recording.is_none() || api.gateway.records() {
        return Ok(());
    }
    let message = "must be false: this gateway records nothing, for recordings.directory is unset";
    Err(ApiError::invalid(&format!("{prefix}metadata.voice.recording.enabled"), message))
}

/// A profile that is not there would be found out only when the agent is to think.
fn check_profile(api: &Api, spec: &AgentSpec, prefix: &str) -> Result<(), ApiError> {
    let Some(profile) = &spec.model.profile else { return Ok(()) };
    if api.gateway.model_profiles().any(|known| known == profile) {
        return Ok(());
    }
    let known: Vec<_> = api.gateway.model_profiles().collect();
    let message = match known.as_slice() {
        [] => "must be left out: no model profile is set up".to_owned(),
        known => format!("must be one of: {}", known.join(", ")),
    };
    Err(ApiError::invalid(&format!("{prefix}metadata.model.profile"), &message))
}

/// A detector that is not there would be found out only when the agent is to join a call.
fn check_detector(api: &Api, spec: &AgentSpec, prefix: &str) -> Result<(), ApiError> {
    if api.gateway.detects_by(spec.model.hearing.detector) {
        return Ok(());
    }
    let message = "must be webrtc or earshot: this gateway does not have the model of silero";
    Err(ApiError::invalid(&format!("{prefix}metadata.model.hearing.detector"), message))
}

/// How many rows a page is to have, as the query says.
pub(super) fn page_limit(text: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(LIMIT) };
    text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
        ApiError::invalid("limit", &format!("must be a whole number from 1 to {LIMIT_MAX}"))
    })
}

fn created(view: AgentView) -> Response {
    let body = shown(view);
    let location = format!("/api/agents/{}", body.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response()
}

fn shown(view: AgentView) -> AgentBody {
    agent_body(view, Moment { now: clock::now(), unix_ms: clock::unix_ms() })
}

/// Rows on a page, unless asked otherwise.
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;
