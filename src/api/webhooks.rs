//! Webhooks over REST: made, listed, deleted by their owners.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Owner;
use super::body::{JsonText, Path};
use super::convert::timestamp;
use super::error::ApiError;
use super::wire::{
    ErrorBody, IssuedWebhookBody, NewWebhookBody, NewWebhookSchema, WebhookBody, WebhooksBody,
};
use crate::ids::WebhookId;
use crate::runtime::{IssuedWebhook, NewWebhook, Webhook};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

/// Make a webhook
///
/// Its secret is told this once. What happens from here on is delivered to it.
#[utoipa::path(
    post,
    path = "/api/webhooks",
    operation_id = "createWebhook",
    tag = "webhooks",
    security(("key" = []), ("bearer" = [])),
    request_body = NewWebhookSchema,
    responses(
        (status = 201, description = "The new webhook.", body = IssuedWebhookBody),
        (status = 409, body = ErrorBody, description = "`WEBHOOK_LIMIT`: there are as many \
            webhooks as one may have."),
    ),
)]
async fn create(
    State(api): State<Api>,
    Owner(owner): Owner,
    JsonText(text): JsonText,
) -> Result<(StatusCode, Json<IssuedWebhookBody>), ApiError> {
    let NewWebhookBody { url, events, description } = NewWebhookBody::parse(&text)?;
    let url = url.ok_or_else(|| ApiError::invalid("url", "is required"))?;
    let new = NewWebhook { url, events, description };
    let IssuedWebhook { webhook, secret } = api.gateway.create_webhook(&owner, new).await?;
    let body = IssuedWebhookBody { webhook: shown(webhook), secret: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(body)))
}

/// List one's webhooks
#[utoipa::path(
    get,
    path = "/api/webhooks",
    operation_id = "listWebhooks",
    tag = "webhooks",
    security(("key" = []), ("bearer" = [])),
    responses((status = 200, description = "All of them, without their secrets.",
        body = WebhooksBody)),
)]
async fn list(State(api): State<Api>, Owner(owner): Owner) -> Result<Json<WebhooksBody>, ApiError> {
    let webhooks =
        api.gateway.webhooks(&owner).await.map_err(|error| ApiError::store(&error.into()))?;
    Ok(Json(WebhooksBody { webhooks: webhooks.into_iter().map(shown).collect() }))
}

/// Delete a webhook
///
/// What waits for it is not delivered any more.
#[utoipa::path(
    delete,
    path = "/api/webhooks/{id}",
    operation_id = "deleteWebhook",
    tag = "webhooks",
    security(("key" = []), ("bearer" = [])),
    params(("id" = String, Path, description = "The webhook.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = ErrorBody, description = "`NOT_FOUND`: there is no such webhook, \
            or it is someone else's."),
    ),
)]
async fn delete(
    State(api): State<Api>,
    Owner(owner): Owner,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    api.gateway.delete_webhook(&owner, &WebhookId::new(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(webhook: Webhook) -> WebhookBody {
    WebhookBody {
        id: webhook.id.to_string(),
        url: webhook.url,
        events: webhook.events,
        description: webhook.description,
        created_at: timestamp(webhook.created_at_ms),
    }
}
