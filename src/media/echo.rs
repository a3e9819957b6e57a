//! Our own voice on its way back: what we have sent, and whether a participant's sound is that.

use std::cell::RefCell;
use std::f32::consts::{PI, TAU};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::frame::{FRAME_MS, Frame24k};
use super::packet::RTP_TICKS_PER_FRAME;

/// The last of what we have sent, to compare with what comes in.
///
/// Of both, 4 kHz are kept, with the high tones raised: enough to tell one voice from another. If
/// the last 200 ms of a participant are a copy of something that we sent up to 700 ms before, they
/// are an echo. A copy is so similar at one delay (`SIMILAR`) and much less so at others
/// (`STANDING_OUT`); a steady tone is similar at many, and is no echo.
///
/// Rooms and noise make a copy less similar. With a room's tail 6 dB below the direct sound it is
/// above 0.87 in 95 of 100 frames, with noise 10 dB below it above 0.85. A voice as loud over it
/// leaves 0.6 to 0.7 in the middle of all frames; a voice alone is at 0.2, and at 0.5 if it is the
/// same synthetic one.
pub struct OwnVoice {
    decimator: Decimator,
    /// The last [`KEPT`] samples, without the pauses after the last.
    sent: Vec<f32>,
    last: Option<Sent>,
}

/// The last frame that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    timestamp: u32,
}

impl OwnVoice {
    /// A voice that was never heard.
    #[must_use]
    pub fn new() -> Self {
        Self { decimator: Decimator::default(), sent: vec![0.0; KEPT], last: None }
    }

    /// Takes the frame that leaves at `now`, with its RTP time (48 kHz).
    pub fn push(&mut self, frame: &Frame24k, timestamp: u32, now: Instant) {
        if let Some(last) = self.last.replace(Sent { at: now, timestamp }) {
            let passed = timestamp.wrapping_sub(last.timestamp);
            let pause = passed.saturating_sub(RTP_TICKS_PER_FRAME) / TICKS_PER_SAMPLE;
            make_room(&mut self.sent, usize::try_from(pause).unwrap_or(KEPT)).fill(0.0);
        }
        self.decimator.convert(frame, make_room(&mut self.sent, FRAME_SAMPLES));
    }

    /// Whether something of ours left so shortly before.
    #[must_use]
    pub fn has_sounded(&self, within: Duration, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last.at) < within)
    }

    /// How similar the sound that has come in until `now` is to what was sent.
    fn compare(&self, heard: &[f32; HEARD], now: Instant) -> Likeness {
        let Some(last) = self.last else { return Likeness::NONE };
        let silent_for = now.saturating_duration_since(last.at + FRAME).as_millis();
        let silent_for = usize::try_from(silent_for).unwrap_or(KEPT) * SAMPLES_PER_MS;
        CORRELATOR.with_borrow_mut(|it| it.compare(&self.sent, silent_for.min(KEPT), heard))
    }
}

impl Default for OwnVoice {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for OwnVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnVoice").field("last", &self.last).finish_non_exhaustive()
    }
}

/// The last of what a participant has sent.
#[derive(Debug)]
pub(super) struct Heard {
    decimator: Decimator,
    samples: [f32; HEARD],
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { decimator: Decimator::default(), samples: [0.0; HEARD] }
    }

    pub(super) fn push(&mut self, frame: &Frame24k) {
        self.decimator.convert(frame, make_room(&mut self.samples[..], FRAME_SAMPLES));
    }

    /// Whether its last frame, which has come in at `now`, is our own voice. Over speech of their
    /// own more likeness is asked for, so that little of it is lost.
    pub(super) fn is_echo(&self, own: &OwnVoice, speaking: bool, now: Instant) -> bool {
        if !own.has_sounded(ECHO_DELAY_MAX, now) {
            return false;
        }
        let Likeness { most, mean } = own.compare(&self.samples, now);
        let asked = if speaking { SIMILAR_OVER_SPEECH } else { SIMILAR };
        most >= asked && most >= mean * STANDING_OUT
    }
}

/// How similar two sounds are over all delays: 0 not at all, 1 the same but for loudness.
#[derive(Clone, Copy, Debug)]
struct Likeness {
    most: f32,
    mean: f32,
}

impl Likeness {
    const NONE: Self = Self { most: 0.0, mean: 0.0 };
}

/// 24 kHz to 4 kHz, with the high tones raised.
///
/// What lies above 2 kHz must not be folded into the rest: codecs make hisses anew as noise, so
/// that an "s" comes back unlike itself.
#[derive(Debug)]
struct Decimator {
    weights: [f32; TAPS],
    /// The last samples, at 24 kHz.
    past: [f32; TAPS],
    previous: f32,
}

impl Decimator {
    fn convert(&mut self, frame: &Frame24k, converted: &mut [f32]) {
        let mut samples = [0.0; TAPS + Frame24k::SAMPLES];
        let (past, latest) = samples.split_at_mut(TAPS);
        past.copy_from_slice(&self.past);
        latest.iter_mut().zip(&**frame).for_each(|(to, sample)| *to = f32::from(*sample));
        let windows = samples[DECIMATION..].windows(TAPS).step_by(DECIMATION);
        for (window, sample) in windows.zip(converted) {
            let mean = product(window, &self.weights);
            *sample = mean - self.previous * EMPHASIS;
            self.previous = mean;
        }
        self.past.copy_from_slice(&samples[Frame24k::SAMPLES..]);
    }
}

impl Default for Decimator {
    fn default() -> Self {
        Self { weights: low_pass(), past: [0.0; TAPS], previous: 0.0 }
    }
}

/// The sum of the products, from several sums that a processor adds to at once.
fn product(samples: &[f32], weights: &[f32; TAPS]) -> f32 {
    let mut sums = [0.0; LANES];
    let (samples, weights) = (samples.as_chunks::<LANES>().0, weights.as_chunks::<LANES>().0);
    for (samples, weights) in samples.iter().zip(weights) {
        for (sum, (sample, weight)) in sums.iter_mut().zip(samples.iter().zip(weights)) {
            *sum += sample * weight;
        }
    }
    sums.iter().sum()
}

/// A low pass as weights of neighbouring samples: a sinc within a Hann window.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn low_pass() -> [f32; TAPS] {
    let mut weights = [0.0; TAPS];
    for (n, weight) in weights.iter_mut().enumerate() {
        // The middle lies between two taps, so this is never 0.
        let place = n as f32 - (TAPS as f32 - 1.0) / 2.0;
        let window = (PI * place / TAPS as f32).cos().powi(2);
        *weight = (TAU * CUTOFF * place).sin() / place * window;
    }
    let sum: f32 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

thread_local! {
    /// One for all calls of a thread: nothing of a comparison outlives it, and 78 KiB that every
    /// call would have are in no cache when its turn comes.
    static CORRELATOR: RefCell<Correlator> = RefCell::new(Correlator::new());
}

/// Correlation by Fourier transforms, in memory of its own.
struct Correlator {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    sent: Vec<Complex32>,
    heard: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Correlator {
    fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(FFT), planner.plan_fft_inverse(FFT));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            time: forward.make_input_vec(),
            sent: forward.make_output_vec(),
            heard: forward.make_output_vec(),
            scratch: vec![Complex32::default(); scratch],
            forward,
            inverse,
        }
    }

    /// Compares what was heard with what was sent, and then silence, at every delay.
    fn compare(&mut self, sent: &[f32], silent_for: usize, heard: &[f32; HEARD]) -> Likeness {
        self.time.fill(0.0);
        self.time[..HEARD].copy_from_slice(heard);
        let energy: f64 = heard.iter().map(|sample| f64::from(sample * sample)).sum();
        transform(&*self.forward, &mut self.time, &mut self.heard, &mut self.scratch);

        let windows = Windows::over(&sent[silent_for..], KEPT);
        self.time.fill(0.0);
        self.time[..KEPT - silent_for].copy_from_slice(&sent[silent_for..]);
        transform(&*self.forward, &mut self.time, &mut self.sent, &mut self.scratch);
        for (sent, heard) in self.sent.iter_mut().zip(&self.heard) {
            *sent *= heard.conj();
        }
        let scratch = &mut self.scratch[..self.inverse.get_scratch_len()];
        let done = self.inverse.process_with_scratch(&mut self.sent, &mut self.time, scratch);
        debug_assert!(done.is_ok(), "the buffers are the plan's own");
        likeness(&self.time[..DELAYS], windows, energy)
    }
}

fn transform(
    plan: &dyn RealToComplex<f32>,
    time: &mut [f32],
    spectrum: &mut [Complex32],
    scratch: &mut [Complex32],
) {
    let scratch = &mut scratch[..plan.get_scratch_len()];
    let done = plan.process_with_scratch(time, spectrum, scratch);
    debug_assert!(done.is_ok(), "the buffers are the plan's own");
}

/// The energies of all stretches of [`HEARD`] samples, one sample apart.
struct Windows<'a> {
    samples: &'a [f32],
    energy: f64,
    at: usize,
}

impl<'a> Windows<'a> {
    /// Over these samples, and silence after them up to so many.
    fn over(samples: &'a [f32], length: usize) -> Self {
        debug_assert!(samples.len() <= length);
        let energy = samples.iter().take(HEARD).map(|sample| f64::from(sample * sample)).sum();
        Self { samples, energy, at: 0 }
    }

    fn square(&self, at: usize) -> f64 {
        self.samples.get(at).map_or(0.0, |sample| f64::from(sample * sample))
    }
}

impl Iterator for Windows<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let energy = self.energy;
        self.energy += self.square(self.at + HEARD) - self.square(self.at);
        self.at += 1;
        Some(energy)
    }
}

/// What `products`, not yet divided by the transform's length, say of two sounds whose energies
/// are known.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "likeness is between 0 and 1, and lengths are small"
)]
fn likeness(products: &[f32], windows: Windows<'_>, heard: f64) -> Likeness {
    let scale = FFT as f64;
    let mut sum = 0.0;
    let (mut before, mut last, mut most) = (0.0, 0.0, 0.0_f64);
    for (product, sent) in products.iter().zip(windows) {
        let alike = f64::from(*product) / (heard * sent.max(ENERGY_MIN)).sqrt();
        most = most.max(alike.abs()).max(summit(before, last, alike));
        (before, last) = (last, alike);
        sum += alike.abs();
    }
    let mean = sum / products.len() as f64;
    Likeness { most: (most / scale) as f32, mean: (mean / scale) as f32 }
}

/// How far from 0 a curve gets beside the middle one of three points, if that is a summit: delays
/// are no whole samples.
fn summit(before: f64, at: f64, after: f64) -> f64 {
    let is_summit = at.abs() >= before.abs() && at.abs() >= after.abs();
    let bend = before - 2.0 * at + after;
    if !is_summit || bend.abs() < f64::EPSILON {
        return 0.0;
    }
    (at - (before - after).powi(2) / (8.0 * bend)).abs()
}

/// Shifts all samples and gives the room behind them, for so many.
fn make_room(samples: &mut [f32], count: usize) -> &mut [f32] {
    let kept = samples.len().saturating_sub(count);
    samples.copy_within(samples.len() - kept.., 0);
    &mut samples[kept..]
}

/// The longest way from the packet that leaves to the packet that brings its echo: a far network,
/// a large jitter buffer, a slow sound card.
pub const ECHO_DELAY_MAX: Duration = Duration::from_millis(700);

/// So similar to what was sent is an echo.
const SIMILAR: f32 = 0.6;

/// So similar is an echo where somebody is speaking, whose words would be lost with it.
const SIMILAR_OVER_SPEECH: f32 = 0.75;

/// So many times more similar than at the mean of all delays is a copy. A tone is at 1.6,
/// speech that comes back at 3.1 at the least, in a bad room.
const STANDING_OUT: f32 = 2.5;

const DECIMATION: usize = 6;

/// How many samples have a share in each one of 4 kHz; even.
const TAPS: usize = 60;
const _: () = assert!(TAPS.is_multiple_of(2));

/// So many sums are kept of them.
const LANES: usize = 12;
const _: () = assert!(TAPS.is_multiple_of(LANES));

/// 1.7 kHz, in shares of 24 kHz.
const CUTOFF: f32 = 1.7 / 24.0;

/// Raises 1500 Hz by 12 dB over 200 Hz, so that not the deepest tones alone decide.
const EMPHASIS: f32 = 0.7;

const SAMPLES_PER_MS: usize = 4;
const FRAME_SAMPLES: usize = Frame24k::SAMPLES / DECIMATION;
const _: () = assert!(FRAME_SAMPLES as u64 == SAMPLES_PER_MS as u64 * FRAME_MS);
const TICKS_PER_SAMPLE: u32 = 12;
const FRAME: Duration = Duration::from_millis(FRAME_MS);

/// 200 ms are compared.
const HEARD: usize = 200 * SAMPLES_PER_MS;
/// Delays of 0 to 700 ms.
const DELAYS: usize = 700 * SAMPLES_PER_MS + 1;
const KEPT: usize = HEARD + DELAYS - 1;
/// Longer than what was sent, so that no delay that counts wraps around.
const FFT: usize = 4096;
const _: () = assert!(KEPT <= FFT);

/// Sent sound below about -60 dB of full scale leaves no echo that could be told.
const ENERGY_MIN: f64 = 800.0 * 10.0 * 10.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{ms, recording, start, tone};

    #[test]
    fn a_copy_is_found_at_any_delay_and_any_level() {
        let ours = recording("tell-me-the-weather-in-paris");
        for delay in [0_usize, 777, 5000, 16_000] {
            let theirs: Vec<i16> =
                [vec![0; delay], ours.iter().map(|sample| sample / 20).collect()].concat();
            let likeness = likeness_at(&ours, &theirs, 60);
            assert!(likeness.most > 0.8, "{delay}: {likeness:?}");
            assert!(likeness.most > likeness.mean * STANDING_OUT, "{delay}: {likeness:?}");
        }
    }

    #[test]
    fn another_sentence_is_no_copy() {
        let ours = recording("tell-me-the-weather-in-paris");
        let likeness = likeness_at(&ours, &recording("what-is-my-name"), 60);
        assert!(likeness.most < SIMILAR, "{likeness:?}");
    }

    #[test]
    fn a_tone_on_both_sides_is_no_echo() {
        let likeness = likeness_at(&tone(440.0, 9000.0, 48_000), &tone(440.0, 900.0, 48_000), 80);
        assert!(likeness.most > 0.9 && likeness.most < likeness.mean * 2.0, "{likeness:?}");
    }

    #[test]
    fn what_was_sent_goes_on_in_time_after_a_pause() {
        let ours = recording("tell-me-the-weather-in-paris");
        let (said, pause) = (frames(&ours), 15);
        let mut own = OwnVoice::new();
        let mut heard = Heard::new();
        let at = |n: u32| if n < 40 { n } else { n + pause };
        for (n, frame) in (0..55).zip(&said) {
            own.push(frame, at(n) * RTP_TICKS_PER_FRAME, start() + FRAME * at(n));
        }
        for n in 10..55 {
            let silence = if n == 40 + 10 { pause } else { 0 };
            (0..silence).for_each(|_| heard.push(&Frame24k::SILENCE));
            heard.push(&said[n - 10]);
        }
        assert!(own.compare(&heard.samples, start() + ms(70 * 20)).most > 0.9);
    }

    #[test]
    fn nothing_of_ours_comes_back_a_second_later() {
        let mut own = OwnVoice::new();
        assert!(!own.has_sounded(ECHO_DELAY_MAX, start()));
        let frame = Frame24k::new([900; 480]);
        own.push(&frame, 0, start());
        assert!(own.has_sounded(ECHO_DELAY_MAX, start() + ms(699)));
        assert!(!own.has_sounded(ECHO_DELAY_MAX, start() + ms(700)));
    }

    /// Says the one and hears the other, in step, and compares after so many frames.
    fn likeness_at(ours: &[i16], theirs: &[i16], count: usize) -> Likeness {
        let (mut own, mut heard) = (OwnVoice::new(), Heard::new());
        let mut now = start();
        for (n, (ours, theirs)) in (0..).zip(frames(ours).iter().zip(frames(theirs))).take(count) {
            own.push(ours, n * RTP_TICKS_PER_FRAME, now);
            now += FRAME;
            heard.push(&theirs);
        }
        own.compare(&heard.samples, now)
    }

    fn frames(samples: &[i16]) -> Vec<Frame24k> {
        samples.as_chunks::<480>().0.iter().copied().map(Frame24k::new).collect()
    }
}
