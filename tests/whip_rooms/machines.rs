//! Two gateways, each on a machine of its own: an agent of one in a room of the other.

use std::process::Stdio;
use std::time::Duration;

use callbridge::sys::clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::gateway::{Gateway, KEY, PATIENCE};
use super::lan::{self, NEXT_DOOR, Neighbour};
use super::raw::Raw;

#[test]
fn an_agent_answers_a_caller_in_a_room_of_another_gateway() {
    lan::run(LIMIT, async {
        let mut scene = Scene::begin().await;
        scene.asks_and_is_answered().await;
        scene.ada.leave().await;
    });
}

#[test]
fn after_a_crash_of_the_other_gateway_the_agent_comes_back() {
    lan::run(LIMIT, async {
        let mut scene = Scene::begin().await;
        scene.asks_and_is_answered().await;

        let port = scene.far.kill().await;
        scene.far = Far::start(&scene.neighbour, port).await;
        scene.far.is_entered("desk").await;
        scene.asks_and_is_answered().await;
        scene.ada.was_never_out();
        scene.ada.leave().await;
    });
}

#[test]
fn a_gateway_that_does_not_come_back_ends_the_call_with_the_reason() {
    lan::run(LIMIT, async {
        let mut scene = Scene::begin().await;
        scene.far.kill().await;
        let killed = clock::now();
        let left = scene.ada.told("room_left").await;
        let reason = left["reason"].as_str().unwrap();
        assert!(reason.contains("it fell silent, and within 20 s there was no way back"), "{left}");
        // Three seconds until it shows, then twenty, and some for the last attempt.
        assert!(killed.elapsed() < Duration::from_secs(32), "{:?}", killed.elapsed());
    });
}

#[test]
fn a_cable_that_is_out_for_a_while_ends_nothing() {
    lan::run(LIMIT, async {
        let mut scene = Scene::begin().await;
        // Short, at the edge of what a leg survives, and beyond it: then it comes in again.
        for seconds in [2, 4, 7] {
            scene.neighbour.plug(false);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            scene.neighbour.plug(true);
            scene.far.is_entered("desk").await;
            scene.asks_and_is_answered().await;
        }
        scene.ada.was_never_out();
        scene.ada.leave().await;
    });
}

#[test]
fn a_machine_that_moves_to_another_network_keeps_its_place() {
    lan::run(LIMIT, async {
        let mut scene = Scene::begin().await;
        let before = scene.far.is_entered("desk").await;
        lan::readdress();
        // Longer than the room waits for one that has fallen silent.
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(scene.far.is_entered("desk").await, before, "it has not come in anew");
        scene.asks_and_is_answered().await;
        scene.ada.leave().await;
    });
}

#[test]
fn another_gateway_refuses_with_its_reasons() {
    lan::run(LIMIT, async {
        let neighbour = Neighbour::new();
        let far = Far::start_with(&neighbour, 0, "--rooms-open=false").await;
        let near = Gateway::start_patient().await;
        let room = far.make_room("office").await;
        let nobody = format!("http://{NEXT_DOOR}:9/rooms/desk/whip");
        for (url, token, code) in [
            (far.whip("office"), "rt_wrong", "ROOM_UNAUTHORIZED"),
            (far.whip("nowhere"), "rt_wrong", "ROOM_NOT_FOUND"),
            (nobody, "", "ROOM_UNREACHABLE"),
        ] {
            let mut ada = Ada::create(&near).await;
            ada.wish(&url, token).await;
            assert_eq!(ada.told("error").await["code"], code);
        }
        let mut ada = Ada::create(&near).await;
        ada.wish(&far.whip("office"), room["token"].as_str().unwrap()).await;
        ada.told("room_joined").await;
    });
}

/// An agent of the gateway here in a room of the gateway next door.
struct Scene {
    ada: Ada,
    _near: Gateway,
    far: Far,
    neighbour: Neighbour,
}

impl Scene {
    async fn begin() -> Self {
        let neighbour = Neighbour::new();
        let far = Far::start(&neighbour, 0).await;
        let near = Gateway::start_patient().await;
        let ada = Ada::join(&near, &far.whip("desk")).await;
        Self { ada, _near: near, far, neighbour }
    }

    /// Somebody calls the room, asks, and the agent answers.
    async fn asks_and_is_answered(&mut self) {
        ask(&self.far.whip("desk")).await;
        let answer = self.ada.client.spoken().await;
        assert!(answer.to_lowercase().contains("quick brown fox"), "{answer}");
    }
}

/// The gateway next door.
struct Far {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Far {
    async fn start(neighbour: &Neighbour, port: u16) -> Self {
        Self::start_with(neighbour, port, "--rooms-open").await
    }

    async fn start_with(neighbour: &Neighbour, port: u16, rooms: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = neighbour.command(env!("CARGO_BIN_EXE_callbridge"));
        command.args(["serve", rooms]).current_dir(folder.path());
        let mut child = Command::from(command)
            .env_remove("OPENAI_API_KEY")
            .env("CALLBRIDGE_LISTEN", format!("{NEXT_DOOR}:{port}"))
            .env("CALLBRIDGE_MEDIA_LISTEN", format!("{NEXT_DOOR}:0"))
            .env("CALLBRIDGE_DATABASE", "sqlite::memory:")
            .env("CALLBRIDGE_BOOTSTRAP_KEY", KEY)
            .env("CALLBRIDGE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it starts").unwrap();
        let url = line.as_deref().and_then(|line| line.strip_prefix("callbridge listens on "));
        let url = url.expect("an address").to_owned();
        Self { child, url, _folder: folder, _lines: lines }
    }

    /// Ends it as `kill -9` does; the port it had.
    async fn kill(&mut self) -> u16 {
        self.child.kill().await.unwrap();
        reqwest::Url::parse(&self.url).unwrap().port().unwrap()
    }

    fn whip(&self, room: &str) -> String {
        format!("{}/rooms/{room}/whip", self.url)
    }

    async fn make_room(&self, name: &str) -> Value {
        let request =
            reqwest::Client::new().request(Method::POST, format!("{}/api/rooms", self.url));
        let body = json!({ "name": name });
        let made = request.header("X-API-Key", KEY).json(&body).send().await.unwrap();
        made.json().await.unwrap()
    }

    /// Waits until Ada is in a room; her id there.
    async fn is_entered(&self, room: &str) -> String {
        let entered = async {
            let events = format!("{}/rooms/{room}/events", self.url);
            let mut events = reqwest::get(events).await.unwrap();
            let mut told = String::new();
            loop {
                let chunk = events.chunk().await.unwrap().expect("the stream goes on");
                told.push_str(std::str::from_utf8(&chunk).unwrap());
                if let Some(id) = told.lines().rev().find_map(id_of_ada) {
                    return id;
                }
            }
        };
        timeout(PATIENCE, entered).await.expect("the agent comes in")
    }
}

fn id_of_ada(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
    let mut present = event["participants"].as_array()?.iter();
    Some(present.find(|one| one["name"] == "Ada")?["id"].to_string())
}

/// An agent of the gateway here, and its client.
struct Ada {
    client: Raw,
}

impl Ada {
    async fn create(near: &Gateway) -> Self {
        let id = near.create_agent().await;
        Self { client: Raw::connect(near.url(), KEY, &id).await }
    }

    async fn join(near: &Gateway, url: &str) -> Self {
        let mut ada = Self::create(near).await;
        ada.wish(url, "").await;
        ada.client.event("room_joined").await;
        ada
    }

    async fn wish(&mut self, url: &str, token: &str) {
        let mut wish = json!({ "type": "join-room", "roomUrl": url, "participantName": "Ada" });
        if !token.is_empty() {
            wish["token"] = json!(token);
        }
        self.client.say(wish).await;
    }

    /// The next event of this kind, on whichever channel; errors may come before.
    async fn told(&mut self, kind: &str) -> Value {
        loop {
            let (_, event) = self.client.next().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    fn was_never_out(&self) {
        let seen = &self.client.seen;
        assert!(!seen.iter().any(|kind| kind == "room_left"), "{seen:?}");
    }

    async fn leave(&mut self) {
        self.client.say(json!({ "type": "leave-room" })).await;
        self.client.event("room_left").await;
    }
}

/// Calls a room, asks something, and listens to the answer.
async fn ask(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let question = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/audio/repeat-after-me-16000hz-16bit-mono.wav"
    );
    let called = Command::new(env!("CARGO_BIN_EXE_callbridge"))
        .args(["call", url, "--wav", question, "--out", "heard.wav"])
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output();
    let called = timeout(PATIENCE, called).await.expect("the call ends").unwrap();
    let printed = String::from_utf8_lossy(&called.stdout);
    let complaint = String::from_utf8_lossy(&called.stderr);
    assert!(called.status.success(), "{printed}{complaint}");
}

/// How long one of these tests may take.
const LIMIT: Duration = Duration::from_secs(180);
