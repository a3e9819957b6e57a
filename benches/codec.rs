//! The codec by its modes: what one 20 ms frame costs each way.
#![expect(clippy::expect_used, reason = "a benchmark may fail where its ground gives way")]

use std::hint::black_box;

use callbridge::media::{Converter, Decoder, Downsampler, Encoder, Frame24k};
use criterion::{Criterion, criterion_group, criterion_main};

criterion_group!(benches, encode, decode, resample);
criterion_main!(benches);

fn encode(criterion: &mut Criterion) {
    let speech = speech();
    for (name, percent) in [("encode, no loss", 0), ("encode, 10 % loss", 10)] {
        let mut frames = speech.iter().cycle();
        let mut encoder = encoder(percent);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(encoder.encode(frames.next().expect("the speech goes on and on")))
            });
        });
        let mut encoder = self::encoder(percent);
        criterion.bench_function(&format!("{name}, of silence"), |bencher| {
            bencher.iter(|| black_box(encoder.encode(&Frame24k::SILENCE)));
        });
    }
}

fn decode(criterion: &mut Criterion) {
    for (name, percent) in [("decode, no loss", 0), ("decode, 10 % loss", 10)] {
        let mut encoder = encoder(percent);
        let payloads: Vec<_> = speech().iter().map(|frame| encoder.encode(frame)).collect();
        let mut payloads = payloads.iter().cycle();
        let mut decoder = Decoder::new().expect("libopus gives a decoder");
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let payload = payloads.next().expect("the speech goes on and on");
                decoder.decode(payload).expect("it is Opus");
                black_box(decoder.pull())
            });
        });
    }
}

fn resample(criterion: &mut Criterion) {
    let speech = speech();
    let mut downsampler = Downsampler::new();
    let mut frames = speech.iter().cycle();
    criterion.bench_function("24 kHz to 16 kHz", |bencher| {
        bencher.iter(|| {
            black_box(downsampler.convert(frames.next().expect("the speech goes on and on")))
        });
    });
}

/// An encoder in the mode for this loss, past the time in which a call is prepared for any.
fn encoder(percent: u8) -> Encoder {
    let mut encoder = Encoder::new().expect("libopus gives an encoder");
    for _ in 0..500 {
        encoder.encode(&Frame24k::SILENCE);
    }
    encoder.set_loss_percent(percent);
    encoder
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
