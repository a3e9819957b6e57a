//! What the tests of this folder share: an instant to start from, and recorded speech.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::frame::Frame24k;
use super::resample::Converter;

/// The same instant for all of a test's calls.
pub(super) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(crate::sys::clock::now)
}

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A spoken question at the house rate, in whole frames; it begins and ends in silence.
pub(super) fn speech() -> Vec<Frame24k> {
    let samples = recording("what-time-is-it");
    let (frames, _) = samples.as_chunks::<480>();
    frames.iter().copied().map(Frame24k::new).collect()
}

/// A recorded sentence by its name, at the house rate.
pub(super) fn recording(name: &str) -> Vec<i16> {
    let path = format!("fixtures/audio/{name}-16000hz-16bit-mono.wav");
    let mut wav = hound::WavReader::open(path).expect("the fixture is there");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut resampled = Vec::new();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    converter.convert(&samples, &mut resampled);
    converter.flush(&mut resampled);
    resampled
}

/// Noise between -1 and 1, the same for the same seed.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
pub(super) fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Numbers as samples; what is too loud is cut.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
pub(super) fn samples_of(numbers: &[f32]) -> Vec<i16> {
    numbers.iter().map(|number| number.round() as i16).collect()
}

/// How loud samples are where there is sound, as a root of mean squares.
#[expect(clippy::cast_possible_truncation, reason = "a level fits")]
pub(super) fn level(samples: &[i16]) -> f32 {
    let sound: Vec<i16> = samples.iter().copied().filter(|sample| *sample != 0).collect();
    energy(&sound).sqrt() as f32
}

/// A pure tone at the house rate.
pub(super) fn tone(hertz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    sine(hertz, amplitude, 24_000, samples)
}

/// A pure tone at any rate.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn sine(hertz: f64, amplitude: f64, rate: u32, samples: usize) -> Vec<i16> {
    let step = std::f64::consts::TAU * hertz / f64::from(rate);
    (0..samples).map(|n| ((n as f64 * step).sin() * amplitude).round() as i16).collect()
}

/// The mean square of samples: their energy.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn energy(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    sum / samples.len() as f64
}
