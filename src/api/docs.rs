//! The description of the HTTP interface, for programs and as a page.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, page};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(document)).routes(routes!(page)).routes(routes!(script))
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openApi",
    tag = "description",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)),
)]
async fn document(State(api): State<Api>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, api.description.text())
}

/// This description as a page
///
/// It shows every call and lets you try it. All of it comes from this gateway.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docsPage",
    tag = "description",
    responses((status = 200, description = "The page.", body = String,
        content_type = "text/html")),
)]
async fn page() -> Response {
    page::silent(PAGE)
}

/// The script of that page
#[utoipa::path(
    get,
    path = "/assets/docs.js",
    operation_id = "docsScript",
    tag = "description",
    responses((status = 200, description = "The script.", body = String,
        content_type = "text/javascript")),
)]
async fn script() -> Response {
    page::script(SCRIPT)
}

const PAGE: &str = include_str!("../../assets/docs.html");
const SCRIPT: &str = include_str!("../../assets/docs.js");
