//! Barge-in over real WebRTC: what the model is told was heard is what the caller has received.
//!
//! The times that are printed (`--nocapture`) are for reading; only counts are asserted.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

#[path = "../harness/mod.rs"]
mod harness;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use callbridge::media::{Decoder, OpusPacket};
use callbridge::rooms::whip::{self, Call};
use callbridge::sys::{clock, tasks};
use harness::mind::{Answer, Mind, Session};
use harness::raw::Raw;
use harness::talk::Talk;
use harness::{House, KEY};
use serde_json::json;

/// How far the model's idea was from the truth, and how long the old voice went on.
struct Cut {
    error_ms: i64,
    silent_after: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_is_told_what_the_caller_has_received() {
    let mind = Mind::open().await;
    let mut house = House::with_model(&mind.url()).await;
    let address = house.serve().await;
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let (client, call) = begin(&house, address, number).await;
        let session = mind.session().await;
        let talk = barge_in_again_and_again(call, session, number);
        calls.push((client, tasks::spawn("a call", talk)));
    }
    let mut cuts = Vec::new();
    for (_client, call) in calls {
        cuts.extend(call.await.expect("the call went well"));
    }
    assert_eq!(cuts.len(), CALLS * CUTS_PER_CALL);
    print(&mut cuts);
    let off = |ms| cuts.iter().filter(|cut| cut.error_ms.abs() > ms).count();
    assert!(off(20) * 100 <= cuts.len(), "{} of {} are off by a frame", off(20), cuts.len());
    assert_eq!(off(40), 0, "none is off by two frames");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_speaks_over_the_agent_is_given_the_floor_by_our_own_ear() {
    let mind = Mind::open().await;
    let mut house = House::with_model(&mind.url()).await;
    let address = house.serve().await;
    let (_client, mut call) = begin(&house, address, 0).await;
    let mut session = mind.session().await;
    let mut cuts = Vec::new();
    let mut said = 0;
    for (round, fixture) in SPOKEN.iter().enumerate() {
        let talk = Talk::of(fixture);
        let name = format!("r{round}");
        let answer = Answer { name, ms: 10_000, text: "And so on, and so on.".to_owned() };
        session.begin(&answer).await;
        session.end(&answer, "completed").await;
        let first = call.packets.recv().await.expect("the agent speaks");
        let mut ears = Ears { sounding: Sounding::new(), received: 0, last: clock::now() };
        ears.hear(&first);
        let onset = ears.hear_while_saying(&mut call, &talk, said).await;
        said += talk.packets.len();
        let truncate = session.expect("conversation.item.truncate").await;
        assert_eq!(truncate["item_id"], answer.item());
        let told = truncate["audio_end_ms"].as_i64().expect("milliseconds");
        let truth = i64::try_from(ears.received * 20).expect("small");
        let silent_after = ears.last.saturating_duration_since(onset);
        cuts.push(Cut { error_ms: told - truth, silent_after });
    }
    print(&mut cuts);
    assert!(cuts.iter().all(|cut| cut.error_ms.abs() <= 20), "the model knows what was heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_vanishes_costs_nothing_more() {
    let mind = Mind::open().await;
    let mut house = House::with_model(&mind.url()).await;
    let address = house.serve().await;
    let (mut client, call) = begin(&house, address, 0).await;
    let mut session = mind.session().await;
    client.event("participant_joined").await;

    drop(call);
    let left = client.event("participant_left").await;
    assert_eq!(left["reason"], "it fell silent");
    assert!(session.next().await.is_none(), "the model's session is closed at once");
}

/// What a caller hears while it speaks.
struct Ears {
    sounding: Sounding,
    received: usize,
    last: Instant,
}

impl Ears {
    /// Says everything, a packet every 20 ms; returns when the first of the speech was sent.
    async fn hear_while_saying(&mut self, call: &mut Call, talk: &Talk, said: usize) -> Instant {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let mut onset = clock::now();
        for (number, packet) in talk.after(said).enumerate() {
            loop {
                tokio::select! {
                    heard = call.packets.recv() => {
                        self.hear(&heard.expect("the call is up"));
                    }
                    _ = clock.tick() => break,
                }
            }
            call.send(&packet);
            if number == talk.onset {
                onset = clock::now();
            }
        }
        onset
    }

    fn hear(&mut self, packet: &OpusPacket) {
        self.received += usize::from(self.sounding.hears(packet));
        self.last = clock::now();
    }
}

/// Tells an answer's sound from the packet behind it that only leads into silence.
struct Sounding(Decoder);

impl Sounding {
    fn new() -> Self {
        Self(Decoder::new().expect("libopus gives a decoder"))
    }

    /// Whether a packet sounds to its end: the answers here are steady tones.
    fn hears(&mut self, packet: &OpusPacket) -> bool {
        self.0.decode(&packet.payload).expect("it is Opus");
        let frame = self.0.pull().expect("20 ms");
        let end: u32 = frame[360..].iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        end / 120 > 2000
    }
}

/// An agent in a room of its own, and a caller who hears it.
async fn begin(house: &House, address: SocketAddr, number: usize) -> (Raw, Call) {
    let body = json!({
        "name": "Ada", "agentType": "HUMA-0.1", "metadata": {"voice": {"enabled": true}},
    });
    let agent = house.agent(body).await;
    let mut client = Raw::connect(&format!("http://{address}"), KEY, &agent).await;
    client.say(json!({"type": "join-room", "roomUrl": format!("rooms/r{number}")})).await;
    client.event("room_joined").await;
    let url = format!("http://{address}/rooms/r{number}/whip");
    (client, whip::dial(&url, None).await.expect("a call"))
}

async fn barge_in_again_and_again(call: Call, mut session: Session, number: usize) -> Vec<Cut> {
    let (told, received) = (Vec::new(), Vec::new());
    let mut ear = Ear { call, sounding: Sounding::new(), told, received };
    for round in 0..CUTS_PER_CALL {
        // Spread without order over the first two seconds of an answer of four.
        let frames = 1 + (number * 7919 + round * 104_729) % 100;
        let name = format!("c{number}r{round}");
        let answer = Answer { name, ms: 4_000, text: "One, two, three, and so on.".to_owned() };
        session.begin(&answer).await;
        let is_complete = round % 2 == 0;
        if is_complete {
            session.end(&answer, "completed").await;
        }
        ear.hear(i64::try_from(frames).expect("small")).await;
        let heard = json!({"audio_start_ms": 0, "item_id": format!("said_{round}")});
        let cut_at = clock::now();
        session.send(&event("input_audio_buffer.speech_started", &heard)).await;
        let truncate = session.expect("conversation.item.truncate").await;
        assert_eq!(truncate["item_id"], answer.item());
        let told_ms = truncate["audio_end_ms"].as_i64().expect("milliseconds");
        let last = ear.until_quiet(QUIET).await.unwrap_or(cut_at);
        let silent_after = last.saturating_duration_since(cut_at);
        ear.told.push((told_ms, silent_after));
        if !is_complete {
            session.end(&answer, "cancelled").await;
        }
        session.send(&event("input_audio_buffer.speech_stopped", &heard)).await;
    }
    ear.until_quiet(Duration::from_secs(1)).await;
    ear.cuts()
}

/// What a caller has received of each answer, and what the model was told of it.
struct Ear {
    call: Call,
    sounding: Sounding,
    told: Vec<(i64, Duration)>,
    received: Vec<i64>,
}

impl Ear {
    /// Hears so many packets of the next answer. It begins with a marker, so what of the last one
    /// comes late on a busy machine is not taken for a part of it.
    async fn hear(&mut self, frames: i64) {
        let answers = self.received.len();
        loop {
            let packet = self.call.packets.recv().await.expect("the call is up");
            self.count(&packet);
            let is_next = self.received.len() > answers;
            if is_next && self.received.last().is_some_and(|count| *count >= frames) {
                return;
            }
        }
    }

    /// Hears until nothing has come for a while; tells when the last came, if any did.
    async fn until_quiet(&mut self, quiet: Duration) -> Option<Instant> {
        let mut last = None;
        while let Ok(packet) = tokio::time::timeout(quiet, self.call.packets.recv()).await {
            self.count(&packet.expect("the call is up"));
            last = Some(clock::now());
        }
        last
    }

    fn count(&mut self, packet: &OpusPacket) {
        if packet.marker {
            self.received.push(0);
        }
        let received = self.received.last_mut().expect("an answer begins with a marker");
        *received += i64::from(self.sounding.hears(packet));
    }

    fn cuts(self) -> Vec<Cut> {
        assert_eq!(self.received.len(), self.told.len(), "each answer was told to be cut");
        let both = self.told.into_iter().zip(self.received);
        both.map(|((told_ms, silent_after), received)| Cut {
            error_ms: told_ms - received * 20,
            silent_after,
        })
        .collect()
    }
}

fn event(kind: &str, fields: &serde_json::Value) -> serde_json::Value {
    let mut event = fields.clone();
    event["type"] = kind.into();
    event
}

#[expect(clippy::print_stdout, reason = "for whoever runs it to see")]
fn print(cuts: &mut [Cut]) {
    cuts.sort_by_key(|cut| cut.silent_after);
    let at = |percent: usize| cuts[(cuts.len() - 1) * percent / 100].silent_after;
    println!(
        "{} barge-ins; the old voice after `speech_started`: p50 {:?}, p95 {:?}, worst {:?}",
        cuts.len(),
        at(50),
        at(95),
        at(100)
    );
    for ms in [-60, -40, -20, 0, 20, 40, 60] {
        let count = cuts.iter().filter(|cut| cut.error_ms == ms).count();
        println!("  told {ms:+} ms: {count}");
    }
}

const CALLS: usize = 20;
const CUTS_PER_CALL: usize = 10;

/// What is said over the agent: sentences that begin at once.
const SPOKEN: [&str; 3] = [
    "goodbye-16000hz-16bit-mono.wav",
    "my-name-is-16000hz-16bit-mono.wav",
    "what-time-is-it-16000hz-16bit-mono.wav",
];

/// Longer than any pause between two packets of one answer.
const QUIET: Duration = Duration::from_millis(60);
