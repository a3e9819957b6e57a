//! Rooms that users have made. A room's token is never kept, only its hash.

use sqlx::Row as _;
use sqlx::any::AnyRow;
use thiserror::Error;

use super::pages::{Cursor, ListError, Page, with_one_more};
use super::rows::{BindText as _, ms_from_column, ms_to_column};
use super::{Store, StoreError};
use crate::ids::UserId;
use crate::privacy::SecretHash;

/// A room as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// Its name, unique among all owners.
    pub name: String,
    /// Whose it is.
    pub owner: UserId,
    /// The hash of its token; none if it is open.
    pub token: Option<SecretHash>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// Why a room was not kept.
#[derive(Debug, Error)]
pub enum InsertRoomError {
    /// Somebody has a room of this name.
    #[error("there is a room of this name already")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps a new room.
    pub async fn insert_room(&self, room: &RoomRecord) -> Result<(), InsertRoomError> {
        let inserted = sqlx::query(
            "INSERT INTO rooms (name, owner, token_hash, created_at_ms, expires_at_ms)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
        )
        .text(&room.name)
        .text(room.owner.as_str())
        .bind(room.token.as_ref().map(|hash| hash.as_bytes().to_vec()))
        .bind(ms_to_column(room.created_at_ms))
        .bind(room.expires_at_ms.map(ms_to_column))
        .execute(&self.pool)
        .await
        .map_err(StoreError::from)?;
        if inserted.rows_affected() > 0 { Ok(()) } else { Err(InsertRoomError::Taken) }
    }

    /// Reads an owner's room.
    pub async fn room_of(
        &self,
        owner: &UserId,
        name: &str,
    ) -> Result<Option<RoomRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM rooms WHERE owner = $1 AND name = $2")
            .text(owner.as_str())
            .text(name)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| room_from_row(&row)).transpose()
    }

    /// Reads every room, oldest first: what a start of the process makes again.
    pub async fn all_rooms(&self) -> Result<Vec<RoomRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM rooms ORDER BY created_at_ms, name")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(room_from_row).collect()
    }

    /// Lists an owner's rooms, newest first.
    pub async fn rooms_of(
        &self,
        owner: &UserId,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<RoomRecord>, ListError> {
        let after = Cursor::read(cursor)?;
        let rows = sqlx::query(
            "SELECT * FROM rooms WHERE owner = $1 AND (created_at_ms, name) < ($2, $3)
             ORDER BY created_at_ms DESC, name DESC LIMIT $4",
        )
        .text(owner.as_str())
        .bind(after.at_ms)
        .text(after.id)
        .bind(with_one_more(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::from)?;
        let rows = rows.iter().map(room_from_row).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(rows, limit, |room| (room.created_at_ms, room.name.as_str())))
    }

    /// How many rooms an owner has.
    pub async fn count_rooms(&self, owner: &UserId) -> Result<usize, StoreError> {
        let row = sqlx::query("SELECT count(*) AS count FROM rooms WHERE owner = $1")
            .text(owner.as_str())
            .fetch_one(&self.pool)
            .await?;
        Ok(usize::try_from(row.try_get::<i64, _>("count")?).unwrap_or(usize::MAX))
    }

    /// Forgets a room, whosoever it is; whether there was one.
    pub async fn delete_room(&self, name: &str) -> Result<bool, StoreError> {
        let done =
            sqlx::query("DELETE FROM rooms WHERE name = $1").text(name).execute(&self.pool).await?;
        Ok(done.rows_affected() > 0)
    }
}

fn room_from_row(row: &AnyRow) -> Result<RoomRecord, StoreError> {
    let hash: Option<Vec<u8>> = row.try_get("token_hash")?;
    let expires_at_ms: Option<i64> = row.try_get("expires_at_ms")?;
    Ok(RoomRecord {
        name: row.try_get("name")?,
        owner: UserId::new(row.try_get::<String, _>("owner")?),
        token: hash.map(hash_from_column).transpose()?,
        created_at_ms: ms_from_column(row.try_get("created_at_ms")?),
        expires_at_ms: expires_at_ms.map(ms_from_column),
    })
}

fn hash_from_column(bytes: Vec<u8>) -> Result<SecretHash, StoreError> {
    let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| StoreError::Corrupt {
        what: "hash of a room's token",
        reason: format!("it has {} bytes", bytes.len()),
    })?;
    Ok(SecretHash::from_bytes(bytes))
}
