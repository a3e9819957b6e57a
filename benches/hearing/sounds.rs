//! Sounds to hear by: recorded speech with gaps, and what is laid over it.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]

use std::f32::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use callbridge::media::{Converter, Frame24k};

/// Samples at 24 kHz, from -1 to 1.
pub(crate) type Sound = Vec<f32>;

/// A recording at the house rate.
pub(crate) fn read(path: &Path) -> Sound {
    let mut wav = hound::WavReader::open(path).expect("a WAV file");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("a usual rate");
    let mut resampled = Vec::new();
    converter.convert(&samples, &mut resampled);
    converter.flush(&mut resampled);
    resampled.into_iter().map(|sample| f32::from(sample) / 32_768.0).collect()
}

/// All recordings of a folder, in the order of their names.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sounds: see scripts/hearing-sounds");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

pub(crate) fn frames(sound: &[f32]) -> Vec<Frame24k> {
    let sample = |sample: &f32| (sample * 32_768.0).round() as i16;
    let frame = |frame: &[f32; Frame24k::SAMPLES]| Frame24k::new(frame.each_ref().map(sample));
    sound.as_chunks().0.iter().map(frame).collect()
}

/// Sentences one after another at -23 dBFS, with gaps of 0.8 to 2.5 s; every sixth is of 8 s.
pub(crate) fn speech(sentences: &[Sound], chance: &mut Chance) -> Sound {
    let mut sound = vec![0.0; 48_000];
    for (n, sentence) in (1..).zip(sentences) {
        let gain = 10.0_f32.powf(-23.0 / 20.0) / active_level(sentence).max(1e-4);
        let loudest = sentence.iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        let gain = gain.min(0.99 / loudest.max(1e-4));
        sound.extend(sentence.iter().map(|sample| sample * gain));
        let gap_ms = if n % 6 == 0 { 8000.0 } else { 800.0 + 1700.0 * chance.unit() };
        sound.resize(sound.len() + 24 * gap_ms as usize, 0.0);
    }
    sound
}

/// The level of a sound where it is loud: within 30 dB of its loudest 20 ms.
pub(crate) fn active_level(sound: &[f32]) -> f32 {
    let levels: Vec<f32> = sound.chunks(480).map(level).collect();
    let loudest = levels.iter().fold(0.0_f32, |most, level| most.max(*level));
    let loud: Vec<f32> = levels.into_iter().filter(|level| *level > loudest / 31.6).collect();
    level(&loud)
}

/// The root of the mean square.
pub(crate) fn level(sound: &[f32]) -> f32 {
    let sum: f32 = sound.iter().map(|sample| sample * sample).sum();
    (sum / sound.len().max(1) as f32).sqrt()
}

/// What lies over speech.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noise {
    White,
    Pink,
    Hum,
    Clicks,
}

impl Noise {
    pub(crate) fn make(self, samples: usize, chance: &mut Chance) -> Sound {
        match self {
            Self::White => (0..samples).map(|_| chance.signed()).collect(),
            Self::Pink => pink(samples, chance),
            Self::Hum => (0..samples).map(|n| hum(n as f32 / 24_000.0)).collect(),
            Self::Clicks => clicks(samples, chance),
        }
    }
}

/// Three octaves of low passes over white noise: 3 dB less an octave.
fn pink(samples: usize, chance: &mut Chance) -> Sound {
    let (mut a, mut b, mut c) = (0.0, 0.0, 0.0);
    let mut next = || {
        let white = chance.signed();
        a = 0.99765 * a + white * 0.099_046;
        b = 0.963 * b + white * 0.296_516_4;
        c = 0.57 * c + white * 1.052_691_3;
        a + b + c + white * 0.1848
    };
    (0..samples).map(|_| next()).collect()
}

/// Mains, with its overtones.
fn hum(seconds: f32) -> f32 {
    let tone = |hertz: f32, height: f32| (seconds * hertz * TAU).sin() * height;
    tone(50.0, 1.0) + tone(100.0, 0.5) + tone(150.0, 0.4) + tone(250.0, 0.2)
}

/// Keys that are struck four times a second or so: 6 ms of noise that rings at 2 to 4 kHz, as loud
/// as 1 at most.
fn clicks(samples: usize, chance: &mut Chance) -> Sound {
    let mut sound = vec![0.0; samples];
    let mut at = 0;
    loop {
        at += (24.0 * (100.0 + 300.0 * chance.unit())) as usize;
        if at + 600 > samples {
            return sound;
        }
        let hertz = 2000.0 + 2000.0 * chance.unit();
        for (n, sample) in sound[at..at + 600].iter_mut().enumerate() {
            let fades = (-(n as f32) / 60.0).exp();
            let ring = (n as f32 * hertz / 24_000.0 * TAU).sin();
            *sample += fades * (0.5 * ring + 0.5 * chance.signed());
        }
    }
}

/// A row of numbers that looks like chance, and is the same each time.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    fn signed(&mut self) -> f32 {
        self.unit() * 2.0 - 1.0
    }
}
