//! Is the process alive, and does it take new work?

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::Api;
use super::wire::HealthBody;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

async fn alive() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

async fn ready(State(api): State<Api>) -> Response {
    if api.gateway.is_ready() {
        return Json(HealthBody { status: "ready" }).into_response();
    }
    let body = Json(HealthBody { status: "draining" });
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
