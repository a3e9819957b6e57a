//! Resampling where rates really differ: for the VAD, for recordings, for foreign models.

use std::ops::Range;

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use thiserror::Error;

use super::frame::{Frame16k, Frame24k};

/// 24 kHz to 16 kHz, frame by frame, 2.5 ms late (40 samples at 16 kHz).
#[derive(Debug)]
pub struct Downsampler {
    fft: Fft<f32>,
    input: [f32; Frame24k::SAMPLES],
    output: [f32; Frame16k::SAMPLES],
}

impl Downsampler {
    /// Makes a resampler of fixed sizes.
    ///
    /// # Panics
    /// Never: its sizes are constants that rubato takes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "rates and sizes are constants that rubato takes")]
    pub fn new() -> Self {
        Self {
            fft: fft(24_000, 16_000, SUB_CHUNKS).expect("rubato takes these rates"),
            input: [0.0; Frame24k::SAMPLES],
            output: [0.0; Frame16k::SAMPLES],
        }
    }

    /// Resamples the next frame of a stream.
    pub fn convert(&mut self, frame: &Frame24k) -> Frame16k {
        to_float(&frame[..], &mut self.input);
        process(&mut self.fft, &self.input, &mut self.output);
        let mut converted = Frame16k::SILENCE;
        for (sample, float) in converted.iter_mut().zip(&self.output) {
            *sample = to_sample(*float);
        }
        converted
    }
}

impl Default for Downsampler {
    fn default() -> Self {
        Self::new()
    }
}

/// These rates cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no way from {from} Hz to {to} Hz; the usual rates from 8 to 192 kHz are taken")]
pub struct RateError {
    /// The rate of what goes in.
    pub from: u32,
    /// The rate of what should come out.
    pub to: u32,
}

/// Any usual rate to any other, for whole recordings or for streams off the hot path.
///
/// The output is aligned with the input: the first sample in is the first sample out. A stream
/// gets its samples late: 20 ms are gathered, then half a block of the resampler is waited for,
/// 2.5 ms between 16, 24 and 48 kHz, up to 14 ms at other rates. A flush brings the rest.
#[derive(Debug)]
pub struct Converter {
    road: Road,
    from: u32,
    to: u32,
}

#[derive(Debug)]
enum Road {
    /// The rates are the same.
    Straight,
    Resampled(Box<Resampled>),
}

#[derive(Debug)]
struct Resampled {
    fft: Fft<f32>,
    gathered: Vec<f32>,
    output: Vec<f32>,
    /// Samples of the resampler's delay that are still to be left out.
    delay_left: usize,
    samples_in: u64,
    samples_out: u64,
}

impl Converter {
    /// Makes a converter between two rates, in hertz.
    pub fn new(from: u32, to: u32) -> Result<Self, RateError> {
        let usual = |rate: u32| RATES_HERTZ.contains(&rate) && rate.is_multiple_of(RATE_STEP_HERTZ);
        if !usual(from) || !usual(to) {
            return Err(RateError { from, to });
        }
        let road = if from == to {
            Road::Straight
        } else {
            Road::Resampled(Resampled::new(from, to).ok_or(RateError { from, to })?.into())
        };
        Ok(Self { road, from, to })
    }

    /// Takes samples and appends those that come out.
    pub fn convert(&mut self, input: &[i16], output: &mut Vec<i16>) {
        match &mut self.road {
            Road::Straight => output.extend_from_slice(input),
            Road::Resampled(resampled) => {
                resampled.samples_in += input.len() as u64;
                resampled.feed(input.iter().copied(), u64::MAX, output);
            }
        }
    }

    /// Appends what is still under way, so that output and input last equally long to the
    /// sample. Then the next stream may begin.
    pub fn flush(&mut self, output: &mut Vec<i16>) {
        let Road::Resampled(resampled) = &mut self.road else { return };
        let length = (resampled.samples_in * u64::from(self.to)).div_ceil(u64::from(self.from));
        while resampled.samples_out < length {
            let chunk = resampled.fft.input_frames_next() - resampled.gathered.len();
            resampled.feed(std::iter::repeat_n(0, chunk), length, output);
        }
        resampled.reset();
    }
}

impl Resampled {
    fn new(from: u32, to: u32) -> Option<Self> {
        let most = if from.min(to) < LOW_RATE_HERTZ { 1 } else { SUB_CHUNKS };
        // A block of an odd number of samples, in or out, would shift the sound by half a sample.
        let fft = (1..=most)
            .rev()
            .filter_map(|sub_chunks| fft(from, to, sub_chunks))
            .find(|fft| (fft.fft_size_in() | fft.fft_size_out()).is_multiple_of(2))?;
        Some(Self {
            gathered: Vec::with_capacity(fft.input_frames_max()),
            output: vec![0.0; fft.output_frames_max()],
            delay_left: fft.output_delay(),
            samples_in: 0,
            samples_out: 0,
            fft,
        })
    }

    /// Feeds samples; appends what comes out, until `length` samples have come out in all.
    fn feed(&mut self, input: impl Iterator<Item = i16>, length: u64, output: &mut Vec<i16>) {
        for sample in input {
            self.gathered.push(to_unit(sample));
            if self.gathered.len() < self.fft.input_frames_next() {
                continue;
            }
            let produced = process(&mut self.fft, &self.gathered, &mut self.output);
            self.gathered.clear();
            let left_out = self.delay_left.min(produced);
            self.delay_left -= left_out;
            for float in &self.output[left_out..produced] {
                if self.samples_out < length {
                    self.samples_out += 1;
                    output.push(to_sample(*float));
                }
            }
        }
    }

    fn reset(&mut self) {
        self.fft.reset();
        self.gathered.clear();
        self.delay_left = self.fft.output_delay();
        (self.samples_in, self.samples_out) = (0, 0);
    }
}

fn fft(from: u32, to: u32, sub_chunks: usize) -> Option<Fft<f32>> {
    let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
    let chunk = from / CHUNKS_PER_SECOND;
    Fft::new_custom(from, to, chunk, sub_chunks, 1, WINDOW, FixedSync::Input).ok()
}

/// Runs one chunk through, and tells how many samples came out.
#[expect(clippy::expect_used, reason = "both buffers have the sizes that the resampler names")]
fn process(fft: &mut Fft<f32>, input: &[f32], output: &mut [f32]) -> usize {
    let (input_length, output_length) = (input.len(), output.len());
    let source = SequentialSlice::new(input, 1, input_length).expect("one channel of its length");
    let mut sink =
        SequentialSlice::new_mut(output, 1, output_length).expect("one channel of its length");
    let (_taken, produced) =
        fft.process_into_buffer(&source, &mut sink, None).expect("buffers are large enough");
    produced
}

fn to_float(samples: &[i16], floats: &mut [f32]) {
    for (float, sample) in floats.iter_mut().zip(samples) {
        *float = to_unit(*sample);
    }
}

fn to_unit(sample: i16) -> f32 {
    f32::from(sample) / FULL_SCALE
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as a loud sample should")]
fn to_sample(float: f32) -> i16 {
    (float * FULL_SCALE).round() as i16
}

const FULL_SCALE: f32 = 32_768.0;

/// With blocks as short as ours the steeper windows cost the high tones: Blackman-Harris squared
/// takes 29 dB off at 0.45 of the lower rate, this one takes 1, and lets no more aliases through.
const WINDOW: WindowFunction = WindowFunction::Hann2;

/// A chunk is 20 ms.
const CHUNKS_PER_SECOND: usize = 50;

/// Four blocks a chunk keep the delay at 2.5 ms.
const SUB_CHUNKS: usize = 4;

/// Below this rate four blocks a chunk would be too short for a steep filter.
const LOW_RATE_HERTZ: u32 = 16_000;

const RATES_HERTZ: Range<u32> = 8_000..192_001;

/// Every usual rate is a multiple of this; others would need blocks of a second.
const RATE_STEP_HERTZ: u32 = 25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{energy, sine, tone};

    #[test]
    fn a_tone_keeps_its_level_and_pitch_on_its_way_to_the_vad() {
        let mut downsampler = Downsampler::new();
        let sound = tone(1000.0, 10_000.0, 24_000);
        let (frames, _) = sound.as_chunks::<480>();
        let heard: Vec<i16> =
            frames.iter().flat_map(|frame| *downsampler.convert(&Frame24k::new(*frame))).collect();
        let expected = sine(1000.0, 10_000.0, 16_000, 16_000);
        assert!(noise_ratio(&heard[40..], &expected[..15_960]) < 1e-5);
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_filtered_out() {
        let mut downsampler = Downsampler::new();
        let sound = tone(10_500.0, 10_000.0, 24_000);
        let (frames, _) = sound.as_chunks::<480>();
        let heard: Vec<i16> =
            frames.iter().flat_map(|frame| *downsampler.convert(&Frame24k::new(*frame))).collect();
        assert!(energy(&heard[320..]) < 1e-4 * 10_000.0_f64.powi(2) / 2.0);
    }

    #[test]
    fn a_tone_keeps_level_pitch_and_place_between_usual_rates() {
        for (from, to) in USUAL_PAIRS {
            let mut converter = Converter::new(from, to).unwrap();
            let mut heard = Vec::new();
            let sound = sine(1000.0, 10_000.0, from, from as usize);
            for piece in sound.chunks(317) {
                converter.convert(piece, &mut heard);
            }
            converter.flush(&mut heard);
            assert_eq!(heard.len(), to as usize, "{from} to {to}");
            let expected = sine(1000.0, 10_000.0, to, to as usize);
            let inside = to as usize / 10..to as usize * 9 / 10;
            let noise = noise_ratio(&heard[inside.clone()], &expected[inside]);
            assert!(noise < 1e-4, "{from} to {to}: {noise}");
        }
    }

    #[test]
    fn the_speech_band_of_a_telephone_survives() {
        let mut converter = Converter::new(8000, 24_000).unwrap();
        let mut heard = Vec::new();
        converter.convert(&sine(3400.0, 10_000.0, 8000, 8000), &mut heard);
        converter.flush(&mut heard);
        let level = energy(&heard[2400..21_600]) / (10_000.0_f64.powi(2) / 2.0);
        assert!((0.9..1.1).contains(&level), "{level}");
    }

    /// The figures are those of `docs/performance.md`, with a little room.
    #[test]
    fn a_sweep_stays_level_clean_and_in_place() {
        for (from, to) in ALL_PAIRS {
            let quality = quality(from, to);
            let is_good = quality.ripple < 0.05
                && quality.edge < 1.5
                && quality.to_noise > 70.0
                && quality.shift < 0.01
                && quality.alias < -70.0;
            assert!(is_good, "{from} to {to}: {quality:?}");
        }
    }

    #[test]
    fn the_way_to_the_vad_is_late_by_forty_samples_at_all_pitches() {
        for hertz in [100.0, 440.0, 1000.0, 3000.0, 6000.0] {
            let mut downsampler = Downsampler::new();
            let sound = tone(hertz, 10_000.0, 24_000);
            let frames = sound.as_chunks::<480>().0.iter().copied().map(Frame24k::new);
            let heard: Vec<i16> = frames.flat_map(|frame| *downsampler.convert(&frame)).collect();
            let fit = Fit::of(&heard[40 + 1600..40 + 14_400], hertz, 16_000, 1600);
            assert!(fit.shift.abs() < 0.01, "{hertz} Hz is late by {} more", fit.shift);
        }
    }

    #[test]
    fn a_converter_is_new_after_a_flush() {
        let mut converter = Converter::new(44_100, 24_000).unwrap();
        let (mut once, mut again) = (Vec::new(), Vec::new());
        let sound = sine(440.0, 5000.0, 44_100, 4410);
        converter.convert(&sound, &mut once);
        converter.flush(&mut once);
        converter.convert(&sound, &mut again);
        converter.flush(&mut again);
        assert_eq!(once, again);
    }

    #[test]
    fn equal_rates_pass_unchanged() {
        let mut converter = Converter::new(24_000, 24_000).unwrap();
        let mut heard = Vec::new();
        converter.convert(&[1, -2, 3], &mut heard);
        converter.flush(&mut heard);
        assert_eq!(heard, [1, -2, 3]);
    }

    #[test]
    fn rates_without_sense_are_refused() {
        for (from, to) in [(0, 24_000), (24_000, 44_101), (7999, 24_000), (24_000, 384_000)] {
            assert_eq!(Converter::new(from, to).unwrap_err(), RateError { from, to });
        }
    }

    const USUAL_PAIRS: [(u32, u32); 7] = [
        (16_000, 24_000),
        (48_000, 24_000),
        (44_100, 24_000),
        (22_050, 24_000),
        (8000, 24_000),
        (24_000, 16_000),
        (24_000, 8000),
    ];

    const ALL_PAIRS: [(u32, u32); 10] = [
        (24_000, 16_000),
        (16_000, 24_000),
        (24_000, 8000),
        (8000, 24_000),
        (24_000, 48_000),
        (48_000, 24_000),
        (24_000, 44_100),
        (44_100, 24_000),
        (24_000, 22_050),
        (22_050, 24_000),
    ];

    /// What a pair of rates does to tones from 20 Hz to 0.42 of the lower rate, and above.
    #[derive(Debug)]
    struct Quality {
        /// The most that a tone's level is changed, in decibels.
        ripple: f64,
        /// The same at 0.45 of the lower rate.
        edge: f64,
        /// The least that a tone is above all that was added to it, in decibels.
        to_noise: f64,
        /// The most that a tone is moved, in samples of the output.
        shift: f64,
        /// The loudest that is left of tones which the lower rate cannot hold, in decibels.
        alias: f64,
    }

    fn quality(from: u32, to: u32) -> Quality {
        let low = f64::from(from.min(to));
        let mut quality =
            Quality { ripple: 0.0, edge: 0.0, to_noise: 200.0, shift: 0.0, alias: -200.0 };
        let fractions = [0.0, 0.01, 0.051, 0.1, 0.152, 0.2, 0.253, 0.3, 0.354, 0.4, 0.42, 0.45];
        for hertz in fractions.map(|fraction| (fraction * low).max(20.0)) {
            let heard = convert(hertz, from, to);
            let skipped = to as usize / 10;
            let fit = Fit::of(&heard[skipped..heard.len() - skipped], hertz, to, skipped);
            let change = (20.0 * fit.gain.log10()).abs();
            let most = if hertz > 0.43 * low { &mut quality.edge } else { &mut quality.ripple };
            *most = most.max(change);
            quality.to_noise = quality.to_noise.min(fit.to_noise);
            quality.shift = quality.shift.max(fit.shift.abs());
        }
        for hertz in [0.5531, 0.6037, 0.7041, 0.8543, 0.9547].map(|fraction| fraction * low) {
            if hertz < 0.48 * f64::from(from) {
                let heard = convert(hertz, from, to);
                let inside = to as usize / 10..heard.len() - to as usize / 10;
                let level = energy(&heard[inside]).max(1e-3) / (10_000.0_f64.powi(2) / 2.0);
                quality.alias = quality.alias.max(10.0 * level.log10());
            }
        }
        quality
    }

    fn convert(hertz: f64, from: u32, to: u32) -> Vec<i16> {
        let mut converter = Converter::new(from, to).unwrap();
        let mut heard = Vec::new();
        converter.convert(&sine(hertz, 10_000.0, from, from as usize / 2), &mut heard);
        converter.flush(&mut heard);
        heard
    }

    /// A tone as it is found in a sound.
    struct Fit {
        gain: f64,
        to_noise: f64,
        shift: f64,
    }

    impl Fit {
        /// By least squares: the sine and cosine of this pitch that are nearest to the sound, whose
        /// first sample is the one of this number.
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        fn of(heard: &[i16], hertz: f64, rate: u32, first: usize) -> Self {
            let step = std::f64::consts::TAU * hertz / f64::from(rate);
            let waves = |n: usize| ((first + n) as f64 * step).sin_cos();
            let (mut ss, mut sc, mut cc, mut sx, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (n, sample) in heard.iter().enumerate() {
                let ((sine, cosine), sample) = (waves(n), f64::from(*sample));
                (ss, sc, cc) = (ss + sine * sine, sc + sine * cosine, cc + cosine * cosine);
                (sx, cx) = (sx + sine * sample, cx + cosine * sample);
            }
            let determinant = ss * cc - sc * sc;
            let (a, b) = ((sx * cc - cx * sc) / determinant, (cx * ss - sx * sc) / determinant);
            let noise: f64 = (0..heard.len())
                .map(|n| {
                    let (sine, cosine) = waves(n);
                    (f64::from(heard[n]) - a * sine - b * cosine).powi(2)
                })
                .sum();
            let tone = a.hypot(b);
            let share = tone * tone / 2.0 * heard.len() as f64 / noise;
            Self {
                gain: tone / 10_000.0,
                to_noise: 10.0 * share.log10(),
                shift: -b.atan2(a) / step,
            }
        }
    }

    /// The energy of the difference, as a share of the energy expected.
    fn noise_ratio(heard: &[i16], expected: &[i16]) -> f64 {
        let apart: Vec<_> =
            heard.iter().zip(expected).map(|(one, other)| one.saturating_sub(*other)).collect();
        energy(&apart) / energy(expected)
    }
}
