//! Users and their API keys. A key's text is never kept, only its SHA-256.

use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use thiserror::Error;

use super::rows::{BindText as _, ms_from_column, ms_to_column};
use super::{Store, StoreError};
use crate::ids::{KeyId, UserId};
use crate::privacy::Secret;
use crate::sys::entropy;

/// A user of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its address, unique without regard to case.
    pub email: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// An API key as its owner may see it: without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// `...` and its last four characters.
    pub preview: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// From when on it is refused, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// When it was last used, to about a minute, in milliseconds since the Unix epoch.
    pub last_used_at_ms: Option<u64>,
}

/// A new key: the only moment at which its text is to be seen.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The key.
    pub key: ApiKey,
    /// Its text.
    pub text: Secret,
}

/// What a key's text opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// Whose key it is.
    pub owner: UserId,
    /// Which of theirs it is.
    pub key: KeyId,
    /// From when on it is refused, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// Why a user was not made.
#[derive(Debug, Error)]
pub enum CreateUserError {
    /// There is a user with this address.
    #[error("a user with this email exists")]
    EmailTaken,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CreateUserError {
    /// Whether another address would do.
    #[must_use]
    pub const fn is_email_taken(&self) -> bool {
        matches!(self, Self::EmailTaken)
    }
}

impl Store {
    /// Makes a user.
    pub async fn create_user(
        &self,
        email: &str,
        name: Option<&str>,
        now_ms: u64,
    ) -> Result<User, CreateUserError> {
        let id = UserId::from_entropy(entropy::bits());
        let user = User {
            id,
            email: email.to_owned(),
            name: name.map(str::to_owned),
            created_at_ms: now_ms,
        };
        self.insert_user(&user).await.map_err(|error| {
            let is_taken = error
                .as_database_error()
                .is_some_and(sqlx::error::DatabaseError::is_unique_violation);
            if is_taken { CreateUserError::EmailTaken } else { StoreError::from(error).into() }
        })?;
        Ok(user)
    }

    async fn insert_user(&self, user: &User) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO users (id, email, name, created_at_ms) VALUES ($1, $2, $3, $4)")
            .text(user.id.as_str())
            .text(&user.email)
            .maybe_text(user.name.as_deref())
            .bind(ms_to_column(user.created_at_ms))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Reads a user.
    pub async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let row = sqlx::query("SELECT id, email, name, created_at_ms FROM users WHERE id = $1")
            .text(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| user_from_row(&row)).transpose()?)
    }

    /// Makes a key for a user who exists; `None` if there is no such user.
    pub async fn create_key(
        &self,
        owner: &UserId,
        name: Option<&str>,
        expires_at_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<Option<IssuedKey>, StoreError> {
        if self.user(owner).await?.is_none() {
            return Ok(None);
        }
        let text = Secret::new(format!("ak_{}", random_alphanumerics()));
        let key = ApiKey {
            id: KeyId::from_entropy(entropy::bits()),
            preview: preview(&text),
            name: name.map(str::to_owned),
            created_at_ms: now_ms,
            expires_at_ms,
            last_used_at_ms: None,
        };
        self.insert_key(owner, &key, &text).await?;
        Ok(Some(IssuedKey { key, text }))
    }

    /// Inserts a key; does nothing if its text is known.
    async fn insert_key(
        &self,
        owner: &UserId,
        key: &ApiKey,
        text: &Secret,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO api_keys (id, owner, hash, preview, name, created_at_ms, expires_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hash) DO NOTHING",
        )
        .text(key.id.as_str())
        .text(owner.as_str())
        .bind(hash(text.expose()))
        .bind(&key.preview)
        .maybe_text(key.name.as_deref())
        .bind(ms_to_column(key.created_at_ms))
        .bind(key.expires_at_ms.map(ms_to_column))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Lists a user's keys, oldest first.
    pub async fn keys_of(&self, owner: &UserId) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, preview, name, created_at_ms, expires_at_ms, last_used_at_ms
             FROM api_keys WHERE owner = $1 ORDER BY created_at_ms, id",
        )
        .text(owner.as_str())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(key_from_row).collect::<Result<_, _>>()?)
    }

    /// Takes a key back; whether there was one.
    pub async fn revoke_key(&self, owner: &UserId, key: &KeyId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM api_keys WHERE owner = $1 AND id = $2")
            .text(owner.as_str())
            .text(key.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whose key this is, if it is valid; notes that it was used, at most once a minute.
    pub async fn holder_of_key(
        &self,
        text: &Secret,
        now_ms: u64,
    ) -> Result<Option<KeyHolder>, StoreError> {
        let row = sqlx::query(
            "SELECT id, owner, expires_at_ms, last_used_at_ms FROM api_keys
             WHERE hash = $1 AND (expires_at_ms IS NULL OR expires_at_ms > $2)",
        )
        .bind(hash(text.expose()))
        .bind(ms_to_column(now_ms))
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let holder = KeyHolder {
            owner: UserId::new(row.try_get::<String, _>("owner")?),
            key: KeyId::new(row.try_get::<String, _>("id")?),
            expires_at_ms: optional_ms(&row, "expires_at_ms")?,
        };
        let last_used = optional_ms(&row, "last_used_at_ms")?;
        let used_ms_ago = last_used.map(|ms| now_ms.saturating_sub(ms));
        if used_ms_ago.is_none_or(|ms| ms >= LAST_USED_PRECISION_MS) {
            self.note_use(holder.key.as_str(), now_ms).await?;
        }
        Ok(Some(holder))
    }

    async fn note_use(&self, key: &str, now_ms: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE api_keys SET last_used_at_ms = $1 WHERE id = $2")
            .bind(ms_to_column(now_ms))
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Makes sure that there is a user `bootstrap` who has this key.
    pub async fn ensure_bootstrap(&self, text: &Secret, now_ms: u64) -> Result<(), StoreError> {
        let owner = UserId::new(BOOTSTRAP_ID);
        sqlx::query(
            "INSERT INTO users (id, email, name, created_at_ms) VALUES ($1, $2, 'bootstrap', $3)
             ON CONFLICT DO NOTHING",
        )
        .text(owner.as_str())
        .bind(BOOTSTRAP_EMAIL)
        .bind(ms_to_column(now_ms))
        .execute(&self.pool)
        .await?;
        let key = ApiKey {
            id: KeyId::from_entropy(entropy::bits()),
            preview: preview(text),
            name: Some("bootstrap".to_owned()),
            created_at_ms: now_ms,
            expires_at_ms: None,
            last_used_at_ms: None,
        };
        self.insert_key(&owner, &key, text).await
    }
}

fn user_from_row(row: &AnyRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: UserId::new(row.try_get::<String, _>("id")?),
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        created_at_ms: ms_from_column(row.try_get("created_at_ms")?),
    })
}

fn key_from_row(row: &AnyRow) -> Result<ApiKey, sqlx::Error> {
    Ok(ApiKey {
        id: KeyId::new(row.try_get::<String, _>("id")?),
        preview: row.try_get("preview")?,
        name: row.try_get("name")?,
        created_at_ms: ms_from_column(row.try_get("created_at_ms")?),
        expires_at_ms: optional_ms(row, "expires_at_ms")?,
        last_used_at_ms: optional_ms(row, "last_used_at_ms")?,
    })
}

fn optional_ms(row: &AnyRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(ms_from_column))
}

/// Keys are long and random, so a plain hash is enough: there is nothing to guess.
fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

fn preview(text: &Secret) -> String {
    let characters: Vec<char> = text.expose().chars().collect();
    let tail = &characters[characters.len().saturating_sub(4)..];
    format!("...{}", tail.iter().collect::<String>())
}

/// 32 letters and digits; bytes that would favour some of them are drawn again.
fn random_alphanumerics() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const FAIR: u8 = 248; // 4 * 62
    let mut text = String::with_capacity(32);
    while text.len() < 32 {
        let mut bytes = [0; 32];
        entropy::fill(&mut bytes);
        let fair = bytes.iter().filter(|byte| **byte < FAIR).take(32 - text.len());
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
    }
    text
}

/// Uses of a key closer together than this are one use.
const LAST_USED_PRECISION_MS: u64 = 60_000;

const BOOTSTRAP_ID: &str = "usr_bootstrap";
const BOOTSTRAP_EMAIL: &str = "bootstrap@localhost";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_shows_the_last_four_characters() {
        assert_eq!(preview(&Secret::new("ak_abcdefgh")), "...efgh");
        assert_eq!(preview(&Secret::new("é")), "...é");
    }

    #[test]
    fn random_texts_are_long_and_differ() {
        let (one, two) = (random_alphanumerics(), random_alphanumerics());
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, two);
    }
}
