//! A `SQLite` database, in a file or in memory.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};

use super::OpenError;

/// Opens a database that ends with its store.
pub(super) async fn open_memory() -> Result<AnyPool, OpenError> {
    // The database is its connection: a second one would see another, and closing it ends it.
    let pool = AnyPoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None);
    let options = options(":memory:", "sqlite::memory:")?;
    let unusable = |error: &dyn Error| unusable(":memory:", error);
    let pool = pool.connect_with(options).await.map_err(|error| unusable(&error))?;
    MIGRATOR.run(&pool).await.map_err(|error| unusable(&error))?;
    Ok(pool)
}

/// Opens the database in this file, which is made if its folder is there.
///
/// The first connection is made by hand, for the pool would try again where a file is of no use.
pub(super) async fn open_file(path: &str) -> Result<AnyPool, OpenError> {
    if path.is_empty() {
        return Err(OpenError::UnknownKind);
    }
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(OpenError::NoFolder { path: path.to_owned() });
    }
    let options = options(path, &format!("sqlite:{}?mode=rwc", escaped(path)))?;
    prepare(&options).await.map_err(|error| unusable(path, &*error))?;
    let pool = AnyPoolOptions::new().max_connections(CONNECTIONS_MAX);
    let pool =
        pool.after_connect(|connection, _| Box::pin(async move { settle(connection).await }));
    Ok(pool.connect_lazy_with(options))
}

async fn prepare(options: &AnyConnectOptions) -> Result<(), Box<dyn Error>> {
    let mut connection = options.connect().await?;
    settle(&mut connection).await?;
    MIGRATOR.run(&mut connection).await?;
    Ok(connection.close().await?)
}

async fn settle(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SETTINGS).execute(connection).await.map(drop)
}

fn options(path: &str, url: &str) -> Result<AnyConnectOptions, OpenError> {
    AnyConnectOptions::from_str(url).map_err(|error| unusable(path, &error))
}

fn unusable(path: &str, error: &dyn Error) -> OpenError {
    OpenError::File { path: path.to_owned(), reason: error.to_string() }
}

/// The path as part of a URL, which gives it back as it is: `.`, `?` and `%` mean nothing there.
fn escaped(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // To write to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

static MIGRATOR: Migrator = sqlx::migrate!("src/store/migrations");

/// What every connection is told. A query waits 5 s for another's write lock before it fails, and
/// what is erased is overwritten: archived speech must not outlive its row.
const SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON";

/// Connections to one file: `SQLite` has one writer at a time, the rest are readers.
const CONNECTIONS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_is_taken_as_it_is() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("100% of it? #1 ü.db");
        let pool = open_file(path.to_str().expect("UTF-8")).await.expect("opens");
        pool.close().await;
        assert!(path.is_file());
    }

    #[tokio::test]
    async fn every_connection_has_its_settings() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db");
        let pool = open_file(path.to_str().expect("UTF-8")).await.expect("opens");
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut connection = pool.acquire().await.expect("a connection");
            let mut seen = Vec::new();
            for setting in ["busy_timeout", "synchronous", "secure_delete", "foreign_keys"] {
                let query = sqlx::AssertSqlSafe(format!("PRAGMA {setting}"));
                let value = sqlx::query_scalar::<_, i64>(query).fetch_one(&mut *connection).await;
                seen.push(value.expect("read"));
            }
            assert_eq!(seen, [5000, 1, 1, 1]);
            let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode");
            assert_eq!(mode.fetch_one(&mut *connection).await.expect("read"), "wal");
            held.push(connection);
        }
    }
}
