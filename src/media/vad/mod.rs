//! The voice detectors: one bit per frame, by one of three engines.

mod earshot;
mod silero;
mod webrtc;

use super::frame::Frame16k;

pub use silero::{SileroError, SileroModel};

/// Which engine tells speech from other sound. docs/performance.md compares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Detector {
    /// libfvad in its strictest mode: the cheapest, and sure where there is little noise.
    #[default]
    Webrtc,
    /// The network of the crate `earshot`: sure in noise.
    Earshot,
    /// Silero's network: music does not deceive it either.
    Silero(SileroModel),
}

/// Tells speech from other sound, 20 ms at a time. The same frames give the same answers on the
/// same processor.
///
/// Every engine holds on for 3 to 5 frames after what it took for speech, so a single click would
/// be four frames of voice, and every sentence would end later. A frame far quieter than those just
/// before it is therefore no voice, whatever the engine says.
#[derive(Debug)]
pub struct Vad {
    engine: Engine,
    /// The level of the loudest frame of late, which fades.
    peak: u32,
}

/// What hears. All but libfvad's are large, and lie elsewhere.
#[derive(Debug)]
enum Engine {
    Webrtc(webrtc::Webrtc),
    Earshot(Box<earshot::Earshot>),
    Silero(Box<silero::Silero>),
}

impl Vad {
    /// Makes the usual detector, which has heard nothing.
    ///
    /// # Panics
    /// If there is no memory for it.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&Detector::default())
    }

    /// Makes a detector of this kind, which has heard nothing.
    ///
    /// # Panics
    /// If there is no memory for it.
    #[must_use]
    pub fn with(detector: &Detector) -> Self {
        let engine = match detector {
            Detector::Webrtc => Engine::Webrtc(webrtc::Webrtc::new()),
            Detector::Earshot => Engine::Earshot(Box::default()),
            Detector::Silero(model) => Engine::Silero(Box::new(silero::Silero::new(model))),
        };
        Self { engine, peak: 0 }
    }

    /// Whether the frame holds speech.
    pub fn is_voice(&mut self, frame: &Frame16k) -> bool {
        let level = frame.level();
        self.peak = level.max(self.peak - self.peak / PEAK_DECAY);
        let detected = match &mut self.engine {
            Engine::Webrtc(engine) => engine.is_voice(frame),
            Engine::Earshot(engine) => engine.is_voice(frame),
            Engine::Silero(engine) => engine.is_voice(frame),
        };
        detected && level * QUIETER_TIMES >= self.peak
    }
}

impl Default for Vad {
    fn default() -> Self {
        Self::new()
    }
}

/// Gathers frames into windows of another length. A window may end in each of several frames, or
/// in none.
#[derive(Debug)]
struct Windows<const N: usize> {
    samples: [i16; N],
    filled: usize,
}

impl<const N: usize> Default for Windows<N> {
    fn default() -> Self {
        Self { samples: [0; N], filled: 0 }
    }
}

impl<const N: usize> Windows<N> {
    /// Takes a frame, and shows every window that ends in it, in order.
    fn push(&mut self, frame: &Frame16k, mut show: impl FnMut(&[i16; N])) {
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(N - self.filled));
            self.samples[self.filled..self.filled + taken.len()].copy_from_slice(taken);
            self.filled += taken.len();
            rest = left;
            if self.filled == N {
                show(&self.samples);
                self.filled = 0;
            }
        }
    }
}

/// A frame so many times quieter than those before it, 18 dB, is an echo of their detection.
const QUIETER_TIMES: u32 = 8;

/// The peak falls by an eighth a frame: to a half in 100 ms.
const PEAK_DECAY: u32 = 8;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::media::frame::Frame24k;
    use crate::media::resample::Downsampler;
    use crate::media::speech::{EdgeKind, Speech, SpeechConfig};
    use crate::media::testing::{ms, noise, recording, samples_of, speech, start};

    #[test]
    fn silence_is_no_voice() {
        for detector in detectors() {
            let mut vad = Vad::with(&detector);
            assert!((0..100).all(|_| !vad.is_voice(&Frame16k::SILENCE)), "{detector:?}");
        }
    }

    #[test]
    fn a_spoken_question_is_voice_for_most_of_its_length() {
        for detector in detectors() {
            let voiced = bits(&detector).iter().filter(|voiced| **voiced).count();
            let frames = speech().len();
            assert!(voiced * 2 > frames, "{detector:?}: {voiced} of {frames} frames");
        }
    }

    #[test]
    fn the_same_sound_gives_the_same_bits() {
        for detector in detectors() {
            assert_eq!(bits(&detector), bits(&detector), "{detector:?}");
        }
    }

    #[test]
    fn calls_that_share_a_model_do_not_hear_each_other() {
        let silero = detectors().pop().expect("there are several");
        let (mut own, mut other) = (Vad::with(&silero), Vad::with(&silero));
        let mut downsampler = Downsampler::new();
        let speech = speech();
        let beside = speech.iter().map(|frame| {
            other.is_voice(&downsampler.convert(frame));
            own.is_voice(&Frame16k::SILENCE)
        });
        assert_eq!(beside.filter(|voiced| *voiced).count(), 0);
    }

    #[test]
    fn windows_are_shown_whole_and_in_order() {
        let mut windows = Windows::<512>::default();
        let (mut sample, mut seen) = (0_i16, Vec::new());
        for _ in 0..8 {
            let mut frame = Frame16k::SILENCE;
            for place in frame.iter_mut() {
                *place = sample;
                sample += 1;
            }
            windows.push(&frame, |window| seen.extend_from_slice(window));
        }
        assert_eq!(seen, (0..2560).collect::<Vec<_>>());
    }

    #[test]
    fn a_click_is_a_frame_of_voice_at_most() {
        let (mut vad, mut downsampler) = (Vad::new(), Downsampler::new());
        let frames = speech();
        let loudest = frames.iter().max_by_key(|frame| frame.level()).expect("there is speech");
        let mut voiced = 0;
        for n in 0..200 {
            let frame = if n % 20 == 10 { loudest } else { &Frame24k::SILENCE };
            voiced += usize::from(vad.is_voice(&downsampler.convert(frame)));
        }
        assert!((1..=20).contains(&voiced), "{voiced} voiced frames of 10 clicks");
    }

    #[test]
    fn speech_is_certain_six_frames_after_its_onset_and_soon_meant() {
        for name in ["what-time-is-it", "my-name-is", "goodbye", "repeat-after-me"] {
            let samples = recording(name);
            let onset = samples.iter().position(|sample| sample.unsigned_abs() > 400).unwrap();
            let edges = edges_of(&samples);
            let certain = |kind| {
                let found = edges.iter().find(|(edge, _)| *edge == kind);
                found.map(|(_, frame)| frame - onset / 480).unwrap()
            };
            assert!(certain(EdgeKind::Started) <= 6, "{name}: {edges:?}");
            assert!(certain(EdgeKind::Sustained) <= 12, "{name}: {edges:?}");
        }
    }

    #[test]
    fn clicks_and_short_coughs_are_not_meant() {
        for lasts_ms in [1, 3, 8, 60, 90, 120] {
            let edges = edges_of(&cough(lasts_ms));
            let is_meant = edges.iter().any(|(kind, _)| *kind == EdgeKind::Sustained);
            assert!(!is_meant, "{lasts_ms} ms: {edges:?}");
        }
        assert!(edges_of(&cough(120)).len() == 2, "such a cough is the beginning of speech");
    }

    #[test]
    fn a_detector_may_change_threads() {
        fn assert_send<T: Send>(_: &T) {}
        for detector in detectors() {
            assert_send(&Vad::with(&detector));
        }
    }

    /// All of them. Silero's model is where `make test-deps` puts it.
    fn detectors() -> Vec<Detector> {
        let cache = std::env::var_os("CALLBRIDGE_CACHE").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
        let cache = cache.unwrap_or_else(|| home().join(".cache/callbridge"));
        let file = cache.join("models/silero-vad-6.2.3/silero_vad_openvino_16k.onnx");
        let bytes = std::fs::read(file).expect("`make test-deps` brings the model");
        let silero = SileroModel::from_onnx(&bytes).expect("the file is the model");
        vec![Detector::Webrtc, Detector::Earshot, Detector::Silero(silero)]
    }

    fn bits(detector: &Detector) -> Vec<bool> {
        let (mut vad, mut downsampler) = (Vad::with(detector), Downsampler::new());
        speech().iter().map(|frame| vad.is_voice(&downsampler.convert(frame))).collect()
    }

    /// Edges, with the frames that made them certain, counted from 1.
    fn edges_of(samples: &[i16]) -> Vec<(EdgeKind, usize)> {
        let (mut vad, mut downsampler) = (Vad::new(), Downsampler::new());
        let mut speech = Speech::new(SpeechConfig::default());
        let mut edges = Vec::new();
        for (n, frame) in (1..).zip(samples.as_chunks::<480>().0) {
            let voiced = vad.is_voice(&downsampler.convert(&Frame24k::new(*frame)));
            speech.push(voiced, start() + ms(20 * n as u64));
            edges.extend(std::iter::from_fn(|| speech.poll()).map(|edge| (edge.kind, n)));
        }
        edges
    }

    /// A burst of noise that fades, through a throat of two resonances; half a second of faint
    /// noise on both sides.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn cough(lasts_ms: usize) -> Vec<i16> {
        let length = lasts_ms * 24;
        let burst: Vec<f32> = noise(5)
            .take(length)
            .enumerate()
            .map(|(n, noise)| noise * (-2.2 * n as f32 / length as f32).exp())
            .collect();
        let throat =
            [(600.0, 1.0), (1300.0, 0.8)].map(|(hertz, gain)| resonance(&burst, hertz, gain));
        let mut sound: Vec<f32> =
            noise(6).take(24_000 + length).map(|faint| faint * 15.0).collect();
        let peak = throat[0].iter().fold(1.0_f32, |peak, sample| peak.max(sample.abs()));
        for voice in &throat {
            for (sample, cough) in sound[12_000..].iter_mut().zip(voice) {
                *sample += cough / peak * 8000.0;
            }
        }
        samples_of(&sound)
    }

    /// A filter that rings at a frequency, 200 Hz wide.
    fn resonance(sound: &[f32], hertz: f32, gain: f32) -> Vec<f32> {
        let radius = (-std::f32::consts::PI * 200.0 / 24_000.0).exp();
        let turn = 2.0 * radius * (std::f32::consts::TAU * hertz / 24_000.0).cos();
        let (mut last, mut before) = (0.0, 0.0);
        let ring = |sample: &f32| {
            let now = sample * gain + turn * last - radius * radius * before;
            (before, last) = (last, now);
            now
        };
        sound.iter().map(ring).collect()
    }
}
