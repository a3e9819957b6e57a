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
