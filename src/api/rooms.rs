//! Hosted rooms: the page to talk in, its live captions, and WHIP (RFC 9725) for the sound.

use std::convert::Infallible;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::asked::Asked;
use super::auth::bearer_of;
use super::body::{Path, SDP, SDP_FRAGMENT, Sdp, SdpFragment};
use super::convert::room_event;
use super::error::ApiError;
use super::page;
use super::wire::{ErrorBody, RoomEventSchema, RoomQuery, to_text};
use crate::agent::RoomFailure;
use crate::privacy::Secret;
use crate::runtime::{IceSession, RoomWatch, TrickleAnswer};
use crate::sys::{clock, entropy};

pub(super) fn routes() -> OpenApiRouter<Api> {
    let whip = OpenApiRouter::new()
        .routes(routes!(enter, before_entering))
        .routes(routes!(trickle, hang_up, before_changing))
        .routes(routes!(watch, before_watching))
        .routes(routes!(client))
        .layer(from_fn(share_across_origins));
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(script)).merge(whip)
}

type RoomQueryResult = Result<Query<RoomQuery>, QueryRejection>;

/// A page to talk in
#[utoipa::path(
    get,
    path = "/rooms/{room}",
    operation_id = "roomPage",
    tag = "rooms",
    params(("room" = String, Path, description = "The room's name.")),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`: there is no such room, \
            and none can be made of this name."),
    ),
)]
async fn page(State(api): State<Api>, Path(room): Path<String>) -> Result<Response, ApiError> {
    let room = api.gateway.room(&room).await?;
    let page = PAGE.replace("{{open}}", if room.open { "true" } else { "false" });
    Ok(page::talking(page))
}

/// The script of that page
#[utoipa::path(
    get,
    path = "/assets/room.js",
    operation_id = "roomScript",
    tag = "rooms",
    responses((status = 200, description = "The script.", body = String,
        content_type = "text/javascript")),
)]
async fn script() -> Response {
    page::script(SCRIPT)
}

/// The client for web pages
///
/// An ES module that joins rooms, for this gateway's own page and for any other.
#[utoipa::path(
    get,
    path = "/assets/callbridge.js",
    operation_id = "webClient",
    tag = "rooms",
    responses((status = 200, description = "The module.", body = String,
        content_type = "text/javascript")),
)]
async fn client() -> Response {
    page::script(CLIENT)
}

/// Come into a room
///
/// WHIP (RFC 9725), with sound in both directions. A room that is not open wants its token. A web
/// page of another host enters only rooms that have one.
#[utoipa::path(
    post,
    path = "/rooms/{room}/whip",
    operation_id = "enterRoom",
    tag = "rooms",
    security((), ("room" = [])),
    params(
        ("room" = String, Path, description = "The room's name."),
        ("name" = Option<String>, Query, description = "The name that others see.",
            max_length = 64),
    ),
    request_body(content = String, content_type = "application/sdp",
        description = "An SDP offer: audio, `sendrecv`, Opus or G.711 (PCMU, PCMA)."),
    responses(
        (status = 201, description = "The SDP answer.", body = String,
            content_type = "application/sdp",
            headers(
                ("Location" = String, description = "The participant, to be changed or ended; \
                    its last part is a key that nobody else learns."),
                ("Participant-Id" = String, description = "The id that others see."),
                ("ETag" = String, description = "The session of ICE."),
                ("Accept-Patch" = String, description = "`application/trickle-ice-sdpfrag`."),
                ("Link" = String, description = "STUN and TURN servers, where there are some; \
                    one header for each."),
            )),
        (status = 400, body = ErrorBody, description = "`MEDIA_FAILED`: the offer cannot be \
            answered."),
        (status = 401, body = ErrorBody, description = "`ROOM_UNAUTHORIZED`: the room wants its \
            token."),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`, `ROOM_CLOSED`: there \
            is no such room."),
        (status = 503, body = ErrorBody, description = "`ROOM_FULL`, `ROOM_UNREACHABLE`: there \
            is no place at this moment; `CAPACITY`: the gateway could not serve another caller \
            well, or too many come at once."),
    ),
)]
async fn enter(
    State(api): State<Api>,
    Path(room): Path<String>,
    query: RoomQueryResult,
    (asked, headers): (Asked, HeaderMap),
    Sdp(offer): Sdp,
) -> Result<Response, ApiError> {
    let name = read_query(query)?.name.unwrap_or_default();
    if name.chars().count() > NAME_MAX {
        let message = format!("must have at most {NAME_MAX} characters");
        return Err(ApiError::invalid("name", &message));
    }
    let token = bearer_of(&headers);
    keep_out_strangers(&api, &room, (&asked, &headers)).await?;
    let answer = api.gateway.enter_room(&room, token, &name, &offer).await?;
    let headers = [
        (header::LOCATION, format!("/rooms/{room}/participants/{}", answer.key.expose())),
        (PARTICIPANT_ID, answer.participant.to_string()),
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::ETAG, quoted(&answer.ice_etag)),
        (ACCEPT_PATCH, SDP_FRAGMENT.to_owned()),
    ];
    let mut response = (StatusCode::CREATED, headers, answer.sdp).into_response();
    tell_of_servers(&api, &answer.participant.to_string(), &mut response);
    Ok(response)
}

fn tell_of_servers(api: &Api, who: &str, response: &mut Response) {
    for link in api.config.ice.links(who, clock::unix_ms()) {
        response.headers_mut().append(header::LINK, link);
    }
}

/// Sends pages of other hosts away from rooms that check no token: else any page that a developer
/// visits could listen in a local room.
async fn keep_out_strangers(
    api: &Api,
    room: &str,
    (asked, headers): (&Asked, &HeaderMap),
) -> Result<(), ApiError> {
    if is_foreign_page(headers, asked.host()) && api.gateway.room(room).await?.open {
        return Err(RoomFailure::Unauthorized.into());
    }
    Ok(())
}

/// Whether a web page asks that is neither of this machine nor of this very host.
fn is_foreign_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let Some(origin) = text(header::ORIGIN) else { return false };
    let Ok(origin) = origin.parse::<Uri>() else { return true };
    let Some(page) = origin.authority() else { return true };
    let is_local = matches!(page.host(), "localhost" | "127.0.0.1" | "[::1]");
    !is_local && host != Some(page.as_str())
}

/// Add ICE candidates, or restart ICE
///
/// The last part of a `Location` is a key that only its owner has: the ids that others see in the
/// room open nothing.
#[utoipa::path(
    patch,
    path = "/rooms/{room}/participants/{key}",
    operation_id = "trickleIce",
    tag = "rooms",
    params(
        ("room" = String, Path, description = "The room's name."),
        ("key" = String, Path, description = "The last part of the `Location`."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the ICE session that \
            this is for; any, unless given."),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag",
        description = "Candidates, or new credentials (RFC 8840)."),
    responses(
        (status = 204, description = "The candidates are taken."),
        (status = 200, description = "ICE starts anew: the credentials of this side.",
            body = String, content_type = "application/trickle-ice-sdpfrag",
            headers(("ETag" = String, description = "The new session of ICE."))),
        (status = 400, body = ErrorBody, description = "`MEDIA_FAILED`: the fragment makes no \
            sense."),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`: there is no such \
            participant."),
        (status = 412, body = ErrorBody, description = "`PRECONDITION_FAILED`: this is for \
            another ICE session than the one that runs."),
    ),
)]
async fn trickle(
    State(api): State<Api>,
    Path((room, key)): Path<(String, String)>,
    headers: HeaderMap,
    SdpFragment(fragment): SdpFragment,
) -> Result<Response, ApiError> {
    let key = Secret::new(key);
    match api.gateway.trickle(&room, &key, if_match(&headers), &fragment).await? {
        TrickleAnswer::Added => Ok(StatusCode::NO_CONTENT.into_response()),
        TrickleAnswer::Restarted { fragment, ice_etag } => {
            let headers = [
                (header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()),
                (header::ETAG, quoted(&ice_etag)),
            ];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
        TrickleAnswer::Outdated => {
            let message = "this is for another ICE session than the one that runs";
            let status = StatusCode::PRECONDITION_FAILED;
            Err(ApiError::new(status, "PRECONDITION_FAILED", message))
        }
    }
}

/// The ICE sessions that a request is meant for. Tags are compared strongly, so weak ones fit none
/// (RFC 9110, section 13.1.1). Without the header it is any: not every client keeps to RFC 9725.
fn if_match(headers: &HeaderMap) -> IceSession {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if [ANY, QUOTED_ANY].contains(&tag) {
                return IceSession::Any;
            }
            let unquoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            tags.extend(unquoted.map(str::to_owned));
        }
    }
    if headers.contains_key(header::IF_MATCH) { IceSession::OneOf(tags) } else { IceSession::Any }
}

/// Any ICE session, as RFC 9725 has it, and as some clients write it. No tag of ours is a `*`.
const ANY: &str = "*";
const QUOTED_ANY: &str = "\"*\"";

/// Hang up
#[utoipa::path(
    delete,
    path = "/rooms/{room}/participants/{key}",
    operation_id = "hangUp",
    tag = "rooms",
    params(
        ("room" = String, Path, description = "The room's name."),
        ("key" = String, Path, description = "The last part of the `Location`."),
    ),
    responses(
        (status = 200, description = "The participant is out."),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`: there is no such \
            participant."),
    ),
)]
async fn hang_up(
    State(api): State<Api>,
    Path((room, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    api.gateway.hang_up(&room, &Secret::new(key)).await?;
    Ok(StatusCode::OK)
}

/// Watch a room
///
/// Live captions, as server-sent events. In a room that is not open, they are for who has its
/// token, and for those who are in it: browsers cannot send a token with an `EventSource`, so these
/// show their key.
#[utoipa::path(
    get,
    path = "/rooms/{room}/events",
    operation_id = "watchRoom",
    tag = "rooms",
    security((), ("room" = [])),
    params(
        ("room" = String, Path, description = "The room's name."),
        ("participant" = Option<String>, Query, description = "One's own key in the room: the \
            last part of the `Location` that entering it gave."),
    ),
    responses(
        (status = 200, body = RoomEventSchema, content_type = "text/event-stream",
            description = "A stream without end, of such events."),
        (status = 401, body = ErrorBody, description = "`ROOM_UNAUTHORIZED`: the room is not \
            open, and neither a token nor a key of it came with the request."),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`, `ROOM_CLOSED`: there \
            is no such room."),
        (status = 503, body = ErrorBody, description = "`ROOM_FULL`: the gateway has no place \
            for another room."),
    ),
)]
async fn watch(
    State(api): State<Api>,
    Path(room): Path<String>,
    query: RoomQueryResult,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = read_query(query)?.participant.map(Secret::new);
    let token = bearer_of(&headers).map(Secret::new);
    keep_out_strangers(&api, &room, (&asked, &headers)).await?;
    let watch = api.gateway.watch_room(&room, token.as_ref(), key.as_ref()).await?;
    let events = Sse::new(captions(watch)).keep_alive(KeepAlive::default());
    let headers = [(header::CACHE_CONTROL, "no-store")];
    Ok((headers, events).into_response())
}

fn captions(watch: RoomWatch) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        loop {
            let news = watch.next().await?;
            if let Some(event) = room_event(&news) {
                return Some((Ok(Event::default().data(to_text(&event))), watch));
            }
        }
    })
}

fn read_query(query: RoomQueryResult) -> Result<RoomQuery, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    Ok(query)
}

/// Ask before entering
///
/// A browser does so on its own if a page of another host enters (RFC 9725, section 4.2). Who asks
/// with the right to enter is told of STUN and TURN servers, to make the offer with them.
#[utoipa::path(
    options,
    path = "/rooms/{room}/whip",
    operation_id = "beforeEntering",
    tag = "rooms",
    security((), ("room" = [])),
    params(("room" = String, Path, description = "The room's name.")),
    responses((status = 204, description = "What may be sent, in its headers.",
        headers(("Link" = String, description = "STUN and TURN servers, where there are some, \
            for whoever may enter; one header for each (RFC 9725, section 4.6).")))),
)]
async fn before_entering(
    State(api): State<Api>,
    Path(room): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Response {
    let mut response = preflight().into_response();
    // A browser's own question carries no token, and its answer reaches no page.
    let is_preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight && may_enter(&api, &room, (&asked, &headers)).await {
        let who = format!("{:032x}", entropy::bits());
        tell_of_servers(&api, &who, &mut response);
    }
    response
}

async fn may_enter(api: &Api, room: &str, (asked, headers): (&Asked, &HeaderMap)) -> bool {
    let token = bearer_of(headers).map(Secret::new);
    keep_out_strangers(api, room, (asked, headers)).await.is_ok()
        && api.gateway.room_opens(room, token.as_ref()).await
}

/// Ask before changing or ending
#[utoipa::path(
    options,
    path = "/rooms/{room}/participants/{key}",
    operation_id = "beforeChanging",
    tag = "rooms",
    params(
        ("room" = String, Path, description = "The room's name."),
        ("key" = String, Path, description = "The last part of the `Location`."),
    ),
    responses((status = 204, description = "What may be sent, in its headers.")),
)]
async fn before_changing() -> impl IntoResponse {
    preflight()
}

/// Ask before watching
#[utoipa::path(
    options,
    path = "/rooms/{room}/events",
    operation_id = "beforeWatching",
    tag = "rooms",
    params(("room" = String, Path, description = "The room's name.")),
    responses((status = 204, description = "What may be sent, in its headers.")),
)]
async fn before_watching() -> impl IntoResponse {
    preflight()
}

/// The answer to a browser that asks before it sends (RFC 9725, section 4.2).
fn preflight() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE, OPTIONS"),
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
    let exposed =
        HeaderValue::from_static("Location, ETag, Accept-Patch, Link, Retry-After, Participant-Id");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    response
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// The id that others see: the `Location` does not tell it.
const PARTICIPANT_ID: HeaderName = HeaderName::from_static("participant-id");

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

const PAGE: &str = include_str!("../../assets/room.html");
const SCRIPT: &str = include_str!("../../assets/room.js");
const CLIENT: &str = include_str!("../../assets/callbridge.js");

const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

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
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(
                is_foreign_page(&headers, Some("call.example:8080")),
                is_foreign,
                "{origin:?}"
            );
        }
    }

    #[test]
    fn a_fragment_says_which_ice_session_it_is_for() {
        let one_of =
            |tags: &[&str]| IceSession::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect());
        for (values, session) in [
            (&[][..], IceSession::Any),
            (&["*"], IceSession::Any),
            (&["\"*\""], IceSession::Any),
            (&["\"a\""], one_of(&["a"])),
            (&["\"a\", \"b\"", "\"c\""], one_of(&["a", "b", "c"])),
            (&["W/\"a\""], one_of(&[])),
            (&[""], one_of(&[])),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(if_match(&headers), session, "{values:?}");
        }
    }

    #[test]
    fn the_page_has_a_place_for_what_it_must_know() {
        assert_eq!(PAGE.matches("{{").count(), 1);
        assert!(PAGE.contains("/assets/room.js"));
        assert!(!PAGE.contains("onclick="), "the policy forbids inline scripts");
    }
}
