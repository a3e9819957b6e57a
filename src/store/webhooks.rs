//! Webhooks, and what waits to be delivered to them. A webhook's secret signs, so it is kept.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row as _};
use thiserror::Error;

use super::rows::{BindText as _, ms_from_column, ms_to_column};
use super::{Store, StoreError};
use crate::ids::{CallId, DeliveryId, UserId, WebhookId};
use crate::privacy::Secret;

/// A webhook as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRecord {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub owner: UserId,
    /// Where it is delivered.
    pub url: String,
    /// The names of the events that are wanted; none has a space in it.
    pub events: Vec<String>,
    /// What its owner says of it.
    pub description: Option<String>,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

impl WebhookRecord {
    /// Whether it wants to be told of events of this name.
    #[must_use]
    pub fn wants(&self, event: &str) -> bool {
        self.events.iter().any(|name| name == event)
    }
}

/// Something that waits to be delivered, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Its id, the same for every attempt.
    pub id: DeliveryId,
    /// To which webhook.
    pub webhook: WebhookId,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried next, in milliseconds since the Unix epoch.
    pub due_at_ms: u64,
}

/// What is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The name of the event.
    pub event: &'a str,
    /// The call that it is of, if it is of one: who erases the call erases this.
    pub call: Option<&'a CallId>,
    /// What is sent: JSON.
    pub body: &'a str,
}

/// All that an attempt to deliver needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where to.
    pub url: String,
    /// What it is signed with.
    pub secret: Secret,
    /// The name of the event.
    pub event: String,
    /// What is sent: JSON.
    pub body: String,
}

/// Why a webhook was not kept.
#[derive(Debug, Error)]
pub enum InsertWebhookError {
    /// The owner has as many as one may have.
    #[error("there are as many webhooks as one may have")]
    Full,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a new webhook, unless its owner has `most` of them.
    pub async fn insert_webhook(
        &self,
        webhook: &WebhookRecord,
        most: usize,
    ) -> Result<(), InsertWebhookError> {
        let mut transaction = self.pool.begin().await.map_err(StoreError::from)?;
        // Whoever makes another one for this owner waits here, and then counts this one as well.
        sqlx::query("UPDATE users SET email = email WHERE id = $1")
            .text(webhook.owner.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        let row = sqlx::query("SELECT count(*) AS count FROM webhooks WHERE owner = $1")
            .text(webhook.owner.as_str())
            .fetch_one(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        let count = row.try_get::<i64, _>("count").map_err(StoreError::from)?;
        if usize::try_from(count).is_ok_and(|count| count >= most) {
            return Err(InsertWebhookError::Full);
        }
        insert(webhook).execute(&mut *transaction).await.map_err(StoreError::from)?;
        Ok(transaction.commit().await.map_err(StoreError::from)?)
    }

    /// Lists an owner's webhooks, oldest first.
    pub async fn webhooks_of(&self, owner: &UserId) -> Result<Vec<WebhookRecord>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM webhooks WHERE owner = $1 ORDER BY created_at_ms, id")
                .text(owner.as_str())
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(webhook_from_row).collect()
    }

    /// Forgets an owner's webhook and what waits for it; whether there was one.
    pub async fn delete_webhook(&self, owner: &UserId, id: &WebhookId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM webhooks WHERE id = $1 AND owner = $2")
            .text(id.as_str())
            .text(owner.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps a text that is to be delivered; whether the webhook is there.
    pub async fn insert_delivery(
        &self,
        delivery: &DeliveryRecord,
        message: Message<'_>,
    ) -> Result<bool, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO webhook_deliveries
                 (id, webhook_id, event, call_id, body, attempts, due_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .text(delivery.id.as_str())
        .text(delivery.webhook.as_str())
        .text(message.event)
        .maybe_text(message.call.map(CallId::as_str))
        .text(message.body)
        .bind(i64::from(delivery.attempts))
        .bind(ms_to_column(delivery.due_at_ms))
        .execute(&self.pool)
        .await;
        match inserted {
            Ok(_) => Ok(true),
            // The webhook is the only row that it needs.
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists all that waits to be delivered, oldest first: what a start of the process takes up.
    pub async fn waiting_deliveries(&self) -> Result<Vec<DeliveryRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, webhook_id, attempts, due_at_ms FROM webhook_deliveries ORDER BY place",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(delivery_from_row).collect()
    }

    /// Reads what an attempt needs; nothing, if it is delivered or its webhook is gone.
    pub async fn letter(&self, id: &DeliveryId) -> Result<Option<Letter>, StoreError> {
        let row = sqlx::query(
            "SELECT url, secret, event, body FROM webhook_deliveries
             JOIN webhooks ON webhooks.id = webhook_id WHERE webhook_deliveries.id = $1",
        )
        .text(id.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Letter {
            url: row.try_get("url")?,
            secret: Secret::new(row.try_get::<String, _>("secret")?),
            event: row.try_get("event")?,
            body: row.try_get("body")?,
        }))
    }

    /// Keeps when a delivery is tried next, and how often it was tried.
    pub async fn postpone_delivery(
        &self,
        id: &DeliveryId,
        attempts: u32,
        due_at_ms: u64,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE webhook_deliveries SET attempts = $1, due_at_ms = $2 WHERE id = $3")
            .bind(i64::from(attempts))
            .bind(ms_to_column(due_at_ms))
            .text(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets a delivery, whatever became of it.
    pub async fn delete_delivery(&self, id: &DeliveryId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM webhook_deliveries WHERE id = $1")
            .text(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Lists the live calls of owners who have webhooks.
    ///
    /// For a start of the process: what is live belongs to a process that is gone.
    pub async fn live_calls_with_webhooks(&self) -> Result<Vec<(UserId, CallId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT owner, id FROM calls
             WHERE ended_at_ms IS NULL AND owner IN (SELECT owner FROM webhooks)
             ORDER BY started_at_ms, id",
        )
        .fetch_all(&self.pool)
        .await?;
        let call = |row: &AnyRow| {
            let owner = UserId::new(row.try_get::<String, _>("owner")?);
            Ok((owner, CallId::new(row.try_get::<String, _>("id")?)))
        };
        rows.iter().map(call).collect()
    }
}

fn insert(webhook: &WebhookRecord) -> Query<'_, Any, AnyArguments> {
    sqlx::query(
        "INSERT INTO webhooks (id, owner, url, events, description, secret, created_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .text(webhook.id.as_str())
    .text(webhook.owner.as_str())
    .text(&webhook.url)
    .text(&webhook.events.join(" "))
    .maybe_text(webhook.description.as_deref())
    .text(webhook.secret.expose())
    .bind(ms_to_column(webhook.created_at_ms))
}

fn webhook_from_row(row: &AnyRow) -> Result<WebhookRecord, StoreError> {
    let events: String = row.try_get("events")?;
    Ok(WebhookRecord {
        id: WebhookId::new(row.try_get::<String, _>("id")?),
        owner: UserId::new(row.try_get::<String, _>("owner")?),
        url: row.try_get("url")?,
        events: events.split(' ').map(str::to_owned).collect(),
        description: row.try_get("description")?,
        secret: Secret::new(row.try_get::<String, _>("secret")?),
        created_at_ms: ms_from_column(row.try_get("created_at_ms")?),
    })
}

fn delivery_from_row(row: &AnyRow) -> Result<DeliveryRecord, StoreError> {
    Ok(DeliveryRecord {
        id: DeliveryId::new(row.try_get::<String, _>("id")?),
        webhook: WebhookId::new(row.try_get::<String, _>("webhook_id")?),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        due_at_ms: ms_from_column(row.try_get("due_at_ms")?),
    })
}
