//! A real `PostgreSQL` server of a test's own: in a folder that goes with it, on a Unix socket
//! there, under a user without rights, for it refuses to be root's.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

/// The server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    /// The ids of the user and the group who run it, if they are not ours.
    user: Option<(u32, u32)>,
}

impl Server {
    /// Makes a cluster and starts a server for it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let is_root = folder.path().metadata().expect("a folder").uid() == 0;
        let server = Self { programs: programs(), user: is_root.then(nobody), folder };
        let password = server.folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("written");
        for path in [server.folder.path(), &password] {
            if let Some((user, group)) = server.user {
                chown(path, Some(user), Some(group)).expect("given away");
            }
        }
        let password = format!("--pwfile={}", password.display());
        let options = ["-U", USER, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        server.run("initdb", &[&options[..], &["--auth=scram-sha-256", &password]].concat());
        server.start_again();
        server
    }

    /// Starts it after [`Self::stop`]; returns when it takes connections.
    pub(crate) fn start_again(&self) {
        let folder = self.folder.path().display();
        let options = format!("-c listen_addresses= -c fsync=off -k {folder}");
        let log = format!("{folder}/log");
        self.run("pg_ctl", &["start", "--wait", "--silent", "--log", &log, "--options", &options]);
    }

    /// Ends it as an operator does; whoever is connected loses the connection.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["stop", "--wait", "--silent", "--mode", "fast"]);
    }

    /// Makes an empty database; its URL.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.tell("postgres", &format!("CREATE DATABASE {name}")).await;
        self.url(PASSWORD, name)
    }

    /// Does this in a database.
    pub(crate) async fn tell(&self, database: &str, sql: &str) {
        sqlx::any::install_default_drivers();
        let url = self.url(PASSWORD, database);
        let mut connection = AnyConnection::connect(&url).await.expect("connected");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect(sql);
        connection.close().await.expect("closed");
    }

    /// The URL of a database of its own, with this password.
    pub(crate) fn url(&self, password: &str, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        let password = password.replace('/', "%2F").replace('@', "%40");
        format!("postgres://{USER}:{password}@{folder}/{database}")
    }

    fn run(&self, program: &str, options: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(options).env("PGDATA", self.folder.path().join("data"));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let output = command.output().expect(program);
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} has failed: {words}\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.run("pg_ctl", &["stop", "--wait", "--silent", "--mode", "immediate"]);
        }
    }
}

/// The folder of the newest server's programs, where Debian puts them.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folders = versions.filter_map(Result::ok).map(|version| version.path().join("bin"));
    let newest = folders.filter(|folder| folder.join("initdb").is_file()).max_by_key(version_of);
    newest.expect("no PostgreSQL server below /usr/lib/postgresql: scripts/test-deps brings it")
}

#[expect(clippy::ptr_arg, reason = "what max_by_key hands over")]
fn version_of(folder: &PathBuf) -> Option<u32> {
    folder.parent().and_then(Path::file_name)?.to_str()?.parse().ok()
}

/// The ids of the user `nobody`, whom every system has.
fn nobody() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("read");
    let line = users.lines().find(|line| line.starts_with("nobody:")).expect("a user nobody");
    let ids: Vec<u32> = line.split(':').filter_map(|field| field.parse().ok()).collect();
    (ids[0], ids[1])
}

const USER: &str = "keeper";
/// With what a URL cannot have in it as it is.
const PASSWORD: &str = "open/sesame@once";
