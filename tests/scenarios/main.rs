//! Whole conversations in simulated time, as timelines. The language of the scripts is told in
//! `src/rehearsal/mod.rs`.

#![expect(clippy::expect_used, reason = "a test's helpers may fail the test")]

mod complaints;
mod complaints_sessions;
mod holding;
mod holding_clients;
mod lessons;
mod lessons_faults;
mod protocol;
mod protocol_sessions;
mod protocol_sound;
mod reconnecting;
mod sessions;
mod talking;
mod tools;

use std::sync::OnceLock;
use std::time::Instant;

use callbridge::media::Converter;
use callbridge::rehearsal::{Cast, Script, Timeline, rehearse};
use callbridge::sys::clock;

/// What a scenario comes to. It is played twice: nothing in it may be chance.
pub(crate) fn timeline(script: &str) -> String {
    let played = play(script).to_string();
    assert_eq!(play(script).to_string(), played, "the same script gives the same timeline");
    played
}

/// The same, without the words that are in every loss of a session.
pub(crate) fn brief(script: &str) -> String {
    let timeline = timeline(script).replace("the model's session is being opened anew: ", "");
    timeline.replace(": Your session hit the maximum duration of 60 minutes.", "")
}

/// Plays a scenario once.
pub(crate) fn play(script: &str) -> Timeline {
    let script = Script::parse(script).expect("a scenario");
    let [human, agent] = voices().clone();
    let cast = Cast { human, agent, recorded: None };
    rehearse(script, cast, start()).expect("codecs").timeline
}

/// The same instant for all: nothing depends on it.
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(clock::now)
}

/// What humans and the agent say, at 24 kHz.
fn voices() -> &'static [Vec<i16>; 2] {
    static VOICES: OnceLock<[Vec<i16>; 2]> = OnceLock::new();
    VOICES.get_or_init(|| {
        let names = ["repeat-after-me", "tell-me-the-weather-in-paris"];
        names.map(|name| spoken(&format!("fixtures/audio/{name}-16000hz-16bit-mono.wav")))
    })
}

/// The words of a recording, without the silence around them.
fn spoken(path: &str) -> Vec<i16> {
    let mut wav = hound::WavReader::open(path).expect("the fixture is there");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let is_loud = |sample: &i16| sample.unsigned_abs() > 1_000;
    let first = samples.iter().position(is_loud).expect("speech");
    let last = samples.iter().rposition(is_loud).expect("speech");
    let mut converted = Vec::new();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    converter.convert(&samples[first..=last], &mut converted);
    converter.flush(&mut converted);
    converted
}
