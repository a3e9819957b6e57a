//! Real calls over a relay: what the model has heard of a caller at the end of a bad road.
//!
//! A program of its own, so that nothing that computes for long runs beside it.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../loss/sound.rs"]
#[expect(dead_code, reason = "another test program uses the rest of it")]
mod sound;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use callbridge::load::road::{Direction, Fate, Jitter, Loss, Relay, RoadConfig};
use callbridge::rooms::whip::{Call, Caller};
use callbridge::sys::tasks::{self, Task};
use harness::mind::{Mind, Session};
use harness::raw::Raw;
use harness::{House, KEY};
use serde_json::json;
use sound::{packet, payloads, recording};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_hears_all_of_a_caller_however_bad_the_road() {
    let mind = Mind::open().await;
    let mut house = House::with_model(&mind.url()).await;
    let address = house.serve().await;
    let mut calls = Vec::new();
    for (number, (name, road)) in roads().into_iter().enumerate() {
        let (client, call, relay) = begin(&house, address, number, road).await;
        let session = mind.session().await;
        calls.push((name, client, relay, tasks::spawn("a call", talk(call, session))));
    }
    for (name, _client, relay, call) in calls {
        let heard = call.await.expect("the call went well");
        let road = relay.stats(Direction::Up);
        assert!(road.passed > 200, "{name}: the sound went over the relay: {road:?}");
        assert_positions(name, &heard);
    }
}

fn roads() -> Vec<(&'static str, RoadConfig)> {
    let clean = || RoadConfig { spares_setup: true, ..RoadConfig::default() };
    let random = |share| RoadConfig { loss: Loss::Random { share }, ..clean() };
    let jitter = |most| {
        let jitter = Jitter::Uniform(Duration::from_millis(most));
        RoadConfig { jitter, delay: Duration::from_millis(10), ..clean() }
    };
    vec![
        ("clean", clean()),
        ("3 % lost", random(0.03)),
        ("10 % lost", random(0.1)),
        ("bursts", RoadConfig { loss: Loss::bursts(0.05, 3.0), ..clean() }),
        ("jitter of 30 ms", jitter(30)),
        ("jitter of 80 ms", jitter(80)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_the_link_loses_nothing_of_a_call() {
    let mind = Mind::open().await;
    let mut house = House::with_model(&mind.url()).await;
    let address = house.serve().await;
    let road = RoadConfig { spares_setup: true, ..RoadConfig::default() };
    let (_client, call, relay) = begin(&house, address, 0, road).await;
    let mut session = mind.session().await;
    let saying = say(call, said());
    session.hear(100 * 480).await;
    relay.interrupt(Duration::from_millis(300), Fate::Held);
    let heard = session.hear(said().len() * 995 / 1000).await;
    drop(saying);
    assert_eq!(onsets(&heard).len(), SAID.len(), "each sentence was heard, and none in two");
}

/// An agent in a room of its own, and a caller behind a road both ways.
async fn begin(
    house: &House,
    address: SocketAddr,
    number: usize,
    road: RoadConfig,
) -> (Raw, Call, Relay) {
    let body = json!({
        "name": "Ada", "agentType": "HUMA-0.1", "metadata": {"voice": {"enabled": true}},
    });
    let agent = house.agent(body).await;
    let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
    client.say(json!({"type": "join-room", "roomUrl": format!("rooms/r{number}")})).await;
    client.event("room_joined").await;
    let url = format!("http://{address}/rooms/r{number}/whip");
    let (call, relay) = dial(&url, road, u64::try_from(number).expect("small")).await;
    (client, call, relay)
}

/// Calls a WHIP endpoint by way of a relay: neither side learns the other's own address.
async fn dial(url: &str, road: RoadConfig, seed: u64) -> (Call, Relay) {
    let caller = Caller::prepare(IpAddr::V4(Ipv4Addr::LOCALHOST)).await.expect("an offer");
    let lines = caller.offer().lines().filter(|line| !line.starts_with("a=candidate"));
    let offer: String = lines.flat_map(|line| [line, "\r\n"]).collect();
    callbridge::sys::tls::choose_cryptography();
    let request = reqwest::Client::new().post(url).header("content-type", "application/sdp");
    let answer = request.body(offer).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let answer = answer.text().await.expect("text");
    let target = answer.lines().find_map(candidate).expect("a candidate");
    let relay = Relay::start(target, road.clone(), road, seed).await.expect("a relay");
    let (there, here) = (port(target), port(relay.local_addr()));
    assert!(answer.contains(&there));
    let call = caller.connect(&answer.replace(&there, &here)).await.expect("a call");
    (call, relay)
}

/// The address of a candidate of UDP.
fn candidate(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split(' ').collect();
    Some(SocketAddr::new(words.get(4)?.parse().ok()?, words.get(5)?.parse().ok()?))
}

fn port(address: SocketAddr) -> String {
    format!("{} {} typ", address.ip(), address.port())
}

/// Speaks for some seconds; gives what the model has heard by then.
async fn talk(call: Call, mut session: Session) -> Vec<i16> {
    let said = said();
    let samples = said.len() * 995 / 1000;
    let _saying = say(call, said);
    session.hear(samples).await
}

/// Says it in real time, and stays in the call.
fn say(call: Call, sound: Vec<i16>) -> Task {
    tasks::spawn("a caller", async move {
        let payloads = payloads(&sound, 10);
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        for number in 0.. {
            clock.tick().await;
            call.send(&packet(&payloads, number));
        }
    })
}

/// Three sentences, with a second of silence before each and after the last.
fn said() -> Vec<i16> {
    let silence = || vec![0; 24_000];
    let said = SAID.iter().flat_map(|name| [silence(), recording(name)].concat());
    let mut said: Vec<i16> = said.chain(silence()).collect();
    said.resize(said.len().next_multiple_of(480), 0);
    said
}

/// Each sentence is where it should be, within two frames. While calls begin, a busy machine may
/// itself be late, and the first sentence with it.
fn assert_positions(name: &str, heard: &[i16]) {
    let expected = onsets(&said());
    let found = onsets(heard);
    let apart: Vec<i64> = expected.iter().zip(&found).map(|(at, found)| found - at).collect();
    assert_eq!(expected.len(), SAID.len());
    let is_near = |(n, frames): (usize, &i64)| frames.abs() <= if n == 0 { 10 } else { 2 };
    let is_right = expected.len() == found.len() && apart.iter().enumerate().all(is_near);
    assert!(is_right, "{name}: sentences begin at {found:?} and not at {expected:?}");
}

/// The frames with which sound begins after half a second of silence.
fn onsets(samples: &[i16]) -> Vec<i64> {
    let (mut onsets, mut quiet) = (Vec::new(), 25);
    for (frame, samples) in (0..).zip(samples.chunks_exact(480)) {
        let sum: u64 = samples.iter().map(|sample| u64::from(sample.unsigned_abs())).sum();
        if sum / 480 < AUDIBLE {
            quiet += 1;
            continue;
        }
        if quiet >= 25 {
            onsets.push(frame);
        }
        quiet = 0;
    }
    onsets
}

const SAID: [&str; 3] = ["what-time-is-it", "my-name-is", "goodbye"];

/// Above the noise of the codec and below any speech of these recordings.
const AUDIBLE: u64 = 200;
