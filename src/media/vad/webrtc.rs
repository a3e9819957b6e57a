//! libfvad, the detector of WebRTC: Gaussian mixtures that learn the background as they go.

use std::fmt;

use webrtc_vad::{SampleRate, VadMode};

use crate::media::frame::Frame16k;

/// The strictest mode of libfvad. Music sounds like speech to it.
pub(super) struct Webrtc(SoleVad);

impl Webrtc {
    pub(super) fn new() -> Self {
        let mode = VadMode::VeryAggressive;
        let detector = webrtc_vad::Vad::new_with_rate_and_mode(SampleRate::Rate16kHz, mode);
        Self(SoleVad(detector))
    }

    pub(super) fn is_voice(&mut self, frame: &Frame16k) -> bool {
        // The detector refuses only lengths that are no frame; this type has no others.
        self.0.0.is_voice_segment(&frame[..]).unwrap_or(false)
    }
}

impl fmt::Debug for Webrtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webrtc").finish_non_exhaustive()
    }
}

struct SoleVad(webrtc_vad::Vad);

// SAFETY: the detector is a C structure on the heap that refers to no thread, and its pointer
// never leaves this module, so whoever owns this value is its only user.
#[expect(unsafe_code, reason = "the crate holds a raw pointer and leaves this judgement to us")]
unsafe impl Send for SoleVad {}
