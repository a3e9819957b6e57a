//! The voice detector: one bit per frame.

use std::fmt;

use webrtc_vad::{SampleRate, VadMode};

use super::frame::Frame16k;

/// Tells speech from other sound, 20 ms at a time; it learns the background as it goes.
///
/// The detector inside holds on for 3 to 5 frames after what it took for speech, so a single click
/// would be four frames of voice. A frame far quieter than those just before it is therefore
/// no voice, whatever the detector says. Music sounds like speech to it.
pub struct Vad {
    detector: SoleVad,
    /// The level of the loudest frame of late, which fades.
    peak: u32,
}

impl Vad {
    /// Makes a detector that has heard nothing.
    ///
    /// # Panics
    /// If there is no memory for it.
    #[must_use]
    pub fn new() -> Self {
        let mode = VadMode::VeryAggressive;
        let detector = webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, mode);
        Self { detector: SoleVad(detector), peak: 0 }
    }

    /// Whether the frame holds speech.
    pub fn is_voice(&mut self, frame: &Frame16k) -> bool {
        let level = frame.level();
        self.peak = level.max(self.peak - self.peak / PEAK_DECAY);
        // The detector refuses only lengths that are no frame; this type has no others.
        let detected = self.detector.0.is_voice_segment(&frame[..]).unwrap_or(false);
        detected && level * QUIETER_TIMES >= self.peak
    }
}

impl Default for Vad {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Vad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vad").finish_non_exhaustive()
    }
}

struct SoleVad(webrtc_vad::Vad);

// SAFETY: the detector is a C structure on the heap that refers to no thread, and its pointer
// never leaves this module, so whoever owns this value is its only user.
#[expect(unsafe_code, reason = "the crate holds a raw pointer and leaves this judgement to us")]
unsafe impl Send for SoleVad {}

/// A frame so many times quieter than those before it, 18 dB, is an echo of their detection.
const QUIETER_TIMES: u32 = 8;

/// The peak falls by an eighth a frame: to a half in 100 ms.
const PEAK_DECAY: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::Frame24k;
    use crate::media::resample::Downsampler;
    use crate::media::speech::{EdgeKind, Speech, SpeechConfig};
    use crate::media::testing::{ms, noise, recording, samples_of, speech, start};

    #[test]
    fn silence_is_no_voice() {
        let mut vad = Vad::new();
        assert!((0..100).all(|_| !vad.is_voice(&Frame16k::SILENCE)));
    }

    #[test]
    fn a_spoken_question_is_voice_for_most_of_its_length() {
        let (mut vad, mut downsampler) = (Vad::new(), Downsampler::new());
        let frames = speech();
        let voiced =
            frames.iter().filter(|frame| vad.is_voice(&downsampler.convert(frame))).count();
        assert!(voiced * 2 > frames.len(), "{voiced} of {} frames", frames.len());
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
        assert_send(&Vad::new());
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
