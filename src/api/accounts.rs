//! Users and their API keys over REST: the operator's business, and each user's own.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};

use super::Api;
use super::auth::Asker;
use super::body::JsonText;
use super::convert::timestamp;
use super::error::ApiError;
use super::wire::{IssuedKeyBody, KeyBody, NewKeyBody, NewUserBody, UserBody};
use crate::ids::{KeyId, UserId};
use crate::sys::clock;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/users", post(create_user))
        .route("/api/users/{user}", get(read_user))
        .route("/api/users/{user}/api-keys", post(create_key))
        .route("/api/users/{user}/api-keys/{key}", delete(revoke_key))
}

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
        false => ApiError::store(&error),
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

async fn read_user(
    State(api): State<Api>,
    asker: Asker,
    Path(user): Path<String>,
) -> Result<Json<UserBody>, ApiError> {
    let id = within_reach(&asker, user)?;
    let store = api.gateway.store();
    let user = store.user(&id).await.map_err(|error| ApiError::store(&error))?;
    let user = user.ok_or_else(no_such_user)?;
    let keys = store.keys_of(&id).await.map_err(|error| ApiError::store(&error))?;
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
    let issued = issued.map_err(|error| ApiError::store(&error))?.ok_or_else(no_such_user)?;
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

async fn revoke_key(
    State(api): State<Api>,
    asker: Asker,
    Path((user, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let user = within_reach(&asker, user)?;
    let revoked = api.gateway.store().revoke_key(&user, &KeyId::new(key)).await;
    match revoked.map_err(|error| ApiError::store(&error))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found("there is no such key")),
    }
}

/// Another's account is as good as none: whether it exists is not told.
fn within_reach(asker: &Asker, user: String) -> Result<UserId, ApiError> {
    let user = UserId::new(user);
    if asker.may_act_for(&user) { Ok(user) } else { Err(no_such_user()) }
}

fn no_such_user() -> ApiError {
    ApiError::not_found("there is no such user")
}
