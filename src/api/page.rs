//! How pages and scripts of ours are served: they run their own scripts and style and talk to their
//! own server, and nothing else.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

/// A page without sound.
pub(super) fn silent(text: &'static str) -> Response {
    page(text, SILENT_POLICY, "microphone=(), camera=()")
}

/// A page to talk in.
pub(super) fn talking(text: impl IntoResponse) -> Response {
    page(text, TALKING_POLICY, "microphone=(self), camera=()")
}

/// A script of a page, or for one.
pub(super) fn script(text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

fn page(text: impl IntoResponse, policy: &'static str, permissions: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("permissions-policy"), permissions),
    ];
    (headers, text).into_response()
}

const SILENT_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TALKING_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'unsafe-inline'; connect-src 'self'; media-src 'self' blob:; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
