//! Programs of other makers, run as scripts that take orders and tell what happens.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::gateway::{Gateway, KEY, PATIENCE};

/// A running script. Dropping it kills it; what it complains of goes to our own standard error.
pub(crate) struct Peer {
    script: &'static str,
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

/// An agent in the gateway, and the Socket.IO client that drives it.
pub(crate) struct Agent {
    pub(crate) id: String,
    peer: Peer,
}

impl Peer {
    /// Runs a script of this folder with Node.js, which finds the packages that setup installed.
    pub(crate) fn node<A: AsRef<OsStr>>(script: &'static str, args: &[A]) -> Self {
        let packages = needed(cache().join("node/node_modules"));
        let mut command = Command::new("node");
        command.env("NODE_PATH", packages);
        Self::spawn(script, command, args)
    }

    /// The same by another program, which runs Node.js somewhere else.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) fn node_by<A: AsRef<OsStr>>(
        mut node: Command,
        script: &'static str,
        args: &[A],
    ) -> Self {
        node.env("NODE_PATH", needed(cache().join("node/node_modules")));
        Self::spawn(script, node, args)
    }

    /// Runs a script of this folder in the Python environment that setup made.
    pub(crate) fn python<A: AsRef<OsStr>>(script: &'static str, args: &[A]) -> Self {
        let python = needed(cache().join("venv/bin/python"));
        Self::spawn(script, Command::new(python), args)
    }

    /// The same by another program, which is given what to run as its last arguments.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) fn python_by<A: AsRef<OsStr>>(
        mut launcher: Command,
        script: &'static str,
        args: &[A],
    ) -> Self {
        launcher.arg(needed(cache().join("venv/bin/python")));
        Self::spawn(script, launcher, args)
    }

    fn spawn<A: AsRef<OsStr>>(script: &'static str, mut command: Command, args: &[A]) -> Self {
        let mut child = command
            .arg(format!("{}/tests/interop/{script}", env!("CARGO_MANIFEST_DIR")))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {script} ({error}): run `make test-deps`"));
        let orders = child.stdin.take().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { script, child, orders, told }
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    /// What it tells next.
    pub(crate) async fn next(&mut self) -> Value {
        self.until("anything", |_| true).await
    }

    /// What it tells next, if that takes longer than others do.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn within(&mut self, limit: Duration) -> Value {
        let line = timeout(limit, self.told.next_line()).await.expect("it tells").unwrap();
        let line = line.unwrap_or_else(|| panic!("{} ends", self.script));
        serde_json::from_str(&line).unwrap()
    }

    /// Waits until it tells something that fits; what comes before that is let go.
    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let (script, told) = (self.script, &mut self.told);
        let telling = async {
            loop {
                let line = told.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("{script} ends without {what}"));
                let told = serde_json::from_str(&line);
                let told = told.unwrap_or_else(|_| panic!("{script} says {line}"));
                if fits(&told) {
                    return told;
                }
            }
        };
        let told = timeout(PATIENCE, telling).await;
        told.unwrap_or_else(|_| panic!("{script} does not tell {what}"))
    }

    /// Lets a caller leave once nobody speaks, and waits for its recording.
    pub(crate) async fn hang_up(mut self) {
        self.order("hang up").await;
        self.finish().await;
    }

    /// Waits for its end, which must be a good one.
    pub(crate) async fn finish(mut self) {
        drop(self.orders);
        let ended = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        assert!(ended.success(), "{} ended with {ended}", self.script);
    }

    /// Ends it as `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Agent {
    /// Creates an agent, and connects a client to it.
    pub(crate) async fn create(gateway: &Gateway) -> Self {
        let id = gateway.create_agent().await;
        Self::connect(gateway, id).await
    }

    /// Connects a client to an agent that is there.
    pub(crate) async fn connect(gateway: &Gateway, id: String) -> Self {
        Self::connect_by(Command::new("node"), gateway, id).await
    }

    /// The same by a Node.js of one's own.
    pub(crate) async fn connect_by(node: Command, gateway: &Gateway, id: String) -> Self {
        let mut peer = Peer::node_by(node, "agent.cjs", &[gateway.url(), &id, KEY]);
        let first = peer.next().await;
        assert_eq!(first, json!({"connected": true}));
        Self { id, peer }
    }

    /// Joins a room that the gateway hosts; gives the event that says so.
    pub(crate) async fn join(&mut self, room: &str) -> Value {
        self.join_by(json!({"roomUrl": format!("rooms/{room}")})).await
    }

    /// Joins as these fields say.
    pub(crate) async fn join_by(&mut self, fields: Value) -> Value {
        let mut join = fields;
        join["type"] = json!("join-daily-room");
        self.peer.order(&join.to_string()).await;
        let told = self.peer.until("ack", |told| told.get("ack").is_some()).await;
        assert_eq!(told["ack"], json!({"ok": true}));
        self.event("room_joined").await
    }

    /// Tries to join as these fields say, in vain; the error that says why.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn join_in_vain(&mut self, fields: Value) -> Value {
        let mut join = fields;
        join["type"] = json!("join-room");
        self.peer.order(&join.to_string()).await;
        let is_error = |told: &Value| {
            assert_ne!(told["event"]["type"], "room_joined", "{told}");
            told["event"]["type"] == "error"
        };
        self.peer.until("an error", is_error).await["event"].take()
    }

    /// Sends a message, and waits until it is taken.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn send(&mut self, message: Value) {
        self.peer.order(&message.to_string()).await;
        let told = self.peer.until("ack", |told| told.get("ack").is_some()).await;
        assert_eq!(told["ack"], json!({"ok": true}));
    }

    /// Leaves the room; gives the event that says so.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn leave(&mut self) -> Value {
        self.peer.order(&json!({"type": "leave-room"}).to_string()).await;
        self.event("room_left").await
    }

    /// The next event of a kind; those before it are let go, but none may be an error.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        self.event_where(kind, |_| true).await
    }

    /// The next event of a kind that fits.
    pub(crate) async fn event_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let fits = |told: &Value| {
            let event = &told["event"];
            let is_error = event["type"] == "error" || event["type"] == "transcriber_fatal_error";
            assert!(!is_error, "{event}");
            event["type"] == kind && fits(event)
        };
        self.peer.until(kind, fits).await["event"].take()
    }

    /// All that comes until an event of this kind fits, which is the last.
    #[allow(dead_code, reason = "each test program uses its part of it")]
    pub(crate) async fn events_until(
        &mut self,
        kind: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event =
                self.peer.until(kind, |told| told["event"].is_object()).await["event"].take();
            let is_last = event["type"] == kind && fits(&event);
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// Waits until the agent has said something to its end; its words.
    pub(crate) async fn spoken(&mut self) -> String {
        let ended = self.event_where("speak-status", |event| event["status"] != "started").await;
        assert_eq!(ended["status"], "finished", "{ended}");
        ended["text"].as_str().unwrap().to_owned()
    }

    /// Ends the client as `kill -9` does; the agent's id.
    pub(crate) async fn kill_client(self) -> String {
        self.peer.kill().await;
        self.id
    }
}

/// A caller on aiortc who enters a room, and records to `{name}.wav` in the gateway's folder.
pub(crate) async fn caller(gateway: &Gateway, room: &str, name: &str, says: &str) -> Peer {
    let url = gateway.whip(room, name);
    let (fixture, recording) = (fixture(says), recording_of(gateway, name));
    called(&[OsStr::new(&url), fixture.as_os_str(), recording.as_os_str()]).await
}

/// The same, who knows this codec and no other.
pub(crate) async fn telephone(gateway: &Gateway, room: &str, says: &str, codec: &str) -> Peer {
    let url = gateway.whip(room, codec);
    let (fixture, recording) = (fixture(says), recording_of(gateway, codec));
    let args = [OsStr::new(&url), fixture.as_os_str(), recording.as_os_str(), OsStr::new(codec)];
    called(&args).await
}

async fn called(args: &[&OsStr]) -> Peer {
    let mut peer = Peer::python("aiortc_caller.py", args);
    peer.until("connected", |told| told["connection"] == "connected").await;
    peer
}

/// Where a caller's recording goes.
pub(crate) fn recording_of(gateway: &Gateway, name: &str) -> PathBuf {
    gateway.folder().join(format!("{name}.wav"))
}

/// A recording of this project.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio");
    folder.join(format!("{name}-16000hz-16bit-mono.wav"))
}

/// Where setup has put what it brought.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from)
}

/// A path that must be there.
fn needed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make test-deps`", path.display());
    path
}

/// A browser of the Chromium family.
pub(crate) fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut places = names.iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    places.find(|place| place.is_file()).expect("there is no Chromium: run `make test-deps`")
}
