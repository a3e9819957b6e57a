//! A gateway of our own: a child process on free loopback ports, with a throw-away database.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::privacy::Secret;
use crate::sys::entropy;

/// Why the gateway could not be started or stopped.
#[derive(Debug, Error)]
pub enum HouseError {
    /// Of the system.
    #[error("the gateway cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It has ended or hangs; its log's last lines say why.
    #[error("the gateway does not come up: {0}")]
    Down(String),
    /// It was asked to end, and has not.
    #[error("the gateway does not end")]
    Stuck,
    /// It has ended, and not well.
    #[error("the gateway has ended badly: {0}")]
    Bad(String),
}

/// A gateway that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct House {
    child: Child,
    /// What it prints is read and forgotten, for a full pipe would stop it.
    printed: Lines<BufReader<ChildStdout>>,
    url: String,
    key: Secret,
    log: PathBuf,
    folder: TempDir,
}

impl House {
    /// Starts `program serve` with the model at `model_url`, and waits until it is ready.
    pub(super) async fn open(
        program: &Path,
        log: Option<&Path>,
        model_url: &str,
        http: &Client,
    ) -> Result<Self, HouseError> {
        let folder = TempDir::with_prefix("callbridge-load-")?;
        let key = Secret::new(format!("ak_{:032x}", entropy::bits()));
        let log = log.map_or_else(|| folder.path().join("gateway.log"), Path::to_owned);
        let mut child = Command::new(program)
            .arg("serve")
            .current_dir(folder.path())
            .env("CALLBRIDGE_LISTEN", "127.0.0.1:0")
            .env("CALLBRIDGE_MEDIA_LISTEN", "127.0.0.1:0")
            .env_remove("CALLBRIDGE_PUBLIC_IP")
            .env("CALLBRIDGE_DATABASE", format!("sqlite:{}/load.db", folder.path().display()))
            .env("CALLBRIDGE_BOOTSTRAP_KEY", key.expose())
            .env("CALLBRIDGE_MODEL", "openai")
            .env("CALLBRIDGE_OPENAI_URL", model_url)
            .env("OPENAI_API_KEY", "none")
            // Agents here have no use for the local model, and its memory is no call's.
            .env("CALLBRIDGE_LOCAL_DIR", folder.path().join("no-model"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let printed = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let printed = BufReader::new(printed).lines();
        let url = String::new();
        let mut house = Self { child, printed, url, key, log, folder };
        match tokio::time::timeout(START_MAX, house.come_up(http)).await {
            Ok(Ok(url)) => Ok(Self { url, ..house }),
            Ok(Err(_)) | Err(_) => Err(HouseError::Down(house.last_words())),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn key(&self) -> &Secret {
        &self.key
    }

    /// The number of its process.
    pub(super) fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it end as an operator would, and removes what it has written.
    pub(super) async fn close(mut self) -> Result<(), HouseError> {
        let id = self.child.id().ok_or_else(|| HouseError::Bad(self.last_words()))?;
        // What is asked for is a signal, and every shell can send one.
        Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(id.to_string()).status().await?;
        let ending = async {
            while let Ok(Some(_)) = self.printed.next_line().await {}
            self.child.wait().await
        };
        let status = tokio::time::timeout(STOP_MAX, ending).await;
        let status = status.map_err(|_| HouseError::Stuck)??;
        if !status.success() {
            return Err(HouseError::Bad(format!("{status}; {}", self.last_words())));
        }
        Ok(self.folder.close()?)
    }

    /// It prints where it listens, and says that it is ready.
    async fn come_up(&mut self, http: &Client) -> io::Result<String> {
        let url = loop {
            let line = self.printed.next_line().await?;
            let line = line.ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some((_, url)) = line.split_once("listens on ") {
                break url.trim().to_owned();
            }
        };
        loop {
            let ready = http.get(format!("{url}/readyz")).send().await;
            if ready.is_ok_and(|response| response.status().is_success()) {
                return Ok(url);
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A gateway opens a store and some ports.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two questions whether it is ready.
const READY_PAUSE: Duration = Duration::from_millis(20);
/// Its own grace, and some more.
const STOP_MAX: Duration = Duration::from_secs(40);
/// So many lines of its log say why it has ended.
const LOG_LINES: usize = 5;
