//! What survives a restart: users, API keys, agents, the memory of agents that have expired, rooms,
//! and the archive of calls.

mod accounts;
mod agents;
mod call_rows;
mod calls;
#[cfg(test)]
mod calls_contract;
#[cfg(test)]
mod contract;
mod pages;
mod rooms;
mod rows;

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use thiserror::Error;

pub use accounts::{ApiKey, CreateUserError, IssuedKey, User};
pub use agents::{InsertError, TOMBSTONE_MS, Tombstone};
pub use calls::{ArchivedCall, CallEntry, CallSummary, HandOffRecord};
pub use pages::{ListError, Page};
pub use rooms::{InsertRoomError, RoomRecord};

/// The database. Cheap to clone.
///
/// `sqlite::memory:` is the same database on one connection, so there is one kind of store, and
/// no second implementation that tests could pass and users never meet.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

/// Why a database could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL names a kind of database that this build has not.
    #[error("{0} databases are not built in; use sqlite:PATH or sqlite::memory:")]
    NotBuiltIn(&'static str),
    /// The URL is of no known kind.
    #[error("a database URL is sqlite:PATH, sqlite::memory: or postgres://…, not {0:?}")]
    BadUrl(String),
    /// The folder that should hold the file is missing.
    #[error("the folder of the database file {path:?} does not exist")]
    NoFolder {
        /// The file.
        path: String,
    },
    /// The file cannot be used as our database.
    #[error("the database file {path:?} cannot be used: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the database says.
        reason: String,
    },
}

/// The database failed at something that should have worked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It refused, or did not answer.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row does not say what such a row must say.
    #[error("a stored {what} cannot be read: {reason}")]
    Corrupt {
        /// What the row should be.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Err(OpenError::NotBuiltIn("PostgreSQL"));
        }
        match url.strip_prefix("sqlite:") {
            Some(":memory:") => Self::open_memory().await,
            Some(path) => Self::open_file(path.strip_prefix("//").unwrap_or(path)).await,
            None => Err(OpenError::BadUrl(url.to_owned())),
        }
    }

    async fn open_memory() -> Result<Self, OpenError> {
        let failed = |error: sqlx::Error| unusable(":memory:", &error);
        let options = SqliteConnectOptions::from_str("sqlite::memory:").map_err(failed)?;
        // The database is its connection: a second one would see another, and closing it ends it.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None);
        let pool = pool.connect_with(options).await.map_err(failed)?;
        Self { pool }.migrated(":memory:").await
    }

    async fn open_file(path: &str) -> Result<Self, OpenError> {
        if path.is_empty() {
            return Err(OpenError::BadUrl("sqlite:".to_owned()));
        }
        let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(OpenError::NoFolder { path: path.to_owned() });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // What is erased is overwritten: archived speech must not outlive its row.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX);
        let pool = pool.connect_with(options).await.map_err(|error| unusable(path, &error))?;
        Self { pool }.migrated(path).await
    }

    async fn migrated(self, path: &str) -> Result<Self, OpenError> {
        let migrated = sqlx::migrate!("src/store/migrations").run(&self.pool).await;
        migrated.map_err(|error| unusable(path, &error))?;
        Ok(self)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Whether the database is closed, or about to be.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    /// Waits for running queries, then closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn unusable(path: &str, error: &(dyn std::error::Error + 'static)) -> OpenError {
    OpenError::File { path: path.to_owned(), reason: error.to_string() }
}

/// How long a query waits for another's write lock, before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to one file: `SQLite` has one writer at a time, the rest are readers.
const CONNECTIONS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> String {
        Store::open(url).await.expect_err("this URL must be refused").to_string()
    }

    #[tokio::test]
    async fn urls_of_other_kinds_are_refused_by_name() {
        assert!(refusal("postgres://localhost/x").await.contains("not built in"));
        assert!(refusal("mysql://localhost/x").await.contains("mysql://localhost/x"));
        assert!(refusal("sqlite:").await.contains("sqlite:PATH"));
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nowhere").join("x.db");
        let message = refusal(&format!("sqlite:{}", path.display())).await;
        assert!(message.contains("nowhere/x.db") && message.contains("folder"), "{message}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "this is a shopping list, and not a short one at all\n")
            .expect("written");
        let message = refusal(&format!("sqlite:{}", file.path().display())).await;
        assert!(message.contains(&file.path().display().to_string()), "{message}");
        assert!(message.contains("not a database"), "{message}");
    }

    #[tokio::test]
    async fn a_folder_in_the_place_of_the_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let message = refusal(&format!("sqlite:{}", folder.path().display())).await;
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
    }

    #[tokio::test]
    async fn a_database_from_a_later_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let store = Store::open(&url).await.expect("opens");
        let newest = "(SELECT MAX(version) FROM _sqlx_migrations)";
        let ahead = format!("UPDATE _sqlx_migrations SET version = 99999 WHERE version = {newest}");
        sqlx::query(sqlx::AssertSqlSafe(ahead)).execute(&store.pool).await.expect("updated");
        store.close().await;
        assert!(refusal(&url).await.contains("99999"));
    }
}
