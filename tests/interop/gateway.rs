//! The real gateway, a process of its own, with its REST API and its rooms as anyone sees them.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use callbridge::sys::tls;
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The key of the gateway's one user.
pub(crate) const KEY: &str = "ak_0123456789abcdefghijklmnopqrstuv";

/// A bound on every single wait of these tests, far above what a busy machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A gateway and its database. Dropping it kills the one and removes the other.
pub(crate) struct Gateway {
    process: Process,
    folder: TempDir,
    settings: Settings,
    http: Client,
}

/// What a gateway is told beyond what all of these are: variables and their values.
type Settings = Vec<(&'static str, String)>;

/// Who is in a room, as its page is told.
pub(crate) struct RoomWatch {
    events: Response,
    unread: String,
}

struct Process {
    child: Child,
    url: String,
    /// Held so that the gateway's standard output stays open.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Gateway {
    /// Starts a gateway on free ports, with a new database and the local model. It waits a second
    /// for the last client of an agent to come back.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As `start`, but it waits for clients for as long as a test may take.
    pub(crate) async fn start_patient() -> Self {
        Self::start_with(&[("CALLBRIDGE_GRACE_CLIENT_SECONDS", "60")]).await
    }

    /// Starts one with these settings.
    pub(crate) async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        Self::start_as(settings, Client::builder()).await
    }

    /// Starts one whose certificate is issued by this authority.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn start_trusted(settings: &[(&'static str, &str)], root: &Path) -> Self {
        let root = Certificate::from_pem(&std::fs::read(root).unwrap()).unwrap();
        Self::start_as(settings, Client::builder().tls_certs_only([root])).await
    }

    async fn start_as(settings: &[(&'static str, &str)], http: ClientBuilder) -> Self {
        tls::choose_cryptography();
        let folder = tempfile::tempdir().unwrap();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let process = Process::start(folder.path(), &settings).await;
        let http = http.connect_timeout(PATIENCE).build().unwrap();
        Self { process, folder, settings, http }
    }

    /// Kills the gateway as `kill -9` does, and starts another one on the same database.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.restart().await;
    }

    /// Kills the gateway as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        self.process.child.kill().await.unwrap();
    }

    /// Starts another one on the same database.
    pub(crate) async fn restart(&mut self) {
        self.process = Process::start(self.folder.path(), &self.settings).await;
    }

    /// Asks the gateway to end, as an operator does.
    pub(crate) async fn terminate(&self) {
        let process = self.process.child.id().expect("it runs");
        let kill = format!("kill -TERM {process}");
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    /// Waits for the gateway's end; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.process.child.wait()).await.expect("it ends").unwrap().code()
    }

    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }

    /// A folder that goes with the gateway.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The page of a room.
    pub(crate) fn room(&self, name: &str) -> String {
        format!("{}/rooms/{name}", self.url())
    }

    /// Where a caller of this name enters a room.
    pub(crate) fn whip(&self, room: &str, caller: &str) -> String {
        format!("{}/whip?name={caller}", self.room(room))
    }

    /// Creates an agent with a voice; its id.
    pub(crate) async fn create_agent(&self) -> String {
        let spec = json!({
            "name": "Ada",
            "agentType": "HUMA-0.1",
            "metadata": {
                "className": "Assistant",
                "personality": "Friendly and brief.",
                "instructions": "Answer what the caller asks.",
                "tools": [],
                "voice": { "enabled": true },
            },
        });
        self.create(spec).await
    }

    /// Creates an agent as it is written here; its id.
    pub(crate) async fn create(&self, spec: Value) -> String {
        let (status, agent) = self.ask(Method::POST, "/api/agents", Some(spec)).await;
        assert_eq!(status, StatusCode::CREATED, "{agent}");
        agent["id"].as_str().unwrap().to_owned()
    }

    /// Makes a room that needs a token.
    pub(crate) async fn create_room(&self, name: &str) -> Value {
        let body = json!({ "name": name });
        let (status, room) = self.ask(Method::POST, "/api/rooms", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{room}");
        assert_eq!(room["url"], self.room(name));
        room
    }

    /// An agent as REST shows it.
    pub(crate) async fn agent(&self, id: &str) -> Value {
        let (status, agent) = self.ask(Method::GET, &format!("/api/agents/{id}"), None).await;
        assert_eq!(status, StatusCode::OK, "{agent}");
        agent
    }

    /// Asks for an agent until it is in this state, and shows it.
    pub(crate) async fn agent_in_state(&self, id: &str, state: &str) -> Value {
        let asking = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                let agent = self.agent(id).await;
                if agent["state"] == state {
                    return agent;
                }
            }
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{id} does not become {state}"))
    }

    /// Begins to watch who is in a room.
    pub(crate) async fn watch(&self, room: &str) -> RoomWatch {
        let events = self.http.get(format!("{}/events", self.room(room))).send().await.unwrap();
        assert_eq!(events.status(), StatusCode::OK);
        RoomWatch { events, unread: String::new() }
    }

    /// One call of the API, and its answer; null is one without a body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let answer = self.request(method, path, body).await;
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    /// Asks something of the gateway as its one user.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Response {
        let url = format!("{}{path}", self.url());
        let request = self.http.request(method, url).header("X-API-Key", KEY).timeout(PATIENCE);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.unwrap()
    }
}

impl RoomWatch {
    /// The names of those in the room, at first and then at each change.
    pub(crate) async fn names(&mut self) -> Vec<String> {
        let news = async {
            loop {
                let event = self.event().await;
                if event["type"] == "participants" {
                    return event;
                }
            }
        };
        let event = timeout(PATIENCE, news).await.expect("nobody comes or goes");
        let present = event["participants"].as_array().unwrap();
        present.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until exactly these are in the room, in whatever order they came.
    pub(crate) async fn until(&mut self, wanted: &[&str]) {
        loop {
            let mut names = self.names().await;
            names.sort();
            if names == wanted {
                return;
            }
        }
    }

    /// The next event, however long it takes.
    async fn event(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let event = data.map(|data| serde_json::from_str(data).unwrap());
                self.unread = rest.into();
                match event {
                    Some(event) => return event,
                    // A comment, which keeps the connection alive.
                    None => continue,
                }
            }
            let chunk = self.events.chunk().await.unwrap().expect("the stream goes on");
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

impl Drop for Gateway {
    /// Whatever was done with it: what an operator reads has no word that was said, and nothing
    /// that opens anything.
    #[allow(clippy::print_stderr, reason = "whoever looks at a failed test wants to read it")]
    fn drop(&mut self) {
        let log = log_in(self.folder());
        if std::thread::panicking() {
            eprintln!("The gateway's log:\n{log}");
            return;
        }
        for secret in UNSPEAKABLE {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "the log tells what it should not");
        }
    }
}

fn log_in(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(LOG)).unwrap_or_default()
}

/// The file of a gateway's log, beside its database.
const LOG: &str = "gateway.log";

/// Keys, tokens and secrets, what callers and agents say in these tests, and an agent's prompt.
const UNSPEAKABLE: [&str; 7] =
    [KEY, "whsec_", "token=", "Paris", "sky is clear", "in the afternoon", "Answer what"];

impl Process {
    async fn start(folder: &Path, settings: &Settings) -> Self {
        let mut log = File::options();
        let log = log.create(true).append(true);
        let mut child = Command::new(env!("CARGO_BIN_EXE_callbridge"))
            .arg("serve")
            // Away from any settings file of the developer's.
            .current_dir(folder)
            .env_remove("OPENAI_API_KEY")
            .env("CALLBRIDGE_LISTEN", "127.0.0.1:0")
            .env("CALLBRIDGE_DATABASE", "sqlite:callbridge.db")
            .env("CALLBRIDGE_BOOTSTRAP_KEY", KEY)
            .env("CALLBRIDGE_MODEL", "local")
            .env("CALLBRIDGE_GRACE_CLIENT_SECONDS", "1")
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.open(folder.join(LOG)).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("the gateway starts").unwrap();
        let last_words = || panic!("no gateway: {}", log_in(folder));
        let line = line.unwrap_or_else(last_words);
        let url = line.strip_prefix("callbridge listens on ").expect("an address").to_owned();
        Self { child, url, _lines: lines }
    }
}
