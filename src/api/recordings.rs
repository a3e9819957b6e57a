//! Recordings over REST: the sound of a past call, whole or in part, its event log, its erasure.

use std::ops::Range;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Owner;
use super::body::Path;
use super::error::ApiError;
use super::wire::ErrorBody;
use crate::ids::CallId;
use crate::runtime::{CallError, Source};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(hear, erase)).routes(routes!(read_events))
}

/// Hear a past call
///
/// Stereo at 24 kHz: left the participants, right the agent as far as it was heard. Both channels
/// have the clock of the call, like every `atMs`. One range of bytes may be asked for.
#[utoipa::path(
    get,
    path = "/api/calls/{id}/recording",
    operation_id = "hearCall",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(
        ("id" = String, Path, description = "The call."),
        ("Range" = Option<String>, Header, description = "`bytes=…`, one range."),
    ),
    responses(
        (status = 200, description = "All of it.", content(
            (String = "audio/ogg"),
            (String = "audio/wav"),
        )),
        (status = 206, description = "The range of it.", content(
            (String = "audio/ogg"),
            (String = "audio/wav"),
        )),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such recording, \
            its call has not ended, or it is someone else's."),
        (status = 416, body = ErrorBody, description = "`RANGE_NOT_SATISFIABLE`: it ends before \
            the range begins."),
    ),
)]
async fn hear(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let recorded = api.gateway.recording(&owner, &CallId::new(id)).await?;
    serve(recorded.sound, recorded.format.media_type(), headers.get(header::RANGE)).await
}

/// Read what happened when in a recorded call
///
/// One JSON object a line, each with `atMs` on the clock of the recording and `type`.
#[utoipa::path(
    get,
    path = "/api/calls/{id}/recording/events",
    operation_id = "readCallEvents",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The call.")),
    responses(
        (status = 200, description = "All lines.", content((String = "application/x-ndjson"))),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such recording, \
            its call has not ended, or it is someone else's."),
    ),
)]
async fn read_events(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let recorded = api.gateway.recording(&owner, &CallId::new(id)).await?;
    let events = recorded.events.ok_or(CallError::NotFound)?;
    serve(events, "application/x-ndjson", None).await
}

/// Erase the recording of a past call
///
/// The sound and its event log; the call itself stays in the archive.
#[utoipa::path(
    delete,
    path = "/api/calls/{id}/recording",
    operation_id = "eraseRecording",
    tag = "calls",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The call.")),
    responses(
        (status = 204, description = "Nothing is left of it."),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such recording, \
            its call has not ended, or it is someone else's."),
    ),
)]
async fn erase(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.erase_recording(&owner, &CallId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A file, or a range of it, as it is read.
async fn serve(
    source: Source,
    kind: &'static str,
    range: Option<&HeaderValue>,
) -> Result<Response, ApiError> {
    let failed = |error: std::io::Error| {
        // What is not there any more was erased a moment ago.
        let is_gone = error.kind() == std::io::ErrorKind::NotFound;
        if is_gone { CallError::NotFound } else { CallError::Files(error.to_string()) }
    };
    let length = source.length();
    let range = range.and_then(|range| range.to_str().ok()).map(|range| part_of(range, length));
    let (status, part) = match range {
        None | Some(Wanted::All) => (StatusCode::OK, 0..length),
        Some(Wanted::Part(part)) => (StatusCode::PARTIAL_CONTENT, part),
        Some(Wanted::Nothing) => return Ok(out_of_range(length)),
    };
    let (left, range) = (part.end - part.start, part.clone());
    let mut answer = Response::new(Body::from_stream(source.read(range).await.map_err(failed)?));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, left.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What people say is for nobody's cache.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(header::CONTENT_RANGE, range);
        }
    }
    Ok(answer)
}

fn out_of_range(length: u64) -> Response {
    let message = format!("there are {length} bytes");
    let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", message);
    let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
    (range, error).into_response()
}

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// The range that a header asks for (RFC 9110, section 14.1.2). What makes no sense, or names
/// several, asks for all.
fn part_of(range: &str, length: u64) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let part = match (number(first), number(last)) {
        (Ok(first), Ok(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..length,
        (Err(_), Ok(last)) if first.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return Wanted::All,
    };
    if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_from_to_onward_or_the_last_bytes() {
        for (range, expected) in [("0-0", 0..1), ("2-5", 2..6), ("7-", 7..10), ("-3", 7..10)] {
            assert_eq!(part_of(&format!("bytes={range}"), 10), Wanted::Part(expected), "{range}");
        }
        assert_eq!(part_of("bytes=5-99", 10), Wanted::Part(5..10));
        assert_eq!(part_of("bytes=-99", 10), Wanted::Part(0..10));
    }

    #[test]
    fn what_lies_behind_the_end_is_nothing() {
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(part_of(range, 10), Wanted::Nothing, "{range}");
        }
    }

    #[test]
    fn what_makes_no_sense_asks_for_all() {
        for range in ["", "lines=0-1", "bytes=5-2", "bytes=-", "bytes=0-1,3-4", "bytes=x-1"] {
            assert_eq!(part_of(range, 10), Wanted::All, "{range}");
        }
    }
}
