//! Users and their API keys over REST: the operator's business, and each user's own.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Asker;
use super::body::{JsonText, Path};
use super::convert::timestamp;
use super::error::ApiError;
use super::wire::{
    ErrorBody, IssuedKeyBody, KeyBody, NewKeyBody, NewKeySchema, NewUserBody, NewUserSchema,
    UserBody,
};
use crate::ids::{KeyId, UserId};
use crate::sys::clock;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create_user))
        .routes(routes!(read_user))
        .routes(routes!(create_key))
        .routes(routes!(revoke_key))
}

/// Make a user
#[utoipa::path(
    post,
    path = "/api/users",
    operation_id = "createUser",
    tag = "users",
    security(("admin" = [])),
    request_body = NewUserSchema,
    responses(
        (status = 201, description = "The new user.", body = UserBody),
        (status = 403, body = ErrorBody, description = "`FORBIDDEN`: a key, and not the admin \
            token, came with the request."),
        (status = 409, body = ErrorBody, description = "`EMAIL_TAKEN`: a user has this email."),
    ),
)]
async fn create_user(
    State(api): State<Api>,
    asker: Asker,
    JsonText(text): JsonText,
) -> Result<(StatusCode, Json<UserBody>), ApiError> {
    match asker {
        Asker::Admin => {}
        Asker::User(_) => return Err(ApiError::forbidden("only the admin token makes users")),
    }
    let body = NewUserBody::parse(&text)?;
    let store = api.gateway.store();
    let user = store.create_user(&body.email, body.name.as_deref(), clock::unix_ms()).await;
    let user = user.map_err(|error| match error.is_email_taken() {
        true => ApiError::new(StatusCode::CONFLICT, "EMAIL_TAKEN", error.to_string()),
        false => ApiError::store(&error.into()),
    })?;
    let body = UserBody {
        id: user.id.to_string(),
        email: user.email,
        name: user.name,
        created_at: timestamp(user.created_at_ms),
        api_keys: None,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Read a user
#[utoipa::path(
    get,
    path = "/api/users/{user}",
    operation_id = "readUser",
    tag = "users",
    security(("admin" = []), ("key" = []), ("bearer" = [])),
    params(("user" = String, Path, description = "The user.")),
    responses(
        (status = 200, description = "The user, with the keys.", body = UserBody),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such user, or \
            it is someone else."),
    ),
)]
async fn read_user(
    State(api): State<Api>,
    asker: Asker,
    Path(user): Path<String>,
) -> Result<Json<UserBody>, ApiError> {
    let id = within_reach(&asker, user)?;
    let store = api.gateway.store();
    let user = store.user(&id).await.map_err(|error| ApiError::store(&error.into()))?;
    let user = user.ok_or_else(no_such_user)?;
    let keys = store.keys_of(&id).await.map_err(|error| ApiError::store(&error.into()))?;
    let keys = keys.into_iter().map(|key| KeyBody {
        id: key.id.to_string(),
        key_preview: key.preview,
        name: key.name,
        last_used_at: key.last_used_at_ms.map(timestamp),
        expires_at: key.expires_at_ms.map(timestamp),
        created_at: timestamp(key.created_at_ms),
    });
    Ok(Json(UserBody {
        id: user.id.to_string(),
        email: user.email,
        name: user.name,
        created_at: timestamp(user.created_at_ms),
        api_keys: Some(keys.collect()),
    }))
}

/// Make a key
///
/// Its text is told this once.
#[utoipa::path(
    post,
    path = "/api/users/{user}/api-keys",
    operation_id = "createKey",
    tag = "users",
    security(("admin" = []), ("key" = []), ("bearer" = [])),
    params(("user" = String, Path, description = "The user.")),
    request_body = Option<NewKeySchema>,
    responses(
        (status = 201, description = "The new key.", body = IssuedKeyBody),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such user, or \
            it is someone else."),
    ),
)]
async fn create_key(
    State(api): State<Api>,
    asker: Asker,
    Path(user): Path<String>,
    JsonText(text): JsonText,
) -> Result<(StatusCode, Json<IssuedKeyBody>), ApiError> {
    let user = within_reach(&asker, user)?;
    let body = NewKeyBody::parse(&text)?;
    let now_ms = clock::unix_ms();
    if body.expires_at_ms.is_some_and(|ms| ms <= now_ms) {
        return Err(ApiError::invalid("expiresAt", "must lie in the future"));
    }
    let store = api.gateway.store();
    let issued = store.create_key(&user, body.name.as_deref(), body.expires_at_ms, now_ms).await;
    let issued =
        issued.map_err(|error| ApiError::store(&error.into()))?.ok_or_else(no_such_user)?;
    let body = IssuedKeyBody {
        id: issued.key.id.to_string(),
        key: issued.text.expose().to_owned(),
        key_preview: issued.key.preview,
        name: issued.key.name,
        created_at: timestamp(issued.key.created_at_ms),
        expires_at: issued.key.expires_at_ms.map(timestamp),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Revoke a key
///
/// Connections of clients that it has opened are closed; agents and their calls go on.
#[utoipa::path(
    delete,
    path = "/api/users/{user}/api-keys/{key}",
    operation_id = "revokeKey",
    tag = "users",
    security(("admin" = []), ("key" = []), ("bearer" = [])),
    params(
        ("user" = String, Path, description = "The user."),
        ("key" = String, Path, description = "The key's id."),
    ),
    responses(
        (status = 204, description = "It is valid no more."),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such user or \
            key, or it is someone else's."),
    ),
)]
async fn revoke_key(
    State(api): State<Api>,
    asker: Asker,
    Path((user, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let user = within_reach(&asker, user)?;
    let key = KeyId::new(key);
    let revoked = api.gateway.store().revoke_key(&user, &key).await;
    if !revoked.map_err(|error| ApiError::store(&error.into()))? {
        return Err(ApiError::not_found("there is no such key"));
    }
    api.revocations.revoke(key);
    Ok(StatusCode::NO_CONTENT)
}

/// Another's account is as good as none: whether it exists is not told.
fn within_reach(asker: &Asker, user: String) -> Result<UserId, ApiError> {
    let user = UserId::new(user);
    if asker.may_act_for(&user) { Ok(user) } else { Err(no_such_user()) }
}

fn no_such_user() -> ApiError {
    ApiError::not_found("there is no such user")
}
