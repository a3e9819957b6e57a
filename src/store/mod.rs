//! What survives a restart: users, API keys, agents, the memory of agents that have expired, rooms,
//! the archive of calls, and webhooks with what waits for them.

mod accounts;
mod agents;
mod call_rows;
mod calls;
#[cfg(test)]
mod calls_contract;
#[cfg(test)]
mod contract;
mod inspect;
mod pages;
mod postgres;
mod rooms;
mod rows;
#[cfg(test)]
#[path = "../../tests/postgres/server.rs"]
mod server;
mod sqlite;
mod webhooks;
#[cfg(test)]
mod webhooks_contract;

use sqlx::AnyPool;
use thiserror::Error;

pub use accounts::{ApiKey, CreateUserError, IssuedKey, KeyHolder, User};
pub use agents::{InsertError, TOMBSTONE_MS, Tombstone};
pub use calls::{ArchivedCall, CallEntry, CallSummary, HandOffRecord};
pub use inspect::{Condition, InspectError};
pub use pages::{ListError, Page};
pub use rooms::{InsertRoomError, RoomRecord};
pub use webhooks::{DeliveryRecord, InsertWebhookError, Letter, Message, WebhookRecord};

/// The database. Cheap to clone.
///
/// One kind of store for every kind of database: they differ in how they are opened and in their
/// tables' SQL, and what is asked of them is said in words that all of them know. `sqlite::memory:`
/// is the same again on one connection, so there is no second implementation that tests could pass
/// and users never meet.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    kind: Kind,
}

/// Where their SQL is not the same.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// Begins a transaction all of whose queries see the database as it was at one time.
    const fn begin_reading(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is of no known kind. It is not repeated, for it may hold a password.
    #[error("a database URL is sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST/NAME")]
    UnknownKind,
    /// The URL of a server cannot be read.
    #[error("the URL of the PostgreSQL database cannot be read: {0}")]
    BadServerUrl(String),
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
    /// The server cannot be reached, or does not let us in, or has no database for us.
    #[error("the PostgreSQL database {place} cannot be used: {reason}")]
    Server {
        /// The server and the database's name, without user and password.
        place: String,
        /// What the server says, or why it says nothing.
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

impl StoreError {
    /// Whether the database is out of reach or too busy: the same may work in a while.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| is_passing(&code))
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
            Self::Corrupt { .. } => false,
        }
    }
}

/// Whether a database's own code tells of a trouble that passes.
///
/// `SQLite` has numbers: busy and locked. `PostgreSQL` has SQLSTATE (its manual, appendix A): lost
/// connections, serialisation, resources, an operator's doing (a shutdown, a timeout), and a
/// server that takes no writes, which is one that another has taken over from.
fn is_passing(code: &str) -> bool {
    if code.len() < SQLSTATE_LENGTH {
        return code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    }
    ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
        || matches!(code, "25006" | "55P03")
}

impl Store {
    /// Opens the database and brings its tables up to date.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        // Does nothing if it was done before.
        sqlx::any::install_default_drivers();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self { pool: postgres::open(url).await?, kind: Kind::Postgres });
        }
        let pool = match url.strip_prefix("sqlite:") {
            Some(":memory:") => sqlite::open_memory().await?,
            Some(path) => sqlite::open_file(path.strip_prefix("//").unwrap_or(path)).await?,
            None => return Err(OpenError::UnknownKind),
        };
        Ok(Self { pool, kind: Kind::Sqlite })
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

const SQLSTATE_LENGTH: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> String {
        Store::open(url).await.expect_err("this URL must be refused").to_string()
    }

    #[tokio::test]
    async fn urls_of_other_kinds_are_refused_without_their_password() {
        for url in ["mysql://me:secret@localhost/x", "postgres:secret", "sqlite:", "secret"] {
            let message = refusal(url).await;
            assert!(message.contains("sqlite:PATH") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn only_a_trouble_that_passes_is_worth_another_try() {
        for code in ["5", "517", "6", "08006", "53300", "57P01", "57014", "25006", "40001"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["1", "11", "19", "2067", "23505", "42P01", "22021", ""] {
            assert!(!is_passing(code), "{code}");
        }
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).is_unavailable());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_unavailable());
        let corrupt = StoreError::Corrupt { what: "row", reason: "it is empty".to_owned() };
        assert!(!corrupt.is_unavailable());
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
        let (_folder, url) = database_of_a_later_version().await;
        assert!(refusal(&url).await.contains("99999"));
    }

    /// A database whose newest step is 99999, in a folder that is gone with the test.
    pub(super) async fn database_of_a_later_version() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let store = Store::open(&url).await.expect("opens");
        let newest = "(SELECT MAX(version) FROM _sqlx_migrations)";
        let ahead = format!("UPDATE _sqlx_migrations SET version = 99999 WHERE version = {newest}");
        sqlx::query(sqlx::AssertSqlSafe(ahead)).execute(&store.pool).await.expect("updated");
        store.close().await;
        (folder, url)
    }
}
