//! The whole gateway in this process, with the local model as its mind, and what is open in it.

use std::fs;
use std::time::Duration;

use callbridge::app::{App, Minds};
use callbridge::config::{Config, Sources};
use callbridge::runtime::Gateway;
use callbridge::sys::tasks::{self, Task};
use callbridge::sys::tls;
use reqwest::{Client as Http, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::client::Client;

/// The key of the gateway's one user.
const KEY: &str = "ak_0123456789abcdefghijklmnopqrstuv";

/// A bound on one request, far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that serves, and its database on disk.
pub(crate) struct House {
    pub(crate) gateway: Gateway,
    at: String,
    http: Http,
    stop: oneshot::Sender<()>,
    running: Task<anyhow::Result<()>>,
    _folder: TempDir,
}

/// What the process has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) tasks: usize,
    pub(crate) sockets: usize,
    pub(crate) files: usize,
}

impl House {
    pub(crate) async fn open() -> Self {
        tls::choose_cryptography();
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("x.db").display());
        let environment = [
            ("CALLBRIDGE_LISTEN", "127.0.0.1:0"),
            ("CALLBRIDGE_DATABASE", database.as_str()),
            ("CALLBRIDGE_BOOTSTRAP_KEY", KEY),
            ("CALLBRIDGE_LIMITS_REQUESTS_PER_SECOND", "0"),
        ];
        let set = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Where setup has put the speech model.
        let found = ["HOME", "CALLBRIDGE_CACHE"].into_iter().filter_map(|name| {
            Some((name.to_owned(), std::env::var_os(name)?.into_string().ok()?))
        });
        let environment = found.chain(set).collect();
        let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
        let minds = Minds::open(&config.model).await.unwrap();
        let app = App::build(&config, minds).await.unwrap();
        let (at, gateway) = (app.address().unwrap().to_string(), app.gateway().clone());
        let (stop, stopped) = oneshot::channel();
        let running = tasks::spawn(
            "gateway",
            app.run(async move {
                let _stop = stopped.await;
            }),
        );
        Self { gateway, at, http: http(), stop, running, _folder: folder }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}{path}", self.at);
        let request = self.http.request(method, url).header("X-API-Key", KEY);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn connect(&self, agent: &str) -> Result<Client, String> {
        Client::connect(&self.at, agent, KEY).await
    }

    /// Lets go of the connections that were kept for further requests.
    pub(crate) fn hang_up(&mut self) {
        self.http = http();
    }

    /// Stops as on a signal.
    pub(crate) async fn close(self) {
        let Self { stop, running, .. } = self;
        stop.send(()).expect("it runs");
        running.await.unwrap().unwrap();
    }
}

impl Open {
    /// What is open at this moment.
    pub(crate) fn count(gateway: &Gateway) -> Self {
        let links: Vec<_> = fs::read_dir("/proc/self/fd")
            .unwrap()
            // The folder itself is open while it is read, and gone when its link is.
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .collect();
        let is_socket = |link: &&std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
        let sockets = links.iter().filter(is_socket).count();
        let tasks = gateway.tasks();
        Self { tasks, sockets, files: links.len() - sockets }
    }

    /// Waits until no more is open than this; what is too much, if that takes too long.
    pub(crate) async fn settles_at(self, gateway: &Gateway) -> Result<Self, Self> {
        let settling = async {
            loop {
                let open = Self::count(gateway);
                if open.is_within(self) {
                    return open;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(SETTLING, settling).await.map_err(|_| Self::count(gateway))
    }

    const fn is_within(self, limit: Self) -> bool {
        self.tasks <= limit.tasks && self.sockets <= limit.sockets && self.files <= limit.files
    }
}

/// The memory that is really used, in kB.
pub(crate) fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn http() -> Http {
    Http::builder().timeout(PATIENCE).build().unwrap()
}

/// How long the last connection may take to be seen as gone: a session says farewell for one
/// second, and an empty room is swept within two.
const SETTLING: Duration = Duration::from_secs(30);
