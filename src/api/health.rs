//! Is the process alive, and does it take new work? REST says so itself while it does not.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::error::ApiError;
use super::wire::HealthBody;
use crate::runtime::CreateError;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// Whether the process is alive
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "It is.", body = HealthBody)),
)]
async fn alive() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

/// Whether new work is taken
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It is.", body = HealthBody),
        (status = 503, description = "It is not: the gateway is going down.", body = HealthBody),
    ),
)]
async fn ready(State(api): State<Api>) -> Response {
    if api.gateway.is_ready() {
        return Json(HealthBody { status: "ready" }).into_response();
    }
    let body = Json(HealthBody { status: "draining" });
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// While the gateway goes down, all of REST answers 503: agents leave one by one, and what could
/// be told of them would be wrong a moment later.
pub(super) async fn refuse_while_draining(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let refused = || ApiError::from(CreateError::Draining).into_response();
    if !api.gateway.is_ready() {
        return refused();
    }
    let response = next.run(request).await;
    // An agent, or the whole store, may have gone while the request was under way.
    let is_lost =
        matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR);
    if is_lost && !api.gateway.is_ready() { refused() } else { response }
}
