//! The official Python client talks to the local model, and knows every event it gets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test fails the test")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use callbridge::models::local::{LocalModel, LocalModelConfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

#[tokio::test]
async fn the_official_client_has_a_conversation() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1", listener.local_addr().unwrap());
    let dir = cache().join("models/moonshine-tiny-en-0.0.73");
    let config = LocalModelConfig { dir, ..LocalModelConfig::default() };
    let _serving = LocalModel::load(config).unwrap().serve(listener);

    let outcome = run_client(&url).await;

    assert_eq!(outcome["heard"], "Repeat after me, the quick brown fox jumps over the lazy dog.");
    assert_eq!(outcome["said"], "The quick brown fox jumps over the lazy dog.");
    assert!((2.0..6.0).contains(&outcome["seconds"].as_f64().unwrap()), "{outcome}");
    assert_eq!(outcome["arguments"]["city"], "Paris");
    assert_eq!(outcome["told"], "Rain.");
    assert_eq!(outcome["written"], "That is four.");
    let sent = serde_json::json!(["send_message", {"message": "The topic is cats."}]);
    assert_eq!(outcome["sent"], sent);
    assert!(outcome["classes"].as_array().unwrap().len() > 20, "{outcome}");
}

async fn run_client(url: &str) -> Value {
    let python = cache().join("venv/bin/python");
    assert!(python.is_file(), "{} is missing: run make deps", python.display());
    let client = Command::new(python)
        .args(["tests/interop/openai_client.py", url, "fixtures/audio"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let client = tokio::time::timeout(PATIENCE, client).await.expect("it ends").unwrap();
    let complaint = String::from_utf8_lossy(&client.stderr);
    assert!(client.status.success(), "{}: {complaint}", client.status);
    serde_json::from_slice(&client.stdout).unwrap()
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from)
}

const PATIENCE: Duration = Duration::from_mins(2);
