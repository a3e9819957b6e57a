//! `kill -9` in the middle of a recording: what was recorded is there, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::RANGE;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::crash::caller;
use super::gateway::{Gateway, KEY, PATIENCE};
use super::{agent, connect, create, id, join};

#[tokio::test]
async fn what_was_recorded_before_a_kill_can_be_heard_and_erased() {
    for (format, kind) in [("ogg", "audio/ogg"), ("wav", "audio/wav")] {
        let mut gateway = Gateway::start_with(&[FOLDER]).await;
        let (call, _caller) = recorded_for(&gateway, format).await;
        let before = files(&gateway);
        assert!(
            before.iter().all(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "part")),
            "{before:?}"
        );
        gateway.kill_and_restart().await;

        let path = format!("/api/calls/{call}");
        let (status, kept) = gateway.ask(Method::GET, &path, None).await;
        assert_eq!((status, &kept["recorded"]), (StatusCode::OK, &json!(true)), "{kept}");
        assert_eq!(kept["reason"], "server crashed");
        let sound = gateway.request(Method::GET, &format!("{path}/recording"), None).await;
        assert_eq!(
            (sound.status(), &sound.headers()["content-type"]),
            (StatusCode::OK, &kind.parse().unwrap())
        );
        let sound = sound.bytes().await.unwrap();
        let [people, agent] = decoded(&gateway, format, &sound).await;
        assert!(is_loud(&people) && is_loud(&agent), "both voices are heard");
        let part = Client::new().get(format!("{}{path}/recording", gateway.url()));
        let part = part.header("X-API-Key", KEY).header(RANGE, "bytes=4-9").send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.bytes().await.unwrap(), sound[4..10]);
        let events = gateway.request(Method::GET, &format!("{path}/recording/events"), None).await;
        let events = events.text().await.unwrap();
        let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        assert_eq!(last["type"], "recording_interrupted", "{events}");

        // A second start finds nothing to mend, and one erasure takes all.
        gateway.kill_and_restart().await;
        let again = gateway.request(Method::GET, &format!("{path}/recording"), None).await;
        assert_eq!(again.bytes().await.unwrap(), sound);
        let (status, _) = gateway.ask(Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        assert_eq!(files(&gateway), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_left_of_a_kill_is_over_its_time_like_the_rest() {
    let mut gateway = Gateway::start_with(&[FOLDER]).await;
    let (call, _caller) = recorded_for(&gateway, "ogg").await;
    gateway.kill_and_restart().await;
    // What a disk that was full, or a kill while erasing, may leave behind.
    let folder = gateway.folder().join(format!("{}/usr_bootstrap", FOLDER.1));
    for name in ["call_lost.jsonl", "call_begun.jsonl.part", "call_begun.ogg.part"] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    gateway.kill().await;
    for name in folder.read_dir().unwrap() {
        let file = std::fs::File::options().write(true).open(name.unwrap().path()).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - Duration::from_hours(31 * 24)).unwrap();
    }
    gateway.restart().await;
    let swept = async {
        while !files(&gateway).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap_or_else(|_| panic!("{:?} are left", files(&gateway)));
    let (status, kept) = gateway.ask(Method::GET, &format!("/api/calls/{call}"), None).await;
    assert_eq!((status, &kept["recorded"]), (StatusCode::OK, &json!(false)), "the call is kept");
}

/// A call that is being recorded, in which both have spoken; its id, and its caller, who stays
/// until this is dropped.
async fn recorded_for(gateway: &Gateway, format: &str) -> (String, Child) {
    let mut spec = agent();
    spec["metadata"]["voice"]["recording"] =
        json!({"enabled": true, "format": format, "consent": "announced"});
    let agent = create(gateway, spec).await;
    let mut client = connect(gateway, id(&agent)).await;
    client.tell(join("hall")).await;
    let call = client.event("room_joined").await["callId"].as_str().unwrap().to_owned();
    let caller = caller(gateway, "hall");
    client.event_where("transcript", |event| event["isFinal"] == true).await;
    client.event_where("speak-status", |event| event["status"] != "started").await;
    written_on(gateway, &format!("{call}.{format}.part")).await;
    (call, caller)
}

/// Waits until three more seconds of sound have gone into a file: whatever was said before is in
/// it by then, which is the promise.
async fn written_on(gateway: &Gateway, name: &str) {
    let file = gateway.folder().join(FOLDER.1).join("usr_bootstrap").join(name);
    // Pages of a second; a WAV is written in two pieces a second.
    let pieces = if name.contains(".ogg") { 4 } else { 8 };
    let writing = async {
        for _ in 0..pieces {
            let length = file.metadata().unwrap().len();
            while file.metadata().unwrap().len() == length {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    timeout(PATIENCE, writing).await.expect("it is being written");
}

/// The names of all files of the gateway's one owner, in order.
fn files(gateway: &Gateway) -> Vec<String> {
    let Ok(folder) = gateway.folder().join(FOLDER.1).join("usr_bootstrap").read_dir() else {
        return Vec::new();
    };
    let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Both channels of a sound, at 24 kHz, as another maker's library (FFmpeg's) reads it.
async fn decoded(gateway: &Gateway, format: &str, sound: &[u8]) -> [Vec<i16>; 2] {
    let file = gateway.folder().join(format!("heard.{format}"));
    std::fs::write(&file, sound).unwrap();
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/callbridge");
    let cache = std::env::var_os("CALLBRIDGE_CACHE").map_or_else(home, PathBuf::from);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/endurance/decode.py");
    let python = Command::new(cache.join("venv/bin/python")).arg(script).arg(&file).output();
    let told = python.await.expect("the Python of `make test-deps`");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let samples = told.stdout.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
    let samples: Vec<i16> = samples.collect();
    [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
}

fn is_loud(channel: &[i16]) -> bool {
    channel.iter().filter(|sample| sample.unsigned_abs() > 1_000).count() > 2_400
}

const FOLDER: (&str, &str) = ("CALLBRIDGE_RECORDINGS_DIRECTORY", "recordings");
