//! `callbridge demo` as a newcomer runs it: the whole call, what it prints, and what it leaves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use client::{PATIENCE, Server};
use recognised::{recognised, words};

#[path = "local_model/client.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod client;

#[path = "local_model/recognised.rs"]
mod recognised;

#[tokio::test]
async fn the_demo_is_a_whole_call_and_its_recording_has_the_agents_words() {
    let folder = tempfile::tempdir().unwrap();
    let told = timeline(&demo(folder.path(), &[]).await);
    assert_in_order(
        &told,
        &[
            "room_joined",
            "participant_joined",
            "vad_start",
            "thinking",
            "transcript",
            "speak",
            "finished",
            "room_left",
            "recording",
            "AGENT_DELETED",
            "Latency",
        ],
    );
    // The caller's ears and the client's socket are two roads.
    assert_in_order(&told, &["speech end", "first audio", "finished"]);
    assert_eq!(words(&text_of(&told, "transcript")), ["hello", "what", "time", "is", "it"]);
    let said = words(&text_of(&told, "speak"));
    let heard = words(&recognised(&folder.path().join("answer.wav")).await);
    let known = said.iter().filter(|word| heard.contains(word)).count();
    assert!(known * 4 >= said.len() * 3, "said {said:?}, and heard again {heard:?}");
}

#[tokio::test]
async fn any_realtime_server_may_answer_the_demo() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let told = timeline(&demo(folder.path(), &[("CALLBRIDGE_OPENAI_URL", &url)]).await);
    assert_in_order(&told, &["room_joined", "transcript", "first audio", "finished"]);
}

#[tokio::test]
async fn another_question_may_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let wav = fixture("repeat-after-me-16000hz-16bit-mono.wav");
    let out = folder.path().join("answer.wav");
    let asked = callbridge(&["demo", "--json", "--wav", &wav, "--out", out.to_str().unwrap()], &[]);
    let output = finished(asked).await;
    let told = timeline(&output);
    let said = words(&text_of(&told, "speak"));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("joined the room"), "the log is at INFO: {log}");
    for word in ["quick", "brown", "fox", "dog"] {
        assert!(said.contains(&word.to_owned()), "{said:?}");
        assert!(!log.contains(word), "the log tells what was said: {log}");
    }
    assert!(!log.contains("ak_"), "the log tells a key: {log}");
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let not_wav = folder.path().join("not.wav");
    std::fs::write(&not_wav, "hello").unwrap();
    let not_wav = not_wav.to_str().unwrap();
    for (arguments, code, reason) in [
        (vec!["demo", "--wav", not_wav], 1, "not.wav is no WAV"),
        (vec!["demo", "--wav", "/nowhere.wav"], 1, "/nowhere.wav cannot be opened"),
        (vec!["demo", "--local-dir", folder.path().to_str().unwrap()], 1, "make deps"),
        (vec!["serve", "--local-dir", "/nowhere"], 1, "run `make deps`"),
        (vec!["serve", "--listen", "everywhere"], 64, "everywhere"),
        (vec!["sing"], 64, "sing"),
    ] {
        let ended = finished_anyhow(callbridge(&arguments, &[])).await;
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.contains(reason), "{arguments:?}: {complaint}");
    }
}

#[tokio::test]
async fn a_call_to_nobody_fails_with_its_reason() {
    let wav = fixture("what-time-is-it-16000hz-16bit-mono.wav");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rooms/a/whip", listener.local_addr().unwrap());
    drop(listener);
    let ended = finished_anyhow(callbridge(&["call", &url, "--wav", &wav], &[])).await;
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("cannot call"), "{complaint}");
}

async fn demo(folder: &Path, environment: &[(&str, &str)]) -> Output {
    let out = folder.join("answer.wav");
    let arguments = ["demo", "--json", "--out", out.to_str().unwrap()];
    finished(callbridge(&arguments, environment)).await
}

fn callbridge(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbridge"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["OPENAI_API_KEY", "CALLBRIDGE_OPENAI_URL", "CALLBRIDGE_MODEL"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command
}

/// Runs a program that must succeed.
async fn finished(command: Command) -> Output {
    let output = finished_anyhow(command).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    output
}

async fn finished_anyhow(mut command: Command) -> Output {
    let ended = tokio::time::timeout(PATIENCE * 2, command.output()).await;
    ended.expect("the program ends in time").unwrap()
}

/// The lines of a demo's JSON timeline.
fn timeline(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a line is known by: its name, or what it says of a status.
fn marks(line: &Value) -> [&str; 4] {
    [&line["name"], &line["event"]["status"], &line["event"]["code"], &line["title"]]
        .map(|mark| mark.as_str().unwrap_or_default())
}

fn assert_in_order(told: &[Value], wanted: &[&str]) {
    let mut rest = told.iter();
    for mark in wanted {
        assert!(rest.any(|line| marks(line).contains(mark)), "no {mark} in its place: {told:#?}");
    }
}

/// The last text of the events of this kind.
fn text_of(told: &[Value], kind: &str) -> String {
    let last = told.iter().rfind(|line| line["name"] == kind);
    last.unwrap()["event"]["text"].as_str().unwrap().to_owned()
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(name);
    path.to_str().unwrap().to_owned()
}
