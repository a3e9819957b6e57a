//! All that is done about a frame between the network and the model's socket, against the bare
//! parts that nobody can do without: SRTP, libopus and the detector. In the same run, in turns, so
//! that the ratio means something on a machine that does other things too.
//!
//! In one second of two the human speaks and the agent listens, in the other the agent speaks.
//!
//! Then what a frame finds in the caches when the one before it was so long ago.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark may fail where its ground gives way, and says what it has measured"
)]

#[path = "../tests/harness/joined.rs"]
mod joined;

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use callbridge::load::bare::{Bare, Sound, context, rtp_packet};
use callbridge::media::{Frame24k, OpusPacket};
use callbridge::sys::clock;
use joined::{Call, FRAMES_PER_DELTA, created, delta, sent};
use rtc::rtp;
use rtc::shared::marshal::{Marshal as _, Unmarshal as _};
use rtc::srtp::context::Context;

fn main() {
    // Without it, this is a test of the benchmark.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let rounds = if is_bench { 41 } else { 1 };
    let sound = Sound::new().expect("the parts work");
    let (mut whole, mut bare) = (Whole::new(), Bare::new(&sound).expect("the parts work"));
    // Once to warm up.
    whole.second(&sound, 0);
    bare_second(&mut bare, &sound);
    let mut taken: [Vec<Took>; 2] = Default::default();
    for round in 0..rounds {
        taken[0].push(whole.second(&sound, round + 1));
        taken[1].push(bare_second(&mut bare, &sound));
    }
    let [whole, bare] = taken.map(Took::median);
    println!("per 20 ms          whole     bare    ratio");
    row("agent listens", whole.listening, bare.listening);
    row("agent speaks", whole.speaking, bare.speaking);
    row("half and half", f64::midpoint(whole.listening, whole.speaking), {
        f64::midpoint(bare.listening, bare.speaking)
    });
    let memory = Memory::new();
    println!("256 KiB, read in no order, so long after the last time");
    for pause in [0, 1, 20] {
        println!(
            "{pause:2} ms         {:6.1} us",
            memory.read(Duration::from_millis(pause), rounds)
        );
    }
}

/// A chain of cache lines, each of which names the next: no processor can read ahead in it.
struct Memory(Vec<[u32; 16]>);

impl Memory {
    fn new() -> Self {
        let mut lines = vec![[0; 16]; 4096];
        // Odd steps of a full period (Knuth, TAOCP 3.2.1.2).
        let next = |line: u32| (line * 1_021 + 1_777) % 4_096;
        let mut line = 0;
        for _ in 0..lines.len() {
            lines[line as usize][0] = next(line);
            line = next(line);
        }
        Self(lines)
    }

    /// How long it takes after such a pause, in microseconds: the median.
    fn read(&self, pause: Duration, rounds: usize) -> f64 {
        let mut all: Vec<_> = (0..rounds).map(|_| self.read_once(pause)).collect();
        all.sort();
        all[all.len() / 2].as_secs_f64() * 1e6
    }

    fn read_once(&self, pause: Duration) -> Duration {
        std::thread::sleep(pause);
        let start = clock::now();
        black_box(self.0.iter().fold(0, |line: u32, _| self.0[line as usize][0]));
        clock::now() - start
    }
}

fn row(what: &str, whole: f64, bare: f64) {
    println!("{what:14} {whole:6.1} us {bare:6.1} us   {:6.3}", whole / bare);
}

/// How long 20 ms took, in microseconds.
#[derive(Clone, Copy)]
struct Took {
    listening: f64,
    speaking: f64,
}

impl Took {
    fn of(listening: Duration, speaking: Duration) -> Self {
        let frame = |second: Duration| second.as_secs_f64() * 1e6 / f64::from(FRAMES);
        Self { listening: frame(listening), speaking: frame(speaking) }
    }

    fn median(mut all: Vec<Self>) -> Self {
        let mut middle = |of: fn(&Self) -> f64| {
            all.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&all[all.len() / 2])
        };
        let listening = middle(|took| took.listening);
        Self { listening, speaking: middle(|took| took.speaking) }
    }
}

/// The gateway's way: everything but tasks and system calls.
struct Whole {
    call: Call,
    inward: Context,
    outward: Context,
}

impl Whole {
    fn new() -> Self {
        Self {
            call: Call::new(clock::now()),
            inward: context().expect("there is cryptography"),
            outward: context().expect("there is cryptography"),
        }
    }

    fn second(&mut self, sound: &Sound, round: usize) -> Took {
        let start = clock::now();
        sound.voiced.iter().for_each(|packet| self.hear(packet));
        let listening = clock::now() - start;
        // The turn ends in silence.
        sound.quiet.iter().for_each(|packet| self.hear(packet));

        let (response, item) = (format!("r{round}"), format!("a{round}"));
        let samples: Vec<i16> = sound.speech.iter().flat_map(|frame| **frame).collect();
        let deltas: Vec<_> =
            samples.chunks(DELTA_SAMPLES).map(|some| delta(&response, &item, some)).collect();
        self.call.arrive(&created(&response));
        let start = clock::now();
        let mut said = 0;
        for (packets, delta) in sound.quiet.chunks(FRAMES_PER_DELTA).zip(&deltas) {
            self.call.arrive(delta);
            said += self.say();
            for packet in packets {
                self.hear(packet);
                said += self.say();
            }
        }
        let speaking = clock::now() - start;
        assert!(said >= FRAMES as usize - FRAMES_PER_DELTA, "only {said} frames were said");
        let (audio_done, done) = ended(&response, &item);
        self.call.arrive(&audio_done);
        self.call.arrive(&done);
        // What is left of it is heard.
        sound.quiet.iter().for_each(|packet| self.hear(packet));
        self.call.said.clear();
        Took::of(listening, speaking)
    }

    fn hear(&mut self, packet: &BytesMut) {
        let mut packet = self.inward.decrypt_rtp(packet).expect("it is ours");
        let packet = rtp::Packet::unmarshal(&mut packet).expect("it is RTP");
        self.call.hear(packet.payload);
    }

    fn say(&mut self) -> usize {
        for packet in &self.call.said {
            let OpusPacket { sequence, payload, .. } = packet;
            let packet = rtp_packet(*sequence, payload.clone()).marshal().expect("there is room");
            black_box(self.outward.encrypt_rtp(&packet).expect("a packet"));
        }
        self.call.said.drain(..).count()
    }
}

/// The parts alone, for as long.
fn bare_second(bare: &mut Bare, sound: &Sound) -> Took {
    let hear = |bare: &mut Bare, packet, number| bare.hear(packet, number).expect("it is ours");
    let start = clock::now();
    sound.voiced.iter().zip(0..).for_each(|(packet, number)| hear(bare, packet, number));
    let listening = clock::now() - start;
    sound.quiet.iter().zip(0..).for_each(|(packet, number)| hear(bare, packet, number));

    let start = clock::now();
    for ((packet, frame), number) in sound.quiet.iter().zip(&sound.speech).zip(0..) {
        hear(bare, packet, number);
        bare.say(frame).expect("a packet");
    }
    Took::of(listening, clock::now() - start)
}

/// The server's last events of an answer.
fn ended(response: &str, item: &str) -> (Vec<u8>, Vec<u8>) {
    let audio = format!(
        r#"{{"type":"response.output_audio.done","response_id":"{response}","item_id":"{item}"}}"#
    );
    let done = format!(
        r#"{{"type":"response.done","response":{{"id":"{response}","status":"completed"}}}}"#
    );
    (sent(audio), sent(done))
}

/// One second of them.
const FRAMES: u32 = 50;
const DELTA_SAMPLES: usize = FRAMES_PER_DELTA * Frame24k::SAMPLES;
