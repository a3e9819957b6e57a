//! One 20 ms frame up, one down, several mixed, and what JSON takes: what the gateway itself adds.
#![expect(clippy::expect_used, reason = "a benchmark may fail where its ground gives way")]

use std::hint::black_box;
use std::time::Duration;

use callbridge::ids::{ParticipantId, UtteranceId};
use callbridge::media::{
    Converter, Downlink, DownlinkOutput, Duplex, Encoder, Frame24k, Mix, OpusPacket, OwnVoice,
    SpeechConfig, Uplink,
};
use callbridge::models::dialect::HearingRate;
use callbridge::models::wire::{FrameWriter, Message, PcmDecoder, ServerEvent, output_audio_delta};
use callbridge::sys::clock;
use criterion::{Criterion, criterion_group, criterion_main};

criterion_group!(benches, up, up_as_echo, down, mix, append, delta);
criterion_main!(benches);

/// Order, decode, resample, detect: packet in, frame and edges out.
fn up(criterion: &mut Criterion) {
    let mut encoder = Encoder::new().expect("libopus gives an encoder");
    let payloads: Vec<_> = speech().iter().map(|frame| encoder.encode(frame)).collect();
    let mut now = clock::now();
    let mut uplink = Uplink::new(SpeechConfig::default(), now).expect("libopus gives a decoder");
    let mut packet = OpusPacket {
        participant: ParticipantId::new("p_1"),
        sequence: 0,
        timestamp: 0,
        marker: false,
        payload: payloads[0].clone(),
        at: now,
    };
    criterion.bench_function("frame up", |bencher| {
        bencher.iter(|| {
            now += FRAME;
            packet.sequence = packet.sequence.wrapping_add(1);
            packet.timestamp = packet.timestamp.wrapping_add(960);
            packet.payload = payloads[usize::from(packet.sequence) % payloads.len()].clone();
            uplink.push(packet.clone(), now);
            while let Some(output) = uplink.poll() {
                black_box(output);
            }
        });
    });
}

/// The same where what comes is our own voice: voiced frames are compared with what was sent.
fn up_as_echo(criterion: &mut Criterion) {
    let speech = speech();
    let mut encoder = Encoder::new().expect("libopus gives an encoder");
    let payloads: Vec<_> = speech.iter().map(|frame| encoder.encode(frame)).collect();
    let mut now = clock::now();
    let mut uplink = Uplink::new(SpeechConfig::default(), now).expect("libopus gives a decoder");
    uplink.set_manner(Duration::from_millis(160), Duplex::Guarded);
    let mut own = OwnVoice::new();
    let mut packet = OpusPacket {
        participant: ParticipantId::new("p_1"),
        sequence: 0,
        timestamp: 0,
        marker: false,
        payload: payloads[0].clone(),
        at: now,
    };
    criterion.bench_function("frame up, our own", |bencher| {
        bencher.iter(|| {
            let place = usize::from(packet.sequence) % payloads.len();
            own.push(&speech[place], packet.timestamp, now);
            now += FRAME;
            packet.sequence = packet.sequence.wrapping_add(1);
            packet.timestamp = packet.timestamp.wrapping_add(960);
            packet.payload = payloads[place].clone();
            uplink.push(packet.clone(), now);
            while let Some(output) = uplink.poll_beside(Some(&own)) {
                black_box(output);
            }
        });
    });
}

/// Queue, pace, encode: samples in, packet out.
fn down(criterion: &mut Criterion) {
    let speech = speech();
    let mut now = clock::now();
    let mut downlink =
        Downlink::new(ParticipantId::new("p_1"), now).expect("libopus gives an encoder");
    let utterance = UtteranceId::new("utt_1");
    let mut frames = speech.iter().cycle();
    criterion.bench_function("frame down", |bencher| {
        bencher.iter(|| {
            now += FRAME;
            let frame = frames.next().expect("the speech goes on and on");
            downlink.push(&utterance, &frame[..]).expect("little speech waits");
            let mut packets = 0;
            while let Some(output) = downlink.poll(now) {
                packets += usize::from(matches!(output, DownlinkOutput::Packet(_)));
            }
            assert_eq!(black_box(packets), 1);
        });
    });
}

/// Several people in a room, each hearing the others.
fn mix(criterion: &mut Criterion) {
    let speech = speech();
    for people in [2, 3, 8] {
        let voices = &speech[20..20 + people];
        criterion.bench_function(&format!("mix of {people}"), |bencher| {
            bencher.iter(|| {
                let mut mix = Mix::new();
                for voice in black_box(voices) {
                    mix.add(voice);
                }
                for voice in voices {
                    black_box(mix.without(voice));
                }
            });
        });
    }
}

/// A frame as an event for the model.
fn append(criterion: &mut Criterion) {
    let speech = speech();
    let mut writer = FrameWriter::new(HearingRate::Khz24);
    let mut frames = speech.iter().cycle();
    criterion.bench_function("JSON append", |bencher| {
        bencher.iter(|| {
            let frame = frames.next().expect("the speech goes on and on");
            black_box(writer.append(frame));
        });
    });
}

/// 100 ms of the model's sound out of an event.
fn delta(criterion: &mut Criterion) {
    let samples: Vec<i16> = speech().iter().flat_map(|frame| **frame).take(2_400).collect();
    let delta = output_audio_delta("resp_1", "item_1", &samples);
    let text = ServerEvent::AudioDelta(delta).encode(Some("event_1"));
    let mut decoder = PcmDecoder::default();
    criterion.bench_function("JSON delta of 100 ms", |bencher| {
        bencher.iter(|| {
            let Ok(Message { event: ServerEvent::AudioDelta(delta), .. }) =
                ServerEvent::decode(black_box(&text))
            else {
                unreachable!("it is a delta");
            };
            black_box(decoder.decode(&delta.delta).expect("it is base64"));
        });
    });
}

fn speech() -> Vec<Frame24k> {
    let path = "fixtures/audio/what-time-is-it-16000hz-16bit-mono.wav";
    let mut wav = hound::WavReader::open(path).expect("the fixture is there");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut resampled = Vec::new();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    converter.convert(&samples, &mut resampled);
    converter.flush(&mut resampled);
    let (frames, _) = resampled.as_chunks::<480>();
    frames.iter().copied().map(Frame24k::new).collect()
}

const FRAME: Duration = Duration::from_millis(20);
