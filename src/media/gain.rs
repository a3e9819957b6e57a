//! Gain control: quiet voices become louder, loud ones do not clip. WebRTC's AGC2 in its parts, for
//! its whole allocates per block and has a detector of its own.

use std::fmt;

use sonora_agc2::adaptive_digital_gain_controller::{AdaptiveDigitalGainController, FrameInfo};
use sonora_agc2::common::{
    ADJACENT_SPEECH_FRAMES_THRESHOLD, MAX_FLOAT_S16_VALUE, MIN_FLOAT_S16_VALUE,
    SATURATION_PROTECTOR_INITIAL_HEADROOM_DB, SUB_FRAMES_IN_FRAME, float_s16_to_dbfs,
};
use sonora_agc2::fixed_digital_level_estimator::FixedDigitalLevelEstimator;
use sonora_agc2::interpolated_gain_curve::InterpolatedGainCurve;
use sonora_agc2::noise_level_estimator::NoiseLevelEstimator;
use sonora_agc2::saturation_protector::SaturationProtector;
use sonora_agc2::speech_level_estimator::{AdaptiveDigitalConfig, SpeechLevelEstimator};

/// Brings the peaks of speech to 5 dB below full scale, by at most 6 dB a second.
///
/// It begins with 15 dB, raises nothing in pauses, and raises noise to -50 dBFS at most. It adds no
/// delay.
pub(super) struct Gain {
    noise: NoiseLevelEstimator,
    level: SpeechLevelEstimator,
    peaks: SaturationProtector,
    gain: AdaptiveDigitalGainController,
    limiter: Limiter,
}

impl Gain {
    pub(super) fn new() -> Self {
        let settled = ADJACENT_SPEECH_FRAMES_THRESHOLD;
        Self {
            noise: NoiseLevelEstimator::default(),
            level: SpeechLevelEstimator::new(&CONFIG, settled),
            peaks: SaturationProtector::new(SATURATION_PROTECTOR_INITIAL_HEADROOM_DB, settled),
            gain: AdaptiveDigitalGainController::new(CONFIG, settled),
            limiter: Limiter::new(),
        }
    }

    /// Takes the next 10 ms, of which somebody knows whether they are speech.
    pub(super) fn apply(&mut self, block: &mut [f32; GAIN_BLOCK], is_speech: bool) {
        let speech_probability = if is_speech { 1.0 } else { 0.0 };
        let peak = block.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let energy: f32 = block.iter().map(|sample| sample * sample).sum();
        let noise_rms_dbfs = self.noise.analyze(&[&block[..]]);
        self.level.update(float_s16_to_dbfs((energy / BLOCK_SAMPLES).sqrt()), speech_probability);
        let speech_level_dbfs = self.level.level_dbfs();
        self.peaks.analyze(speech_probability, float_s16_to_dbfs(peak), speech_level_dbfs);
        let heard = FrameInfo {
            speech_probability,
            speech_level_dbfs,
            speech_level_reliable: self.level.is_confident(),
            noise_rms_dbfs,
            headroom_db: self.peaks.headroom_db(),
            limiter_envelope_dbfs: self.limiter.level_dbfs(),
        };
        self.gain.process(&heard, &mut [&mut block[..]]);
        self.limiter.apply(block);
    }
}

impl fmt::Debug for Gain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gain").field("level", &self.level).finish_non_exhaustive()
    }
}

/// Keeps what is too loud below full scale, by the envelope and the curve of AGC2's own limiter.
#[derive(Debug)]
struct Limiter {
    envelope: FixedDigitalLevelEstimator,
    curve: InterpolatedGainCurve,
    /// At the end of the block before.
    factor: f32,
}

impl Limiter {
    fn new() -> Self {
        Self {
            envelope: FixedDigitalLevelEstimator::new(GAIN_BLOCK),
            curve: InterpolatedGainCurve::default(),
            factor: 1.0,
        }
    }

    /// How loud it has been of late.
    fn level_dbfs(&self) -> f32 {
        float_s16_to_dbfs(self.envelope.last_audio_level())
    }

    /// Goes from factor to factor in straight lines. A step down is taken at its beginning, so that
    /// a sudden sound is not cut.
    fn apply(&mut self, block: &mut [f32; GAIN_BLOCK]) {
        let levels = self.envelope.compute_level(&[&block[..]]);
        for (part, level) in block.chunks_exact_mut(PART).zip(levels) {
            let to = self.curve.look_up_gain_to_apply(level);
            let from = self.factor.min(to);
            for (n, sample) in (0_u16..).zip(part) {
                let factor = from + (to - from) * f32::from(n) / PART_SAMPLES;
                *sample = (*sample * factor).clamp(MIN_FLOAT_S16_VALUE, MAX_FLOAT_S16_VALUE);
            }
            self.factor = to;
        }
    }
}

/// 10 ms at the house rate.
pub(super) const GAIN_BLOCK: usize = 240;
const BLOCK_SAMPLES: f32 = 240.0;

/// The limiter's steps are of 0.5 ms.
const PART: usize = 12;
const PART_SAMPLES: f32 = 12.0;
const _: () = assert!(PART * SUB_FRAMES_IN_FRAME as usize == GAIN_BLOCK);

/// What WebRTC uses, but for the most that is gained: of a voice 30 dB below the usual, little is
/// left to raise.
const CONFIG: AdaptiveDigitalConfig = AdaptiveDigitalConfig {
    headroom_db: 5.0,
    max_gain_db: 30.0,
    initial_gain_db: 15.0,
    max_gain_change_db_per_second: 6.0,
    max_output_noise_level_dbfs: -50.0,
};
