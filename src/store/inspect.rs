//! A look at a database before anybody opens it: nothing in it is changed.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use thiserror::Error;

use super::Store;

/// How a database stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It lives in memory, and ends with its process.
    Passing,
    /// There is none yet; it can be made.
    Absent,
    /// It is there, and can be written.
    Present {
        /// How many migrations the next opening would make.
        pending: usize,
    },
}

/// Why a database could not be opened.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The URL is of no known kind. It is not repeated, for it may hold a password.
    #[error("the database's URL is of no known kind")]
    UnknownKind,
    /// The folder that should hold the file is missing.
    #[error("the folder of the database file {path:?} does not exist")]
    NoFolder {
        /// The file.
        path: String,
    },
    /// It is there or could be, and cannot be read or written.
    #[error("the database {place:?} cannot be used: {reason}")]
    Unusable {
        /// The file.
        place: String,
        /// What the database or the system says.
        reason: String,
    },
    /// A later version of callbridge has brought it up to date with itself.
    #[error("the database {place:?} is of a later version of callbridge (migration {migration})")]
    Later {
        /// The file.
        place: String,
        /// The first of its migrations that this version does not know.
        migration: i64,
    },
}

impl InspectError {
    fn unusable(place: &str, reason: &impl ToString) -> Self {
        Self::Unusable { place: place.to_owned(), reason: reason.to_string() }
    }
}

impl Store {
    /// Looks whether [`Store::open`] would succeed, and what it would do. Waits for `lock_limit` at
    /// most while another process writes.
    pub async fn inspect(url: &str, lock_limit: Duration) -> Result<Condition, InspectError> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return inspect_server(url).await;
        }
        let path = url.strip_prefix("sqlite:").ok_or(InspectError::UnknownKind)?;
        match path.strip_prefix("//").unwrap_or(path) {
            "" => Err(InspectError::UnknownKind),
            ":memory:" => Ok(Condition::Passing),
            path if Path::new(path).exists() => inspect_file(path, lock_limit).await,
            path => inspect_folder(path),
        }
    }
}

/// Looks into the database of a server. A database that is missing there is not made by us.
async fn inspect_server(url: &str) -> Result<Condition, InspectError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| InspectError::UnknownKind)?;
    let database = options.get_database().unwrap_or_default();
    let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
    let looking = async {
        let mut server = options.connect().await?;
        let table = "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations'";
        let has_table = sqlx::query_scalar::<_, i64>(table).fetch_one(&mut server).await? > 0;
        let applied = match has_table {
            true => sqlx::query_scalar(APPLIED).fetch_all(&mut server).await?,
            false => Vec::new(),
        };
        server.close().await?;
        Ok(pending(&sqlx::migrate!("src/store/migrations/postgres"), &applied))
    };
    let looked = tokio::time::timeout(SERVER_LIMIT, looking).await;
    let late = |_| InspectError::unusable(&place, &"it does not answer");
    let found = looked.map_err(late)?;
    let found = found.map_err(|error: sqlx::Error| InspectError::unusable(&place, &error))?;
    let later = |migration| InspectError::Later { place: place.clone(), migration };
    Ok(Condition::Present { pending: found.map_err(later)? })
}

async fn inspect_file(path: &str, lock_limit: Duration) -> Result<Condition, InspectError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(lock_limit);
    let failed = |error: sqlx::Error| InspectError::unusable(path, &error);
    let mut file = options.connect().await.map_err(failed)?;
    let applied = applied(&mut file).await.map_err(failed)?;
    let pending = pending(&sqlx::migrate!("src/store/migrations"), &applied);
    // Whoever gets the write lock could write.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut file).await.map_err(failed)?;
    sqlx::query("ROLLBACK").execute(&mut file).await.map_err(failed)?;
    file.close().await.map_err(failed)?;
    let later = |migration| InspectError::Later { place: path.to_owned(), migration };
    Ok(Condition::Present { pending: pending.map_err(later)? })
}

/// The migrations that a file has.
async fn applied(file: &mut SqliteConnection) -> sqlx::Result<Vec<i64>> {
    let table = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    if sqlx::query_scalar::<_, i64>(table).fetch_one(&mut *file).await? == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(APPLIED).fetch_all(file).await
}

/// How many of our migrations it has not; the error is one that it has and we do not know.
fn pending(ours: &Migrator, applied: &[i64]) -> Result<usize, i64> {
    let stranger = applied.iter().find(|version| !ours.version_exists(**version));
    let missing = ours.iter().filter(|one| !applied.contains(&one.version)).count();
    stranger.map_or(Ok(missing), |version| Err(*version))
}

/// Whether a file could be made here.
fn inspect_folder(path: &str) -> Result<Condition, InspectError> {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(InspectError::NoFolder { path: path.to_owned() });
    }
    tempfile::tempfile_in(folder).map_err(|error| InspectError::unusable(path, &error))?;
    Ok(Condition::Absent)
}

const APPLIED: &str = "SELECT version FROM _sqlx_migrations";

/// How long a server may take to let us in and to answer.
const SERVER_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server::Server;
    use crate::store::tests::database_of_a_later_version;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_database_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let url = format!("sqlite:{}", path.display());
        assert_eq!(Store::inspect(&url, LIMIT).await.expect("it can be made"), Condition::Absent);
        assert!(!path.exists());
        let store = Store::open(&url).await.expect("opens");
        store.close().await;
        let there = Store::inspect(&url, LIMIT).await.expect("it is there");
        assert_eq!(there, Condition::Present { pending: 0 });
    }

    #[tokio::test]
    async fn what_the_next_opening_would_do_is_counted_and_not_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let store = Store::open(&url).await.expect("opens");
        let newest = "(SELECT MAX(version) FROM _sqlx_migrations)";
        let older = format!("DELETE FROM _sqlx_migrations WHERE version = {newest}");
        sqlx::query(sqlx::AssertSqlSafe(older)).execute(&store.pool).await.expect("deleted");
        store.close().await;
        for _ in 0..2 {
            let found = Store::inspect(&url, LIMIT).await.expect("it is there");
            assert_eq!(found, Condition::Present { pending: 1 });
        }
    }

    #[tokio::test]
    async fn tables_of_a_later_version_are_refused() {
        let (_folder, url) = database_of_a_later_version().await;
        let refusal = Store::inspect(&url, LIMIT).await.expect_err("it is too new").to_string();
        assert!(refusal.contains("99999") && refusal.contains("later version"), "{refusal}");
    }

    #[tokio::test]
    async fn what_cannot_be_a_database_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("list.db");
        std::fs::write(&list, "this is a shopping list, and not a short one at all\n")
            .expect("written");
        let nowhere = folder.path().join("nowhere/x.db");
        for (path, reason) in
            [(&list, "not a database"), (&nowhere, "folder"), (&"/proc/x.db".into(), "/proc/x.db")]
        {
            let url = format!("sqlite:{}", path.display());
            let refusal = Store::inspect(&url, LIMIT).await.expect_err("refused").to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[tokio::test]
    async fn a_server_is_looked_into_and_its_password_not_told() {
        let server = Server::start();
        let url = server.database("calls").await;
        let unmade = Store::inspect(&url, LIMIT).await.expect("it is there");
        assert!(matches!(unmade, Condition::Present { pending: 1.. }), "{unmade:?}");
        Store::open(&url).await.expect("opens").close().await;
        let made = Store::inspect(&url, LIMIT).await.expect("it is there");
        assert_eq!(made, Condition::Present { pending: 0 });
        server.stop();
        let refusal = Store::inspect(&url, LIMIT).await.expect_err("nobody is there").to_string();
        assert!(refusal.contains("/calls") && !refusal.contains("sesame"), "{refusal}");
    }

    #[tokio::test]
    async fn a_lock_that_another_holds_is_not_waited_for_longer_than_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("x.db").display());
        let store = Store::open(&url).await.expect("opens");
        let mut writer = store.pool.acquire().await.expect("a connection");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *writer).await.expect("the lock");
        let refusal = Store::inspect(&url, LIMIT).await.expect_err("it is locked").to_string();
        assert!(refusal.contains("locked"), "{refusal}");
    }
}
