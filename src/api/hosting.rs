//! Rooms over REST: made, listed, read, ended by their owners.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::asked::Asked;
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
    asked: Asked,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let NewRoomBody { name, ttl_seconds, open } = NewRoomBody::parse(&text)?;
    let new = NewRoom { name, ttl: ttl_seconds.map(Duration::from_secs), open };
    let IssuedRoom { room, token } = api.gateway.create_room(&owner, new).await?;
    let location = [(header::LOCATION, format!("/api/rooms/{}", room.name))];
    let body = IssuedRoomBody {
        room: shown(room, &origin(&asked)),
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
    asked: Asked,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<RoomsBody>, ApiError> {
    let Query(ListQuery { limit, cursor }) =
        query.map_err(|_| ApiError::invalid("", "the query cannot be read"))?;
    let limit = page_limit(limit.as_deref())?;
    let page = api.gateway.list_rooms(&owner, limit, cursor.as_deref()).await?;
    let origin = origin(&asked);
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
    asked: Asked,
    Path(name): Path<String>,
) -> Result<Json<RoomBody>, ApiError> {
    let room = api.gateway.read_room(&owner, &name).await?;
    Ok(Json(shown(room, &origin(&asked))))
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

/// Where others can reach us, for they can where the asker could. Nobody has said it: then it is
/// empty, and what is left of a room's URL is its path, by which agents can join as well.
fn origin(asked: &Asked) -> String {
    asked.origin().unwrap_or_default()
}
