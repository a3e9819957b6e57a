//! All that is done about a frame between the network and the model's socket, against the bare
//! parts that nobody can do without: SRTP, libopus and the detector. In the same run, in turns, so
//! that the ratio means something on a machine that does other things too.
//!
//! In one second of two the human speaks and the agent listens, in the other the agent speaks.
//!
//! Then the bare parts once more, of several calls, each frame at its time and the thread asleep in
//! between: what the machine takes for being woken, whatever the work.
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

use bytes::{Bytes, BytesMut};
use callbridge::media::{
    Converter, Decoder, Downsampler, Encoder, Frame16k, Frame24k, OpusPacket, Vad,
};
use callbridge::sys::clock;
use joined::{Call, FRAMES_PER_DELTA, created, delta, noise, sent};
use rtc::crypto::default_provider;
use rtc::rtp;
use rtc::shared::marshal::{Marshal as _, Unmarshal as _};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;

fn main() {
    // Without it, this is a test of the benchmark.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, seconds) = if is_bench { (41, 10) } else { (1, 0) };
    let speech = speech();
    let mut encoder = Encoder::new().expect("libopus gives an encoder");
    let voiced: Vec<_> = speech.iter().map(|frame| encoder.encode(frame)).collect();
    let samples = speech.iter().flat_map(|frame| **frame).collect();
    let sound = Sound { voiced: Line::with(&voiced), quiet: Line::with(&noise()), speech, samples };
    let (mut whole, mut bare) = (Whole::new(), Bare::new(&sound));
    // Once to warm up.
    whole.second(&sound, 0);
    bare.second(&sound);
    let mut taken: [Vec<Took>; 2] = Default::default();
    for round in 0..rounds {
        taken[0].push(whole.second(&sound, round + 1));
        taken[1].push(bare.second(&sound));
    }
    let [whole, bare] = taken.map(Took::median);
    println!("per 20 ms          whole     bare    ratio");
    row("agent listens", whole.listening, bare.listening);
    row("agent speaks", whole.speaking, bare.speaking);
    row("half and half", f64::midpoint(whole.listening, whole.speaking), {
        f64::midpoint(bare.listening, bare.speaking)
    });
    println!("bare, at the pace of calls");
    for calls in [1, 5, 20, 50, 100] {
        let took = paced(&sound, calls, seconds);
        println!("{calls:3} calls      {took:6.2} ms per second of call");
    }
}

/// Processor time that a second of one call takes, in milliseconds, when so many are served by one
/// thread: their frames are due evenly over each 20 ms, and between them it sleeps.
fn paced(sound: &Sound, calls: u32, seconds: u32) -> f64 {
    let warm = |_| {
        let mut call = Bare::new(sound);
        call.second(sound);
        call
    };
    let mut bare: Vec<_> = (0..calls).map(warm).collect();
    let (start, before) = (clock::now(), processor_time());
    for tick in 0..seconds * FRAMES {
        for (number, call) in (0..).zip(&mut bare) {
            let due = start + TICK * tick + TICK * number / calls;
            std::thread::sleep(due.saturating_duration_since(clock::now()));
            call.frame(sound, tick as usize);
        }
    }
    let took = processor_time().saturating_sub(before);
    took.as_secs_f64() * 1e3 / f64::from(calls * seconds.max(1))
}

/// What this thread has taken until it last slept.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let running = told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(running.expect("nanoseconds"))
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

/// What is said, as it comes off the network.
struct Sound {
    voiced: Line,
    quiet: Line,
    /// What the agent says: the same as the human.
    speech: Vec<Frame24k>,
    samples: Vec<i16>,
}

/// Packets of one second or more, encrypted.
struct Line(Vec<BytesMut>);

impl Line {
    fn with(payloads: &[Bytes]) -> Self {
        let mut out = context();
        let packets = (0..).zip(payloads).map(|(number, payload)| {
            let packet = rtp(number, payload.clone());
            out.encrypt_rtp(&packet.marshal().expect("there is room")).expect("a packet")
        });
        Self(packets.collect())
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
        Self { call: Call::new(clock::now()), inward: context(), outward: context() }
    }

    fn second(&mut self, sound: &Sound, round: usize) -> Took {
        let start = clock::now();
        sound.voiced.0.iter().for_each(|packet| self.hear(packet));
        let listening = clock::now() - start;
        // The turn ends in silence.
        sound.quiet.0.iter().for_each(|packet| self.hear(packet));

        let (response, item) = (format!("r{round}"), format!("a{round}"));
        let deltas: Vec<_> =
            sound.samples.chunks(DELTA_SAMPLES).map(|some| delta(&response, &item, some)).collect();
        self.call.arrive(&created(&response));
        let start = clock::now();
        let mut said = 0;
        for (packets, delta) in sound.quiet.0.chunks(FRAMES_PER_DELTA).zip(&deltas) {
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
        sound.quiet.0.iter().for_each(|packet| self.hear(packet));
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
            let packet = rtp(*sequence, payload.clone()).marshal().expect("there is room");
            black_box(self.outward.encrypt_rtp(&packet).expect("a packet"));
        }
        self.call.said.drain(..).count()
    }
}

/// The parts alone, with the same settings.
struct Bare {
    decoder: Decoder,
    encoder: Encoder,
    vad: Vad,
    inward: Context,
    outward: Context,
    at_16k: Vec<Frame16k>,
}

impl Bare {
    fn new(sound: &Sound) -> Self {
        let mut downsampler = Downsampler::new();
        Self {
            decoder: Decoder::new().expect("libopus gives a decoder"),
            encoder: Encoder::new().expect("libopus gives an encoder"),
            vad: Vad::new(),
            inward: context(),
            outward: context(),
            at_16k: sound.speech.iter().map(|frame| downsampler.convert(frame)).collect(),
        }
    }

    fn second(&mut self, sound: &Sound) -> Took {
        let start = clock::now();
        sound.voiced.0.iter().zip(0..).for_each(|(packet, number)| self.hear(packet, number));
        let listening = clock::now() - start;
        sound.quiet.0.iter().zip(0..).for_each(|(packet, number)| self.hear(packet, number));

        let start = clock::now();
        for ((packet, frame), number) in sound.quiet.0.iter().zip(&sound.speech).zip(0..) {
            self.hear(packet, number);
            self.say(frame);
        }
        Took::of(listening, clock::now() - start)
    }

    fn say(&mut self, frame: &Frame24k) {
        let packet = rtp(0, self.encoder.encode(frame)).marshal().expect("there is room");
        black_box(self.outward.encrypt_rtp(&packet).expect("a packet"));
    }

    /// One frame of such a call: the agent listens for a second, and speaks for one.
    fn frame(&mut self, sound: &Sound, tick: usize) {
        let (second, number) = (tick / FRAMES as usize, tick % FRAMES as usize);
        if second.is_multiple_of(2) {
            return self.hear(&sound.voiced.0[number], number);
        }
        self.hear(&sound.quiet.0[number], number);
        self.say(&sound.speech[number]);
    }

    fn hear(&mut self, packet: &BytesMut, number: usize) {
        let mut packet = self.inward.decrypt_rtp(packet).expect("it is ours");
        let packet = rtp::Packet::unmarshal(&mut packet).expect("it is RTP");
        self.decoder.decode(&packet.payload).expect("it is Opus");
        while let Some(frame) = self.decoder.pull() {
            black_box(frame);
            black_box(self.vad.is_voice(&self.at_16k[number % self.at_16k.len()]));
        }
    }
}

fn rtp(number: u16, payload: Bytes) -> rtp::Packet {
    let header = rtp::Header {
        version: 2,
        payload_type: 111,
        sequence_number: number,
        timestamp: u32::from(number) * 960,
        ssrc: 1,
        ..rtp::Header::default()
    };
    rtp::Packet { header, payload }
}

/// The profile that browsers and we settle on.
fn context() -> Context {
    let profile = ProtectionProfile::AeadAes128Gcm;
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    let provider = default_provider().expect("there is cryptography");
    Context::new(&key, &salt, profile, None, None, provider.crypto()).expect("a context")
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

/// A second of speech, from its first sound on.
fn speech() -> Vec<Frame24k> {
    let path = "fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav";
    let mut wav = hound::WavReader::open(path).expect("the fixture is there");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut resampled = Vec::new();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    converter.convert(&samples, &mut resampled);
    converter.flush(&mut resampled);
    let (frames, _) = resampled.as_chunks::<480>();
    let frames = frames.iter().copied().map(Frame24k::new);
    frames.skip_while(|frame| frame.level() < 500).take(FRAMES as usize).collect()
}

/// One second of them.
const FRAMES: u32 = 50;
const TICK: Duration = Duration::from_millis(20);
const DELTA_SAMPLES: usize = FRAMES_PER_DELTA * Frame24k::SAMPLES;
