//! The detector of the crate `earshot`: a small network over the spectrum of 48 ms.

use std::fmt;

use earshot::{DefaultPredictor, Detector};

use super::Windows;
use crate::media::frame::Frame16k;

/// It hears windows of 16 ms; a frame is what the last window that has ended in it is. So it is up
/// to 12 ms behind, and needs no more than its 8 KiB.
#[derive(Default)]
pub(super) struct Earshot {
    detector: Detector<DefaultPredictor>,
    windows: Windows<WINDOW>,
    /// How much the last window was speech, from 0 to 1.
    score: f32,
}

impl Earshot {
    pub(super) fn is_voice(&mut self, frame: &Frame16k) -> bool {
        let Self { detector, windows, score } = self;
        windows.push(frame, |window| *score = detector.predict_i16(window));
        *score > THRESHOLD
    }
}

impl fmt::Debug for Earshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Earshot").field("score", &self.score).finish_non_exhaustive()
    }
}

/// 16 ms at 16 kHz.
const WINDOW: usize = 256;

/// What the crate's author takes for the border.
const THRESHOLD: f32 = 0.5;
