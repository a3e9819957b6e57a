//! Hosted rooms: the page to talk in, its live captions, and WHIP (RFC 9725) for the sound.

use std::convert::Infallible;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use futures_util::Stream;
use futures_util::stream;

use super::Api;
use super::auth::bearer_of;
use super::body::{SDP, SDP_FRAGMENT, Sdp, SdpFragment};
use super::convert::room_event;
use super::error::ApiError;
use super::wire::{RoomQuery, to_text};
use crate::agent::RoomFailure;
use crate::ids::ParticipantId;
use crate::runtime::{RoomNews, RoomWatch, TrickleAnswer};

pub(super) fn routes() -> Router<Api> {
    let whip = Router::new()
        .route("/rooms/{room}/whip", post(enter).options(preflight))
        .route(
            "/rooms/{room}/participants/{participant}",
            patch(trickle).delete(hang_up).options(preflight),
        )
        .layer(from_fn(share_across_origins));
    Router::new()
        .route("/rooms/{room}", get(page))
        .route("/rooms/{room}/events", get(watch))
        .route("/assets/room.js", get(script))
        .merge(whip)
}

type RoomQueryResult = Result<Query<RoomQuery>, QueryRejection>;

async fn page(State(api): State<Api>, Path(room): Path<String>) -> Result<Response, ApiError> {
    let room = api.gateway.room(&room).await?;
    let page = PAGE.replace("{{open}}", if room.open { "true" } else { "false" });
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=()"),
    ];
    Ok((headers, page).into_response())
}

async fn script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, SCRIPT)
}

async fn enter(
    State(api): State<Api>,
    Path(room): Path<String>,
    query: RoomQueryResult,
    headers: HeaderMap,
    Sdp(offer): Sdp,
) -> Result<Response, ApiError> {
    let name = read_query(query)?.name.unwrap_or_default();
    if name.chars().count() > NAME_MAX {
        let message = format!("must have at most {NAME_MAX} characters");
        return Err(ApiError::invalid("name", &message));
    }
    let token = bearer_of(&headers);
    if token.is_none() && is_foreign_page(&headers) {
        return Err(RoomFailure::Unauthorized.into());
    }
    let answer = api.gateway.enter_room(&room, token, &name, &offer).await?;
    let headers = [
        (header::LOCATION, format!("/rooms/{room}/participants/{}", answer.participant)),
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::ETAG, quoted(&answer.ice_etag)),
        (ACCEPT_PATCH, SDP_FRAGMENT.to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, answer.sdp).into_response())
}

/// Whether a web page of somebody else's asks. Without a token, only pages of this machine and of
/// this very host may: else any page that a developer visits could listen in a local room.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let Some(origin) = text(header::ORIGIN) else { return false };
    let Ok(origin) = origin.parse::<Uri>() else { return true };
    let Some(page) = origin.authority() else { return true };
    let is_local = matches!(page.host(), "localhost" | "127.0.0.1" | "[::1]");
    !is_local && text(header::HOST) != Some(page.as_str())
}

async fn trickle(
    State(api): State<Api>,
    Path((room, participant)): Path<(String, String)>,
    SdpFragment(fragment): SdpFragment,
) -> Result<Response, ApiError> {
    let participant = ParticipantId::new(participant);
    match api.gateway.trickle(&room, &participant, &fragment).await? {
        TrickleAnswer::Added => Ok(StatusCode::NO_CONTENT.into_response()),
        TrickleAnswer::Restarted { fragment, ice_etag } => {
            let headers = [
                (header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()),
                (header::ETAG, quoted(&ice_etag)),
            ];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
    }
}

async fn hang_up(
    State(api): State<Api>,
    Path((room, participant)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    api.gateway.hang_up(&room, &ParticipantId::new(participant)).await?;
    Ok(StatusCode::OK)
}

/// Live captions. In a room that is not open, they are for those who are in it: the id of a
/// participant, which only the room gives out, is the right to them.
async fn watch(
    State(api): State<Api>,
    Path(room): Path<String>,
    query: RoomQueryResult,
) -> Result<Response, ApiError> {
    let participant = read_query(query)?.participant;
    let is_open = api.gateway.room(&room).await?.open;
    let mut watch = api.gateway.watch_room(&room).await?;
    let first = watch.next().await;
    if !is_open && !is_present(participant.as_deref(), first.as_ref()) {
        return Err(RoomFailure::Unauthorized.into());
    }
    let events = Sse::new(captions(first, watch)).keep_alive(KeepAlive::default());
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, events).into_response())
}

fn is_present(participant: Option<&str>, first: Option<&RoomNews>) -> bool {
    match (participant, first) {
        (Some(id), Some(RoomNews::Participants(present))) => {
            present.iter().any(|one| one.id.as_str() == id)
        }
        _ => false,
    }
}

fn captions(
    first: Option<RoomNews>,
    watch: RoomWatch,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((first, watch), |(mut first, mut watch)| async move {
        loop {
            let news = match first.take() {
                Some(news) => news,
                None => watch.next().await?,
            };
            if let Some(event) = room_event(&news) {
                let event = Event::default().data(to_text(&event));
                return Some((Ok(event), (None, watch)));
            }
        }
    })
}

fn read_query(query: RoomQueryResult) -> Result<RoomQuery, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    Ok(query)
}

/// The answer to a browser that asks before it sends (RFC 9725, section 4.2).
async fn preflight() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, PATCH, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        (HeaderName::from_static("accept-post"), SDP),
    ];
    (StatusCode::NO_CONTENT, headers)
}

/// Lets pages of other origins read the answer, errors included. No cookie ever counts here, so
/// any origin may.
async fn share_across_origins(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let any = HeaderValue::from_static("*");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    let exposed = HeaderValue::from_static("Location, ETag, Accept-Patch, Link, Retry-After");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    response
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

const PAGE: &str = include_str!("../../assets/room.html");
const SCRIPT: &str = include_str!("../../assets/room.js");

/// The page runs its own script and style and talks to its own server, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'unsafe-inline'; connect-src 'self'; media-src 'self' blob:; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Participant;

    #[test]
    fn a_page_of_somebody_else_needs_a_token() {
        for (origin, is_foreign) in [
            (None, false),
            (Some("http://call.example:8080"), false),
            (Some("http://localhost:3000"), false),
            (Some("http://[::1]:3000"), false),
            (Some("https://elsewhere.example"), true),
            (Some("http://call.example"), true),
            (Some("null"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("call.example:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_foreign_page(&headers), is_foreign, "{origin:?}");
        }
    }

    #[test]
    fn captions_of_a_closed_room_are_for_those_in_it() {
        let ann = Participant { id: ParticipantId::new("p_1"), name: "Ann".into() };
        let news = RoomNews::Participants(vec![ann]);
        assert!(is_present(Some("p_1"), Some(&news)));
        assert!(!is_present(Some("p_2"), Some(&news)));
        assert!(!is_present(None, Some(&news)));
        assert!(!is_present(Some("p_1"), None));
    }

    #[test]
    fn the_page_has_a_place_for_what_it_must_know() {
        assert_eq!(PAGE.matches("{{").count(), 1);
        assert!(PAGE.contains("/assets/room.js"));
        assert!(!PAGE.contains("onclick="), "the policy forbids inline scripts");
    }
}
