//! Recordings in an object storage: brought there, served from there, erased there, and waiting
//! here while it is away.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    reason = "a test's helpers may fail the test"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod server;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use callbridge::privacy::Secret;
use callbridge::rooms::whip;
use callbridge::runtime::{RecordingBucket, RecordingPolicy};
use harness::mind::Mind;
use harness::raw::Raw;
use harness::{House, KEY};
use serde_json::json;
use server::{PATIENCE, Storage, files_below};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt as _;

#[tokio::test]
async fn what_has_ended_is_brought_to_the_bucket_and_served_and_erased_there() {
    let (storage, mut place) = (Storage::open().await, Place::new().await);
    for (format, kind, magic) in [("ogg", "audio/ogg", b"OggS"), ("wav", "audio/wav", b"RIFF")] {
        let mut house = place.house(Some(storage.bucket())).await;
        let id = place.call(&mut house, format).await;
        until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 1).await;
        assert_eq!(files_below(place.folder.path()), [] as [&Path; 0], "nothing is left here");
        let there = storage.objects();
        let names = [format!("{id}.jsonl"), format!("{id}.{format}")];
        let mut wanted = names.map(|name| format!("from/here/{OWNER}/{name}"));
        wanted.sort();
        assert_eq!(there, wanted);

        let (status, headers, whole) = fetch(&house, &id, None).await;
        assert_eq!((status, headers["content-type"].to_str().ok()), (StatusCode::OK, Some(kind)));
        assert_eq!(
            (&whole[..4], headers["content-length"].to_str().ok()),
            (&magic[..], Some(&*whole.len().to_string()))
        );
        for (range, part) in [
            ("bytes=4-99", &whole[4..100]),
            ("bytes=-7", &whole[whole.len() - 7..]),
            ("bytes=0-", &whole[..]),
        ] {
            let (status, headers, bytes) = fetch(&house, &id, Some(range)).await;
            assert_eq!((status, &bytes[..]), (StatusCode::PARTIAL_CONTENT, part), "{range}");
            assert!(headers["content-range"].to_str().is_ok_and(|it| it.starts_with("bytes ")));
        }
        let (status, ..) = fetch(&house, &id, Some("bytes=99999999-")).await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
        let call = format!("/api/calls/{id}");
        let events = house.ask(Method::GET, &format!("{call}/recording/events"), None).await;
        let last = events.text.lines().last().expect("an end");
        assert!(last.contains("\"type\":\"recording_ended\""), "{last}");
        let kept = house.ask(Method::GET, &call, None).await.json();
        assert_eq!(kept["recorded"], true);

        let erased = house.ask(Method::DELETE, &call, None).await;
        assert_eq!(erased.status, StatusCode::NO_CONTENT, "{}", erased.text);
        assert_eq!(storage.objects(), [""; 0]);
        let gone = house.ask(Method::GET, &format!("{call}/recording"), None).await;
        assert_eq!(gone.refusal(), (404, "NOT_FOUND".into()));
    }
}

#[tokio::test]
async fn what_is_kept_here_as_well_is_brought_once_and_erased_in_both_places() {
    let (storage, mut place) = (Storage::open().await, Place::new().await);
    let bucket = RecordingBucket { keep_local: true, ..storage.bucket() };
    let mut house = place.house(Some(bucket.clone())).await;
    let first = place.call(&mut house, "ogg").await;
    until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 1).await;
    assert_eq!((files_below(place.folder.path()).len(), storage.objects().len()), (3, 2));
    drop(house);
    let mut house = place.house(Some(bucket)).await;
    let second = place.call(&mut house, "ogg").await;
    until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 1).await;
    assert_eq!(storage.objects().len(), 4);
    for id in [first, second] {
        assert_eq!(fetch(&house, &id, None).await.0, StatusCode::OK);
        let path = format!("/api/calls/{id}/recording");
        let erased = house.ask(Method::DELETE, &path, None).await;
        assert_eq!(erased.status, StatusCode::NO_CONTENT, "{}", erased.text);
    }
    assert_eq!(storage.objects(), [""; 0]);
    assert_eq!(files_below(place.folder.path()), [] as [&Path; 0]);
}

#[tokio::test]
async fn while_the_storage_is_away_recordings_wait_here_and_can_be_heard() {
    let (mut storage, mut place) = (Storage::open().await, Place::new().await);
    storage.kill().await;
    let mut house = place.house(Some(storage.bucket())).await;
    let id = place.call(&mut house, "wav").await;
    until(&house, r#"recording_uploads_total{outcome="failed"}"#, 1).await;
    let (status, _, here) = fetch(&house, &id, None).await;
    assert_eq!(status, StatusCode::OK);
    // Another call of which there is nothing here: nobody can say that there is nothing at all.
    let unknown = house.ask(Method::GET, "/api/calls/call_1/recording", None).await;
    assert_eq!(unknown.refusal(), (500, "INTERNAL_ERROR".into()));

    storage.restart().await;
    until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 1).await;
    assert_eq!(files_below(place.folder.path()), [] as [&Path; 0]);
    let (status, _, there) = fetch(&house, &id, None).await;
    assert_eq!((status, there == here), (StatusCode::OK, true));
}

#[tokio::test]
async fn a_wrong_key_is_told_once_and_the_next_start_takes_up_what_waits() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Log(Arc::clone(&log)));
    let subscriber = subscriber.with_max_level(tracing::Level::TRACE).finish();
    let told = tracing::subscriber::set_default(subscriber);
    let (storage, mut place) = (Storage::open().await, Place::new().await);
    let wrong = Secret::new("a-key-that-opens-nothing");
    let bucket = RecordingBucket { secret_key: wrong, ..storage.bucket() };
    let mut house = place.house(Some(bucket)).await;
    let ids = [place.call(&mut house, "ogg").await, place.call(&mut house, "wav").await];
    until(&house, r#"recording_uploads_total{outcome="failed"}"#, 3).await;
    drop((house, told));
    let log = String::from_utf8(log.lock().expect("nobody panicked").clone()).expect("text");
    let errors: Vec<&str> =
        log.lines().filter(|line| line.contains(" ERROR ") && line.contains("carrier")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("403 SignatureDoesNotMatch"), "{}", errors[0]);
    assert!(!log.contains("a-key-that-opens-nothing") && !log.contains("X-Amz-Signature"));
    assert_eq!((files_below(place.folder.path()).len(), storage.objects().len()), (4, 0));

    let house = place.house(Some(storage.bucket())).await;
    until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 2).await;
    for id in ids {
        assert_eq!(fetch(&house, &id, None).await.0, StatusCode::OK);
    }
    assert_eq!(files_below(place.folder.path()), [] as [&Path; 0]);
}

#[tokio::test]
async fn what_is_over_its_time_is_erased_there_and_what_is_no_recording_stays() {
    let (storage, mut place) = (Storage::open().await, Place::new().await);
    let mut house = place.house(Some(storage.bucket())).await;
    place.call(&mut house, "ogg").await;
    until(&house, r#"recording_uploads_total{outcome="uploaded"}"#, 1).await;
    drop(house);
    let foreign = format!("from/here/{OWNER}/notes.txt");
    storage.put_foreign(&foreign);
    storage.put_foreign("elsewhere/usr_1/call_1.ogg");
    place.kept = Duration::ZERO;
    let _house = place.house(Some(storage.bucket())).await;
    let left = async {
        while storage.objects().len() > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, left).await.expect("it is erased");
    assert_eq!(storage.objects(), ["elsewhere/usr_1/call_1.ogg".to_owned(), foreign]);
}

/// Where gateways record, one after another, and the mind of their agents.
struct Place {
    folder: TempDir,
    mind: Mind,
    kept: Duration,
}

impl Place {
    async fn new() -> Self {
        let (folder, mind) = (tempfile::tempdir().expect("a folder"), Mind::open().await);
        Self { folder, mind, kept: Duration::from_hours(24) }
    }

    async fn house(&self, bucket: Option<RecordingBucket>) -> House {
        let directory = self.folder.path().to_owned();
        let longest = Duration::from_hours(1);
        let policy = RecordingPolicy { directory, kept: self.kept, longest, bucket };
        House::recording(&self.mind.url(), policy).await
    }

    /// A short call that is recorded; its id.
    async fn call(&mut self, house: &mut House, format: &str) -> String {
        let address = house.serve().await;
        let recording = json!({"enabled": true, "format": format, "consent": "announced"});
        let metadata = json!({"voice": {"enabled": true, "recording": recording}});
        let spec = json!({"name": "Ada", "agentType": "HUMA-0.1", "metadata": metadata});
        let agent = house.agent(spec).await;
        let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
        client.say(json!({"type": "join-room", "roomUrl": format!("rooms/{agent}")})).await;
        client.event("room_joined").await;
        let url = format!("http://{address}/rooms/{agent}/whip");
        let call = whip::dial(&url, None).await.expect("a call");
        client.event("participant_joined").await;
        let _session = self.mind.session().await;
        client.say(json!({"type": "leave-room"})).await;
        let id = client.event("room_left").await["callId"].as_str().expect("an id").to_owned();
        drop(call);
        id
    }
}

/// Waits until a counter has come so far.
async fn until(house: &House, counter: &str, least: u64) {
    let counted = async {
        loop {
            let page = house.bare(Method::GET, "/metrics").await.text;
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("callbridge_")?.strip_prefix(counter));
            if line.and_then(|value| value.trim().parse().ok()) >= Some(least) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap_or_else(|_| panic!("{counter} does not reach {least}"));
}

async fn fetch(house: &House, id: &str, range: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = Request::get(format!("/api/calls/{id}/recording")).header("x-api-key", KEY);
    let request = range.into_iter().fold(request, |request, range| request.header("range", range));
    let request = request.body(Body::empty()).expect("a request");
    let response = house.router.clone().oneshot(request).await.expect("it never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 26).await.expect("a body");
    (parts.status, parts.headers, bytes.to_vec())
}

/// Where the log of a test goes.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const OWNER: &str = "usr_bootstrap";
