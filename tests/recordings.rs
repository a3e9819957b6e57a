//! Recordings of whole calls: both sides on one clock, what happened beside them, and who may have
//! them.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use callbridge::media::{Decoder, OpusPacket, Track};
use callbridge::rooms::whip::{self, Call};
use callbridge::runtime::RecordingPolicy;
use callbridge::sys::clock;
use harness::mind::{Answer, Mind};
use harness::raw::Raw;
use harness::talk::Talk;
use harness::{ADMIN, House, KEY};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_of_a_call_lie_where_the_caller_has_said_and_heard_them() {
    let (_folder, mind, mut house) = house().await;
    let address = house.serve().await;
    let talk = Talk::of("what-time-is-it-16000hz-16bit-mono.wav");
    let agent = house.agent(recorded("wav")).await;
    let (mut client, mut call) = begin(&agent, address).await;
    let mut session = mind.session().await;
    let answer = Answer { name: "a".into(), ms: 10_000, text: "And so on, and so on.".into() };
    session.begin(&answer).await;
    session.end(&answer, "completed").await;
    call.packets.recv().await.expect("the agent speaks");
    let heard = converse(&mut call, &talk).await;
    session.expect("conversation.item.truncate").await;
    let interrupted = client.event_where("speak-status", is_interrupted).await;
    let id = hang_up(&mut client).await;

    let (status, headers, file) = fetch(&house, &format!("{id}/recording"), None).await;
    assert_eq!(
        (status, headers["content-type"].to_str().ok()),
        (StatusCode::OK, Some("audio/wav"))
    );
    let [left, right] = channels(&file);
    let said = decoded(&talk.packets);
    let place = where_it_lies(&said[..24_000 * 2], &left);
    assert!(likeness(&said, &left[place..]) > 0.99, "every packet of the caller's");
    // Where the tone breaks off is sharp on both sides. The caller counts ticks and the recording
    // goes by the clock: on a busy machine ticks come late, and then the two differ by that.
    let (end_here, end_there) = (end_of_sound(&right), end_of_sound(&heard));
    let apart = (end_here.cast_signed() - place.cast_signed()) - end_there.cast_signed();
    assert!(apart.abs() <= 24 * 500, "{apart} samples apart");

    let lines = events(&house, &id).await;
    let cut = lines.iter().find(|line| line["status"] == "interrupted").expect("the cut");
    assert_eq!((&cut["heardMs"], &cut["text"]), (&interrupted["heardMs"], &interrupted["text"]));
    let begins = right.iter().position(|sample| sample.unsigned_abs() > 1_000).expect("a tone");
    let heard_samples = samples_of(&interrupted["heardMs"]);
    assert!(end_here.abs_diff(begins + heard_samples) <= 480, "what was heard and no more");
    let onset = lines.iter().find(|line| line["type"] == "vad_start").expect("speech");
    let onset = samples_of(&onset["atMs"]);
    assert!(onset.abs_diff(place + talk.onset * 480) <= 24 * 200, "events have the same clock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_its_owners_in_parts_or_whole_until_it_is_erased() {
    let (folder, mind, mut house) = house().await;
    let address = house.serve().await;
    for (format, kind, magic) in [("ogg", "audio/ogg", b"OggS"), ("wav", "audio/wav", b"RIFF")] {
        let agent = house.agent(recorded(format)).await;
        let (mut client, call) = begin(&agent, address).await;
        let _session = mind.session().await;
        let id = hang_up(&mut client).await;
        drop(call);
        let path = format!("/api/calls/{id}/recording");
        let (_, _, whole) = fetch(&house, &format!("{id}/recording"), None).await;
        let (status, headers, part) =
            fetch(&house, &format!("{id}/recording"), Some("bytes=0-3")).await;
        assert_eq!((status, &part[..]), (StatusCode::PARTIAL_CONTENT, &magic[..]));
        let range = format!("bytes 0-3/{}", whole.len());
        assert_eq!(headers["content-range"].to_str().ok(), Some(&*range));
        assert_eq!(headers["content-type"].to_str().ok(), Some(kind));
        let far = Request::get(&path).header("x-api-key", KEY).header("range", "bytes=99999999-");
        let far = house.send(far.body(Body::empty()).expect("a request")).await;
        assert_eq!(far.refusal(), (416, "RANGE_NOT_SATISFIABLE".into()));

        let stranger = stranger(&house, format).await;
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::GET, format!("{path}/events")),
            (Method::DELETE, path.clone()),
        ] {
            let request =
                Request::builder().method(method).uri(path).header("x-api-key", &stranger);
            let answer = house.send(request.body(Body::empty()).expect("a request")).await;
            assert_eq!(answer.refusal(), (404, "NOT_FOUND".into()));
        }

        let call = house.ask(Method::GET, &format!("/api/calls/{id}"), None).await.json();
        assert_eq!(call["recorded"], true);

        // One is erased by itself, and one with its call.
        let erased = if format == "ogg" { path.clone() } else { format!("/api/calls/{id}") };
        let answer = house.ask(Method::DELETE, &erased, None).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
        for path in [path.clone(), format!("{path}/events")] {
            let answer = house.ask(Method::GET, &path, None).await;
            assert_eq!(answer.refusal(), (404, "NOT_FOUND".into()));
        }
        let call = house.ask(Method::GET, &format!("/api/calls/{id}"), None).await;
        assert_eq!(call.status.is_success(), format == "ogg");
        assert!(!call.status.is_success() || call.json()["recorded"] == false);
    }
    let owners =
        folder.path().read_dir().expect("a folder").map(|owner| owner.expect("one").path());
    let left: usize = owners.map(|owner| owner.read_dir().expect("a folder").count()).sum();
    assert_eq!(left, 0, "no file is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_handed_over_has_one_recording() {
    let (_folder, mind, mut house) = house().await;
    let address = house.serve().await;
    let first = house.agent(recorded("ogg")).await;
    let (mut client, call) = begin(&first, address).await;
    let _session = mind.session().await;
    let wish = json!({"to": recorded("wav"), "reason": "billing"});
    let path = format!("/api/agents/{first}/handoff");
    let handed = house.ask(Method::POST, &path, Some(wish)).await;
    assert_eq!(handed.status, StatusCode::ACCEPTED, "{}", handed.text);
    let second = handed.json()["to"].as_str().expect("an id").to_owned();
    client.ends().await;
    let mut client = Raw::connect(&format!("http://{address}"), KEY, &second).await;
    let id = hang_up(&mut client).await;
    drop(call);
    let (status, headers, _) = fetch(&house, &format!("{id}/recording"), None).await;
    assert_eq!(
        (status, headers["content-type"].to_str().ok()),
        (StatusCode::OK, Some("audio/ogg"))
    );
    let lines = events(&house, &id).await;
    let told = lines.iter().find(|line| line["type"] == "handoff").expect("it is told");
    assert_eq!(told["toAgentId"], second);
    assert_eq!(lines.last().expect("an end")["type"], "recording_ended");
}

#[tokio::test]
async fn who_asks_for_recordings_where_there_are_none_is_refused() {
    let house = House::open().await;
    let answer = house.ask(Method::POST, "/api/agents", Some(recorded("ogg"))).await;
    assert_eq!(answer.refusal(), (400, "VALIDATION_ERROR".into()));
    let details = &answer.json()["details"];
    assert_eq!(details[0]["path"], "metadata.voice.recording.enabled");
    let answer = house.ask(Method::GET, "/api/calls/call_1/recording", None).await;
    assert_eq!(answer.refusal(), (404, "NOT_FOUND".into()));
}

/// Says all of the talk, a packet every 20 ms, and a second more of nothing; what was heard
/// meanwhile, from the moment on at which the first packet began to be said.
async fn converse(call: &mut Call, talk: &Talk) -> Vec<i16> {
    let began = clock::now().checked_sub(FRAME).expect("a machine that has run for 20 ms");
    let (mut heard, mut ear) = (Vec::new(), Track::new(began).expect("a decoder"));
    let mut ticks = tokio::time::interval(FRAME);
    let mut said = talk.packets.iter();
    for _ in 0..talk.packets.len() + 50 {
        loop {
            tokio::select! {
                packet = call.packets.recv() => {
                    ear.push(&packet.expect("the call is up"), clock::now(), &mut heard);
                }
                _ = ticks.tick() => break,
            }
        }
        if let Some(packet) = said.next() {
            call.send(packet);
        }
    }
    heard
}

/// An agent in a room, and a caller in it.
async fn begin(agent: &str, address: SocketAddr) -> (Raw, Call) {
    let mut client = Raw::connect(&format!("http://{address}"), KEY, agent).await;
    client.say(json!({"type": "join-room", "roomUrl": format!("rooms/{agent}")})).await;
    client.event("room_joined").await;
    let url = format!("http://{address}/rooms/{agent}/whip");
    let call = whip::dial(&url, None).await.expect("a call");
    client.event("participant_joined").await;
    (client, call)
}

/// Has the agent leave; which call it was.
async fn hang_up(client: &mut Raw) -> String {
    client.say(json!({"type": "leave-room"})).await;
    client.event("room_left").await["callId"].as_str().expect("an id").to_owned()
}

async fn fetch(house: &House, what: &str, range: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request = Request::get(format!("/api/calls/{what}")).header("x-api-key", KEY);
    let request = range.into_iter().fold(request, |request, range| request.header("range", range));
    let request = request.body(Body::empty()).expect("a request");
    let response = house.router.clone().oneshot(request).await.expect("it never fails");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 26).await.expect("a body");
    (parts.status, parts.headers, bytes.to_vec())
}

async fn events(house: &House, id: &str) -> Vec<Value> {
    let answer = house.ask(Method::GET, &format!("/api/calls/{id}/recording/events"), None).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The key of another user.
async fn stranger(house: &House, name: &str) -> String {
    let post = |path: &str, body: Value| {
        let request = Request::post(path).header("authorization", format!("Bearer {ADMIN}"));
        let request = request.header("content-type", "application/json");
        request.body(Body::from(body.to_string())).expect("a request")
    };
    let email = format!("{name}@example.com");
    let user = house.send(post("/api/users", json!({"email": email}))).await.json();
    let path = format!("/api/users/{}/api-keys", user["id"].as_str().expect("an id"));
    let key = house.send(post(&path, json!({}))).await.json();
    key["key"].as_str().expect("a key").to_owned()
}

async fn house() -> (TempDir, Mind, House) {
    let (folder, mind) = (tempfile::tempdir().expect("a folder"), Mind::open().await);
    let directory = folder.path().to_owned();
    let (kept, longest) = (Duration::from_hours(24), Duration::from_hours(1));
    let policy = RecordingPolicy { directory, kept, longest, bucket: None };
    let house = House::recording(&mind.url(), policy).await;
    (folder, mind, house)
}

fn recorded(format: &str) -> Value {
    let recording = json!({"enabled": true, "format": format, "consent": "announced"});
    let metadata = json!({"voice": {"enabled": true, "recording": recording}});
    json!({"name": "Ada", "agentType": "HUMA-0.1", "metadata": metadata})
}

fn is_interrupted(event: &Value) -> bool {
    event["status"] == "interrupted"
}

fn channels(wav: &[u8]) -> [Vec<i16>; 2] {
    let wav = hound::WavReader::new(wav).expect("a WAV");
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 24_000));
    let samples: Vec<i16> = wav.into_samples().map(|sample| sample.expect("one")).collect();
    [0, 1].map(|channel| samples.iter().skip(channel).step_by(2).copied().collect())
}

fn decoded(packets: &[OpusPacket]) -> Vec<i16> {
    let mut decoder = Decoder::new().expect("a decoder");
    let frames = packets.iter().map(|packet| {
        decoder.decode(&packet.payload).expect("it is Opus");
        decoder.pull().expect("20 ms")
    });
    frames.flat_map(|frame| frame.to_vec()).collect()
}

/// Where in a sound a part of it lies: the place at which it is most like it.
fn where_it_lies(part: &[i16], sound: &[i16]) -> usize {
    let places = 0..sound.len().saturating_sub(part.len());
    // Found roughly by how loud it is, and then to the sample.
    let rough = |place: &usize| similarity(part, &sound[*place..], 7);
    let best = |places: &mut dyn Iterator<Item = usize>, how: &dyn Fn(&usize) -> f64| {
        places.max_by(|one, other| how(one).total_cmp(&how(other))).expect("a place")
    };
    let near = best(&mut places.clone().step_by(4), &rough);
    let fine = |place: &usize| similarity(part, &sound[*place..], 1);
    best(&mut (near.saturating_sub(8)..(near + 8).min(places.end)), &fine)
}

/// The correlation of two sounds, of each `step`th sample.
fn similarity(one: &[i16], other: &[i16], step: usize) -> f64 {
    let pairs = one.iter().zip(other).step_by(step);
    let (mut both, mut own, mut theirs) = (0.0, 1.0, 1.0);
    for (one, other) in pairs {
        let (one, other) = (f64::from(*one), f64::from(*other));
        both += one * other;
        own += one * one;
        theirs += other * other;
    }
    both / (own * theirs).sqrt()
}

fn likeness(one: &[i16], other: &[i16]) -> f64 {
    similarity(one, other, 1)
}

fn samples_of(ms: &Value) -> usize {
    usize::try_from(ms.as_u64().expect("milliseconds")).expect("few") * 24
}

/// The place after the last sample of a loud sound.
fn end_of_sound(sound: &[i16]) -> usize {
    sound.iter().rposition(|sample| sample.unsigned_abs() > 1_000).expect("sound") + 1
}

const FRAME: Duration = Duration::from_millis(20);
