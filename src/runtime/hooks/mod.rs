//! Webhooks: owners are told what happens to their agents, by HTTP, signed, and again if need be.

mod backoff;
mod calls;
mod news;
mod outbox;
mod post;
mod postman;
mod signature;
mod url;
mod wire;

use thiserror::Error;
use tokio::sync::mpsc;

use super::gateway::{Gateway, StartError};
use super::handle::StoreFailure;
use crate::ids::{CallId, UserId, WebhookId};
use crate::meter::Meter;
use crate::privacy::Secret;
use crate::store::{ArchivedCall, InsertWebhookError, Store, StoreError, WebhookRecord};
use crate::sys::tasks::{self, Task};
use crate::sys::{clock, entropy};
use news::NEWS_CAPACITY;
use post::Courier;
use postman::Postman;

pub use news::WebhookEvent;
pub(super) use news::{Hooks, Reporter};
pub use url::WebhookUrl;

/// Webhooks of one owner. Over it, making one is refused with `WEBHOOK_LIMIT`.
pub const WEBHOOKS_PER_OWNER_MAX: usize = 10;

/// Where webhooks may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookPolicy {
    /// Whether they may lead to private and loopback addresses. Whoever makes webhooks can then
    /// make the gateway ask whatever it can reach.
    pub private: bool,
}

/// What a new webhook is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where it leads.
    pub url: WebhookUrl,
    /// What it is told of.
    pub events: Vec<WebhookEvent>,
    /// What its owner says of it.
    pub description: Option<String>,
}

/// A webhook as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where it leads.
    pub url: String,
    /// The names of the events that it is told of.
    pub events: Vec<String>,
    /// What its owner says of it.
    pub description: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// A new webhook: the only moment at which its secret is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// What its deliveries are signed with.
    pub secret: Secret,
}

/// Why a webhook was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CreateWebhookError {
    /// It would lead to a private address.
    #[error("must not lead to a private address")]
    Private,
    /// The owner has as many as one may have.
    #[error("there are {WEBHOOKS_PER_OWNER_MAX} webhooks already, as many as one may have")]
    Full,
    /// The process is going down.
    #[error("the gateway is shutting down")]
    Draining,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

/// Why a webhook was not found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindWebhookError {
    /// No such webhook of this owner.
    #[error("there is no such webhook")]
    NotFound,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(StoreFailure),
}

impl From<InsertWebhookError> for CreateWebhookError {
    fn from(error: InsertWebhookError) -> Self {
        match error {
            InsertWebhookError::Full => Self::Full,
            InsertWebhookError::Store(error) => Self::Store(error.into()),
        }
    }
}

impl From<StoreError> for FindWebhookError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Gateway {
    /// Makes a webhook.
    pub async fn create_webhook(
        &self,
        owner: &UserId,
        new: NewWebhook,
    ) -> Result<IssuedWebhook, CreateWebhookError> {
        if !self.is_ready() {
            return Err(CreateWebhookError::Draining);
        }
        if new.url.is_private() && !self.webhook_policy().private {
            return Err(CreateWebhookError::Private);
        }
        let NewWebhook { url, events, description } = new;
        let secret = format!("whsec_{:032x}{:032x}", entropy::bits(), entropy::bits());
        let record = WebhookRecord {
            id: WebhookId::from_entropy(entropy::bits()),
            owner: owner.clone(),
            url: url.as_str().to_owned(),
            events: events.into_iter().map(|event| event.as_str().to_owned()).collect(),
            description,
            secret: Secret::new(secret),
            created_at_ms: clock::unix_ms(),
        };
        self.store().insert_webhook(&record, WEBHOOKS_PER_OWNER_MAX).await?;
        let secret = record.secret.clone();
        Ok(IssuedWebhook { webhook: shown(record), secret })
    }

    /// Looks at an owner's webhooks, oldest first.
    pub async fn webhooks(&self, owner: &UserId) -> Result<Vec<Webhook>, StoreError> {
        Ok(self.store().webhooks_of(owner).await?.into_iter().map(shown).collect())
    }

    /// Forgets an owner's webhook. What waits for it is not delivered any more.
    pub async fn delete_webhook(
        &self,
        owner: &UserId,
        id: &WebhookId,
    ) -> Result<(), FindWebhookError> {
        let was_there = self.store().delete_webhook(owner, id).await?;
        if was_there { Ok(()) } else { Err(FindWebhookError::NotFound) }
    }
}

/// Starts the postman, who lives as long as the task is kept, and lets it tell how the calls ended
/// that the process before has left.
pub(super) async fn open(
    store: Store,
    meter: Meter,
    policy: WebhookPolicy,
    left: Vec<(UserId, ArchivedCall)>,
) -> Result<(Hooks, Task), StartError> {
    let courier = Courier::new(policy.private);
    let courier = courier.map_err(|error| StartError::Courier(error.to_string()))?;
    let mut postman = Postman::new(store, meter.clone(), courier).await?;
    for (owner, call) in left {
        postman.end_left_call(owner, call).await;
    }
    let (queue, inbox) = mpsc::channel(NEWS_CAPACITY);
    Ok((Hooks::new(queue, meter), tasks::spawn("postman", postman.run(inbox))))
}

/// The calls that the process before has left, once they are closed. To be asked for before.
pub(super) async fn left_calls(
    store: &Store,
    calls: Vec<(UserId, CallId)>,
) -> Result<Vec<(UserId, ArchivedCall)>, StoreError> {
    let mut left = Vec::with_capacity(calls.len());
    for (owner, id) in calls {
        if let Some(call) = store.call(&owner, &id).await? {
            left.push((owner, call));
        }
    }
    Ok(left)
}

fn shown(record: WebhookRecord) -> Webhook {
    let WebhookRecord { id, url, events, description, created_at_ms, .. } = record;
    Webhook { id, url, events, description, created_at_ms }
}
