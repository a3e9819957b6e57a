//! Live agents, and tombstones of those whose time to live is over.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use thiserror::Error;

use super::pages::{Cursor, ListError, Page, with_one_more};
use super::rows::{BindText as _, ms_from_column, ms_to_column, spec_from_text, spec_to_text};
use super::{Store, StoreError};
use crate::agent::AgentRecord;
use crate::ids::{AgentId, UserId};

/// What is remembered of an expired agent, so that its clients can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The agent.
    pub agent: AgentId,
    /// Whose it was.
    pub owner: UserId,
    /// When it expired, in milliseconds since the Unix epoch.
    pub expired_at_ms: u64,
}

/// Why an agent was not kept.
#[derive(Debug, Error)]
pub enum InsertError {
    /// The owner has a live agent for this user.
    #[error("agent {0} serves this user already")]
    Duplicate(AgentId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a new agent. The database itself holds each user of an owner to one live agent.
    pub async fn insert_agent(&self, agent: &AgentRecord) -> Result<(), InsertError> {
        let spec = spec_to_text(&agent.spec)?;
        loop {
            let inserted = sqlx::query(
                "INSERT INTO agents
                 (id, owner, user_id, metadata, spec, created_at_ms, expires_at_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .text(agent.id.as_str())
            .text(agent.owner.as_str())
            .maybe_text(agent.user_id.as_deref())
            .bind(&agent.metadata_json)
            .bind(&spec)
            .bind(ms_to_column(agent.created_at_ms))
            .bind(agent.expires_at_ms.map(ms_to_column))
            .execute(&self.pool)
            .await;
            let error = match inserted {
                Ok(_) => return Ok(()),
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => error,
                Err(error) => return Err(StoreError::from(error).into()),
            };
            match self.agent_serving(&agent.owner, agent.user_id.as_deref()).await? {
                Some(other) => return Err(InsertError::Duplicate(other)),
                // The other one has ended in between, so there is room for this one.
                None if agent.user_id.is_some() && self.agent(&agent.id).await?.is_none() => {}
                None => return Err(StoreError::from(sqlx::Error::Database(error)).into()),
            }
        }
    }

    /// The live agent of this owner that serves this user.
    pub async fn agent_serving(
        &self,
        owner: &UserId,
        user_id: Option<&str>,
    ) -> Result<Option<AgentId>, StoreError> {
        let row = sqlx::query("SELECT id FROM agents WHERE owner = $1 AND user_id = $2")
            .text(owner.as_str())
            .maybe_text(user_id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get::<String, _>("id")).transpose()?.map(AgentId::new))
    }

    /// Reads an agent, whosoever it is.
    pub async fn agent(&self, id: &AgentId) -> Result<Option<AgentRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM agents WHERE id = $1")
            .text(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| agent_from_row(&row)).transpose()
    }

    /// Reads every agent, oldest first: what a start of the process takes up again.
    pub async fn all_agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM agents ORDER BY created_at_ms, id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(agent_from_row).collect()
    }

    /// Lists an owner's agents, newest first.
    pub async fn agents_of(
        &self,
        owner: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<AgentRecord>, ListError> {
        let after = Cursor::read(cursor)?;
        let rows = sqlx::query(
            "SELECT * FROM agents WHERE owner = $1 AND (created_at_ms, id) < ($2, $3)
             ORDER BY created_at_ms DESC, id DESC LIMIT $4",
        )
        .text(owner.as_str())
        .bind(after.at_ms)
        .text(after.id)
        .bind(with_one_more(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::from)?;
        let rows = rows.iter().map(agent_from_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(rows, limit, |agent| (agent.created_at_ms, agent.id.as_str())))
    }

    /// Writes what may change of an agent: all but its id, its owner and when it was made.
    /// Whether there was one. A user who has another live agent is refused.
    pub async fn update_agent(&self, agent: &AgentRecord) -> Result<bool, InsertError> {
        let spec = spec_to_text(&agent.spec)?;
        loop {
            let updated = sqlx::query(
                "UPDATE agents SET metadata = $1, spec = $2, expires_at_ms = $3, user_id = $4
                 WHERE id = $5",
            )
            .bind(&agent.metadata_json)
            .bind(&spec)
            .bind(agent.expires_at_ms.map(ms_to_column))
            .maybe_text(agent.user_id.as_deref())
            .text(agent.id.as_str())
            .execute(&self.pool)
            .await;
            match updated {
                Ok(done) => return Ok(done.rows_affected() > 0),
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                Err(error) => return Err(StoreError::from(error).into()),
            }
            // If the other one has ended in between, there is room for this one.
            if let Some(other) = self.agent_serving(&agent.owner, agent.user_id.as_deref()).await? {
                return Err(InsertError::Duplicate(other));
            }
        }
    }

    /// Forgets an agent; whether there was one.
    pub async fn delete_agent(&self, id: &AgentId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM agents WHERE id = $1")
            .text(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets an agent, and lets its heir serve its user: both or neither.
    pub async fn succeed_agent(&self, id: &AgentId, heir: &AgentId) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let row = sqlx::query("DELETE FROM agents WHERE id = $1 RETURNING user_id")
            .text(id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        let user = row.as_ref().map(|row| row.try_get::<Option<String>, _>("user_id"));
        if let Some(user) = user.transpose()?.flatten() {
            sqlx::query("UPDATE agents SET user_id = $1 WHERE id = $2")
                .bind(user)
                .text(heir.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(row.is_some())
    }

    /// Forgets an agent and remembers that it has expired, both or neither.
    pub async fn expire_agent(&self, id: &AgentId, now_ms: u64) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO tombstones (agent_id, owner, expired_at_ms)
             SELECT id, owner, $2 FROM agents WHERE id = $1
             ON CONFLICT (agent_id) DO UPDATE SET expired_at_ms = excluded.expired_at_ms",
        )
        .text(id.as_str())
        .bind(ms_to_column(now_ms))
        .execute(&mut *transaction)
        .await?;
        let done = sqlx::query("DELETE FROM agents WHERE id = $1")
            .text(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// What is remembered of an expired agent, for [`TOMBSTONE_MS`].
    pub async fn tombstone(
        &self,
        id: &AgentId,
        now_ms: u64,
    ) -> Result<Option<Tombstone>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM tombstones WHERE agent_id = $1 AND expired_at_ms > $2")
                .text(id.as_str())
                .bind(ms_to_column(now_ms.saturating_sub(TOMBSTONE_MS)))
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|row| tombstone_from_row(&row)).transpose()?)
    }

    /// Forgets the tombstones that nobody can see any more; how many they were.
    pub async fn sweep_tombstones(&self, now_ms: u64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM tombstones WHERE expired_at_ms <= $1")
            .bind(ms_to_column(now_ms.saturating_sub(TOMBSTONE_MS)))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

/// How long an expired agent is remembered: 24 hours.
pub const TOMBSTONE_MS: u64 = 24 * 60 * 60 * 1000;

fn agent_from_row(row: &AnyRow) -> Result<AgentRecord, StoreError> {
    let expires_at_ms: Option<i64> = row.try_get("expires_at_ms")?;
    Ok(AgentRecord {
        id: AgentId::new(row.try_get::<String, _>("id")?),
        owner: UserId::new(row.try_get::<String, _>("owner")?),
        metadata_json: row.try_get("metadata")?,
        user_id: row.try_get("user_id")?,
        created_at_ms: ms_from_column(row.try_get("created_at_ms")?),
        expires_at_ms: expires_at_ms.map(ms_from_column),
        spec: spec_from_text(row.try_get("spec")?)?,
    })
}

fn tombstone_from_row(row: &AnyRow) -> Result<Tombstone, sqlx::Error> {
    Ok(Tombstone {
        agent: AgentId::new(row.try_get::<String, _>("agent_id")?),
        owner: UserId::new(row.try_get::<String, _>("owner")?),
        expired_at_ms: ms_from_column(row.try_get("expired_at_ms")?),
    })
}
