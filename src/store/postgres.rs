//! A database of a `PostgreSQL` server.

use std::error::Error;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};

use super::OpenError;

/// Opens the database of this URL.
///
/// The first connection is made by hand and not by the pool, which would take a refusal for a
/// server that is about to start, and would end with the words that it has waited for too long.
pub(super) async fn open(url: &str) -> Result<AnyPool, OpenError> {
    let options = AnyConnectOptions::from_str(url)
        .map_err(|error| OpenError::BadServerUrl(error.to_string()))?;
    let unusable = |reason| OpenError::Server { place: place(&options), reason };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let connected = connected.map_err(|_| unusable("it does not answer".to_owned()))?;
    let mut connection = connected.map_err(|error| unusable(error.to_string()))?;
    prepare(&mut connection).await.map_err(|error| unusable(error.to_string()))?;
    connection.close().await.map_err(|error| unusable(error.to_string()))?;
    let pool = AnyPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(SETTINGS).execute(connection).await.map(drop) })
        });
    Ok(pool.connect_lazy_with(options))
}

/// Sees whether the database can hold what we keep, and brings its tables up to date. `sqlx` takes
/// an advisory lock for that, so of two gateways that start at once one waits for the other.
async fn prepare(connection: &mut AnyConnection) -> Result<(), Box<dyn Error>> {
    let encoding = sqlx::query_scalar::<_, String>("SHOW server_encoding");
    let encoding = encoding.fetch_one(&mut *connection).await?;
    if encoding != "UTF8" {
        let wrong = format!("its encoding is {encoding}; one with the encoding UTF8 is needed");
        return Err(wrong.into());
    }
    sqlx::raw_sql(MIGRATION_SETTINGS).execute(&mut *connection).await?;
    Ok(sqlx::migrate!("src/store/migrations/postgres").run(connection).await?)
}

/// The server and the database, without user, password and parameters, which may hold one as well.
fn place(options: &AnyConnectOptions) -> String {
    let url = &options.database_url;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path())
}

/// How long a server may take to let us in at the start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query waits for a connection, a lost server included, before it fails. Clients wait
/// for it, so it is shorter than what they are likely to wait.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to one server. Queries are short; a server has 100 by default, for everybody.
const CONNECTIONS_MAX: u32 = 8;

/// What every connection is told: no query takes longer, none waits longer for a lock, and a
/// transaction of ours that we are not there to end is ended by the server.
const SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '30s'";

/// Long enough for another gateway's migration; whoever cannot wait for it can start again.
const MIGRATION_SETTINGS: &str = "SET lock_timeout = '60s'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server::Server;
    use crate::store::{Store, StoreError};

    #[tokio::test]
    async fn what_is_wrong_at_the_start_is_said_without_the_password() {
        let server = Server::start();
        let url = server.database("calls").await;
        server.tell("postgres", LATIN).await;
        for (url, expected) in [
            (server.url("secret", "calls"), "password authentication failed"),
            (url.replace("/calls", "/nowhere"), "database \"nowhere\" does not exist"),
            (url.replace("/calls", "/latin"), "its encoding is LATIN1"),
            (format!("{url}?sslmode=never"), "never"),
            ("postgres://me:secret@localhost:many/x".to_owned(), "invalid port"),
        ] {
            let refusal = Store::open(&url).await.expect_err("refused").to_string();
            assert!(refusal.contains(expected), "{refusal}");
            assert!(!refusal.contains("secret") && !refusal.contains("sesame"), "{refusal}");
        }
        server.stop();
        let refusal = Store::open(&url).await.expect_err("nobody is there").to_string();
        assert!(refusal.contains("/calls") && refusal.contains("No such file"), "{refusal}");
    }

    #[tokio::test]
    async fn of_gateways_that_start_at_once_each_finds_the_tables_made() {
        let server = Server::start();
        let url = server.database("calls").await;
        let opened = futures_util::future::join_all((0..4).map(|_| Store::open(&url))).await;
        for (number, store) in opened.into_iter().enumerate() {
            let store = store.expect("opens");
            let email = format!("{number}@example.com");
            store.create_user(&email, None, 1).await.expect("made");
        }
    }

    #[tokio::test]
    async fn a_database_from_a_later_version_is_refused() {
        let server = Server::start();
        let url = server.database("calls").await;
        Store::open(&url).await.expect("opens").close().await;
        let newest = "(SELECT MAX(version) FROM _sqlx_migrations)";
        let ahead = format!("UPDATE _sqlx_migrations SET version = 99999 WHERE version = {newest}");
        server.tell("calls", &ahead).await;
        assert!(Store::open(&url).await.expect_err("refused").to_string().contains("99999"));
    }

    #[tokio::test]
    async fn a_restart_of_the_server_loses_nothing_and_is_said_to_pass() {
        let server = Server::start();
        let url = server.database("calls").await;
        let store = Store::open(&url).await.expect("opens");
        let user = store.create_user("ann@example.com", None, 1).await.expect("made");
        server.stop();
        let failure = store.user(&user.id).await.expect_err("nobody is there");
        assert!(failure.is_unavailable(), "{failure}");
        server.start_again();
        assert_eq!(store.user(&user.id).await.expect("read"), Some(user));
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_given_up() {
        let server = Server::start();
        let url = server.database("calls").await;
        let store = Store::open(&url).await.expect("opens");
        let mut connection = store.pool.acquire().await.expect("a connection");
        sqlx::raw_sql("SET statement_timeout = '50ms'")
            .execute(&mut *connection)
            .await
            .expect("set");
        let slow = sqlx::raw_sql("SELECT pg_sleep(600)").execute(&mut *connection).await;
        assert!(StoreError::from(slow.expect_err("given up")).is_unavailable());
        drop(connection);
        store.ping().await.expect("the connection is as good as before");
    }

    #[tokio::test]
    async fn every_connection_has_its_settings() {
        let server = Server::start();
        let url = server.database("calls").await;
        let store = Store::open(&url).await.expect("opens");
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut connection = store.pool.acquire().await.expect("a connection");
            let timeout = sqlx::query_scalar::<_, String>("SHOW statement_timeout");
            assert_eq!(timeout.fetch_one(&mut *connection).await.expect("read"), "10s");
            held.push(connection);
        }
    }

    #[test]
    fn a_place_has_neither_user_nor_password() {
        for (url, expected) in [
            ("postgres://me:secret@db.example:5433/calls", "db.example:5433/calls"),
            ("postgresql://db/calls?user=me&password=secret", "db/calls"),
            ("postgres://me:secret@%2Frun%2Fpostgresql/calls", "%2Frun%2Fpostgresql/calls"),
        ] {
            let options = AnyConnectOptions::from_str(url).expect("a URL");
            assert_eq!(place(&options), expected);
        }
    }

    const LATIN: &str = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
}
