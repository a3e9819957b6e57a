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
    use crate::media::testing::speech;

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
    fn a_detector_may_change_threads() {
        fn assert_send<T: Send>(_: &T) {}
        assert_send(&Vad::new());
    }
}
