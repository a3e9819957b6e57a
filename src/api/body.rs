//! Request bodies, checked for what they claim to be before anyone reads them; and paths.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::error::ApiError;

/// What the path names; a name that is no text names nothing.
pub(super) struct Path<T>(pub(super) T);

/// A body that claims to be JSON, or claims nothing.
pub(super) struct JsonText(pub(super) Bytes);

/// A session description.
pub(super) struct Sdp(pub(super) String);

/// A part of one: candidates, or new credentials.
pub(super) struct SdpFragment(pub(super) String);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    axum::extract::Path<T>: FromRequestParts<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(names)) => Ok(Self(names)),
            Err(_) => Err(ApiError::not_found("there is nothing of this name")),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = content_type(request.headers());
        let is_json = |kind: &str| kind == "application/json" || kind.ends_with("+json");
        if kind.is_some_and(|kind| !is_json(&kind)) {
            return Err(ApiError::unsupported_media_type("application/json"));
        }
        read(request, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Sdp {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        read_text(request, state, SDP).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for SdpFragment {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        read_text(request, state, SDP_FRAGMENT).await.map(Self)
    }
}

async fn read_text<S: Send + Sync>(
    request: Request,
    state: &S,
    wanted: &str,
) -> Result<String, ApiError> {
    if content_type(request.headers()).as_deref() != Some(wanted) {
        return Err(ApiError::unsupported_media_type(wanted));
    }
    let bytes = read(request, state).await?;
    if bytes.len() > SDP_BYTES_MAX {
        return Err(too_large());
    }
    String::from_utf8(bytes.into()).map_err(|_| {
        ApiError::new(StatusCode::BAD_REQUEST, "MEDIA_FAILED", "the body is no UTF-8 text")
    })
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state).await.map_err(|rejection| refused(&rejection))
}

fn refused(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    let message = "the body could not be read";
    ApiError::new(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", message)
}

fn too_large() -> ApiError {
    let message = "the body is too large";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

/// The media type without its parameters, in lower case.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// A session description (RFC 8866).
pub(super) const SDP: &str = "application/sdp";
/// A fragment of one (RFC 8840).
pub(super) const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// The largest body that is read at all; as much as a message of a client.
pub(super) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A session description of one audio line has a tenth of this.
const SDP_BYTES_MAX: usize = 64 * 1024;
