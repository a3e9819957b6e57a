//! Rooms over REST: made, listed, read, ended by their owners.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Owner;
use super::body::{JsonText, Path};
use super::convert::timestamp;
use super::error::ApiError;
use super::rest::page_limit;
use super::wire::{
    ErrorBody, IssuedRoomBody, ListQuery, NewRoomBody, NewRoomSchema, RoomBody, RoomsBody,
};
use crate::runtime::{HostedRoom, IssuedRoom, NewRoom};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, end))
}

/// Make a room
#[utoipa::path(
    post,
    path = "/api/rooms",
    operation_id = "createRoom",
    tag = "rooms",
    security(("key" = []), ("bearer" = [])),
    request_body = Option<NewRoomSchema>,
    responses(
        (status = 201, description = "The new room.", body = IssuedRoomBody,
            headers(("Location" = String, description = "Where the room is read."))),
        (status = 409, body = ErrorBody, description = "`ROOM_EXISTS`: a room has this name."),
    ),
)]
async fn create(
    State(api): State<Api>,
    Owner(owner): Owner,
    uri: Uri,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let NewRoomBody { name, ttl_seconds, open } = NewRoomBody::parse(&text)?;
    let new = NewRoom { name, ttl: ttl_seconds.map(Duration::from_secs), open };
    let IssuedRoom { room, token } = api.gateway.create_room(&owner, new).await?;
    let location = [(header::LOCATION, format!("/api/rooms/{}", room.name))];
    let body = IssuedRoomBody {
        room: shown(room, &origin(&uri, &headers)),
        token: token.map(|token| token.expose().to_owned()),
    };
    Ok((StatusCode::CREATED, location, Json(body)).into_response())
}

/// List one's rooms
#[utoipa::path(
    get,
    path = "/api/rooms",
    operation_id = "listRooms",
    tag = "rooms",
    security(("key" = []), ("bearer" = [])),
    params(ListQuery),
    responses((status = 200, description = "A page of them.", body = RoomsBody)),
)]
async fn list(
    State(api): State<Api>,
    Owner(owner): Owner,
    uri: Uri,
    headers: HeaderMap,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<RoomsBody>, ApiError> {
    let Query(ListQuery { limit, cursor }) =
        query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    let limit = page_limit(limit.as_deref())?;
    let page = api.gateway.list_rooms(&owner, limit, cursor.as_deref()).await?;
    let origin = origin(&uri, &headers);
    let rooms = page.rows.into_iter().map(|room| shown(room, &origin)).collect();
    Ok(Json(RoomsBody { rooms, next_cursor: page.next }))
}

/// Read a room
#[utoipa::path(
    get,
    path = "/api/rooms/{name}",
    operation_id = "readRoom",
    tag = "rooms",
    security(("key" = []), ("bearer" = [])),
    params(("name" = String, Path, description = "The room's name.")),
    responses(
        (status = 200, description = "The room, without its token.", body = RoomBody),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`: there is no such \
            room, or it is someone else's."),
    ),
)]
async fn read(
    State(api): State<Api>,
    Owner(owner): Owner,
    uri: Uri,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<RoomBody>, ApiError> {
    let room = api.gateway.read_room(&owner, &name).await?;
    Ok(Json(shown(room, &origin(&uri, &headers))))
}

/// End a room
///
/// Whoever is in it is sent out.
#[utoipa::path(
    delete,
    path = "/api/rooms/{name}",
    operation_id = "endRoom",
    tag = "rooms",
    security(("key" = []), ("bearer" = [])),
    params(("name" = String, Path, description = "The room's name.")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 404, body = ErrorBody, description = "`ROOM_NOT_FOUND`: there is no such \
            room, or it is someone else's."),
    ),
)]
async fn end(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.delete_room(&owner, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(room: HostedRoom, origin: &str) -> RoomBody {
    RoomBody {
        url: format!("{origin}/rooms/{}", room.name),
        name: room.name,
        open: room.open,
        created_at: timestamp(room.created_at_ms),
        expires_at: room.expires_at_ms.map(timestamp),
    }
}

/// Where the asker has reached us, as `https://host`, which is where others can reach us too. A
/// proxy before us says by `X-Forwarded-Proto` what it was asked by. Without a host it is empty:
/// what is left of a room's URL is its path, by which agents can join as well.
fn origin(uri: &Uri, headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // HTTP/2 has no Host, and tells it in the URI.
    let host = uri.authority().cloned().or_else(|| text("host")?.parse::<Authority>().ok());
    let Some(host) = host.filter(|host| !host.as_str().contains('@')) else {
        return String::new();
    };
    let scheme = match text("x-forwarded-proto") {
        Some(proto) if proto.trim().eq_ignore_ascii_case("https") => "https",
        Some(_) | None => "http",
    };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_rooms_url_begins_with_how_we_were_reached() {
        for (uri, host, proto, wanted) in [
            ("/api/rooms", "call.example:8080", "", "http://call.example:8080"),
            ("/api/rooms", "call.example", "https", "https://call.example"),
            ("/api/rooms", "call.example", "gopher", "http://call.example"),
            ("/api/rooms", "[::1]:80", "", "http://[::1]:80"),
            ("https://call.example/api/rooms", "", "", "http://call.example"),
            ("/api/rooms", "", "", ""),
            ("/api/rooms", "a/b", "", ""),
            ("/api/rooms", "ann@call.example", "", ""),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", host), ("x-forwarded-proto", proto)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(origin(&uri, &headers), wanted, "{uri} {host} {proto}");
        }
    }
}
