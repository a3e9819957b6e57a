//! Agents over REST: made, listed, read, ended.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::Api;
use super::auth::Owner;
use super::body::JsonText;
use super::convert::{Moment, agent_body, new_agent};
use super::error::ApiError;
use super::wire::{AgentBody, AgentsBody, ListQuery, NewAgentBody, OnDuplicate};
use crate::ids::AgentId;
use crate::runtime::{AgentView, CreateError};
use crate::sys::clock;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/agents", get(list).post(create))
        .route("/api/agents/{id}", get(read).delete(end))
}

async fn create(
    State(api): State<Api>,
    Owner(owner): Owner,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let body = NewAgentBody::parse(&text)?;
    let on_duplicate = body.on_duplicate;
    let error = match api.gateway.create(&owner, new_agent(body)).await {
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

async fn list(
    State(api): State<Api>,
    Owner(owner): Owner,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<AgentsBody>, ApiError> {
    let Query(ListQuery { limit, cursor }) =
        query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    let limit = match limit.as_deref() {
        None => LIMIT,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                ApiError::invalid("limit", &format!("must be a whole number from 1 to {LIMIT_MAX}"))
            })?
        }
    };
    let page = api.gateway.list(&owner, limit, cursor.as_deref()).await?;
    let agents = page.rows.into_iter().map(shown).collect();
    Ok(Json(AgentsBody { agents, next_cursor: page.next }))
}

async fn read(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Json<AgentBody>, ApiError> {
    Ok(Json(shown(api.gateway.read(&owner, &AgentId::new(id)).await?)))
}

async fn end(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.delete(&owner, &AgentId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn created(view: AgentView) -> Response {
    let body = shown(view);
    let location = format!("/api/agents/{}", body.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response()
}

fn shown(view: AgentView) -> AgentBody {
    agent_body(view, Moment { now: clock::now(), unix_ms: clock::unix_ms() })
}

/// Agents on a page, unless asked otherwise.
const LIMIT: usize = 20;
const LIMIT_MAX: usize = 100;
