//! How a participant's sound is made ready and listened to: noise suppressed, level raised, speech
//! detected.

use std::fmt;

use sonora_ns::config::{NsConfig, SuppressionLevel};
use sonora_ns::noise_suppressor::NoiseSuppressor;

use super::frame::Frame24k;
use super::gain::{GAIN_BLOCK, Gain};
use super::resample::Downsampler;
use super::vad::{Detector, Vad};

/// How to listen to a participant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hearing {
    /// What tells speech from other sound.
    pub detector: Detector,
    /// How much of what is always there is taken away, if any.
    pub noise_suppression: Option<Suppression>,
    /// Whether quiet voices are made louder.
    pub gain_control: bool,
}

/// How much of a steady noise is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// 6 dB.
    Low,
    /// 12 dB.
    Moderate,
    /// 18 dB.
    High,
}

/// The ear for one participant's decoded sound.
#[derive(Debug)]
pub struct Senses {
    hearing: Hearing,
    suppressor: Option<Box<Suppressor>>,
    gain: Option<Box<Gain>>,
    downsampler: Downsampler,
    vad: Vad,
    /// Whether the last frame held speech.
    was_voiced: bool,
}

impl Senses {
    /// Senses that have heard nothing.
    #[must_use]
    pub fn new(hearing: Hearing) -> Self {
        Self {
            suppressor: hearing.noise_suppression.map(Suppressor::new).map(Box::new),
            gain: hearing.gain_control.then(|| Box::new(Gain::new())),
            downsampler: Downsampler::new(),
            vad: Vad::with(&hearing.detector),
            was_voiced: false,
            hearing,
        }
    }

    /// Listens in this way from the next frame on. What has been learnt is kept if nothing changes.
    pub fn set(&mut self, hearing: Hearing) {
        if self.hearing != hearing {
            *self = Self::new(hearing);
        }
    }

    /// Cleans the next frame, and tells whether it holds speech. With noise suppression it comes
    /// 4 ms late.
    ///
    /// The gain is told of speech by the frame before: it needs 120 ms of it to move at all.
    pub fn hear(&mut self, frame: &mut Frame24k) -> bool {
        if self.suppressor.is_some() || self.gain.is_some() {
            self.clean(frame);
        }
        self.was_voiced = self.vad.is_voice(&self.downsampler.convert(frame));
        self.was_voiced
    }

    #[expect(clippy::cast_possible_truncation, reason = "both parts keep to 16 bits")]
    fn clean(&mut self, frame: &mut Frame24k) {
        let mut sound: [f32; Frame24k::SAMPLES] = frame.map(f32::from);
        if let Some(suppressor) = &mut self.suppressor {
            suppressor.apply(&mut sound);
        }
        if let Some(gain) = &mut self.gain {
            for block in sound.as_chunks_mut::<GAIN_BLOCK>().0 {
                gain.apply(block, self.was_voiced);
            }
        }
        for (sample, float) in frame.iter_mut().zip(sound) {
            *sample = float.round() as i16;
        }
    }
}

/// WebRTC's noise suppression, at the house rate: a frame is three of its blocks.
///
/// It was made for blocks of 10 ms at 16 kHz and counts blocks, not milliseconds. Here they last
/// 6.7 ms, so it learns the background half as fast again, and nothing has to be resampled.
struct Suppressor(NoiseSuppressor);

impl Suppressor {
    fn new(suppression: Suppression) -> Self {
        let target_level = match suppression {
            Suppression::Low => SuppressionLevel::K6dB,
            Suppression::Moderate => SuppressionLevel::K12dB,
            Suppression::High => SuppressionLevel::K18dB,
        };
        Self(NoiseSuppressor::new(NsConfig { target_level }))
    }

    fn apply(&mut self, sound: &mut [f32; Frame24k::SAMPLES]) {
        for block in sound.as_chunks_mut().0 {
            self.0.analyze(block);
            self.0.process(block);
        }
    }
}

impl fmt::Debug for Suppressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suppressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{level, noise, recording, samples_of};

    #[test]
    fn what_nobody_asks_for_is_not_done() {
        let mut senses = Senses::new(Hearing::default());
        for frame in frames(&recording("my-name-is")) {
            let mut heard = frame;
            senses.hear(&mut heard);
            assert_eq!(heard, frame);
        }
    }

    #[test]
    fn noise_is_weaker_in_pauses_and_speech_is_not() {
        let speech = spoken();
        let loud = level(&speech) * 0.316;
        // Even noise between -1 and 1 has a level of 0.58.
        let noise: Vec<f32> = noise(3).take(speech.len()).map(|n| n * loud / 0.58).collect();
        let mixed: Vec<f32> = speech.iter().zip(&noise).map(|(s, n)| f32::from(*s) + n).collect();
        let mixed = samples_of(&mixed);
        for (suppression, in_pauses) in
            [(Suppression::Low, 4.0), (Suppression::Moderate, 9.0), (Suppression::High, 12.0)]
        {
            let noise_suppression = Some(suppression);
            let heard = hear(Hearing { noise_suppression, ..Hearing::default() }, &mixed);
            let (speech, pauses) = lost(&speech, &mixed, &heard);
            assert!(pauses >= in_pauses, "{suppression:?}: pauses lose {pauses} dB");
            assert!(speech.abs() < 2.0, "{suppression:?}: speech loses {speech} dB");
        }
    }

    #[test]
    fn suppression_is_four_milliseconds_late() {
        let mut sound = vec![0; 48_000];
        sound[24_000] = 20_000;
        let noise_suppression = Some(Suppression::Low);
        let heard = hear(Hearing { noise_suppression, ..Hearing::default() }, &sound);
        let peak = (0..heard.len()).max_by_key(|n| heard[*n].unsigned_abs()).unwrap();
        assert_eq!(peak - 24_000, 96);
    }

    #[test]
    fn a_quiet_voice_is_raised_and_a_loud_one_is_not_cut() {
        let gain = Hearing { gain_control: true, ..Hearing::default() };
        for (dbfs, expected) in [(-40.0, -28.0..-14.0), (-20.0, -26.0..-14.0), (-10.0, -22.0..-8.0)]
        {
            let speech = at_dbfs(&spoken(), dbfs);
            let heard = hear(gain.clone(), &speech);
            let tail = heard.len() / 2;
            let found = 20.0 * (level(&heard[tail..]) / 32_768.0).log10();
            assert!(expected.contains(&found), "{dbfs} dBFS became {found}");
            let cut = heard[tail..].iter().filter(|sample| sample.unsigned_abs() >= 32_767).count();
            assert_eq!(cut, 0, "at {dbfs} dBFS");
        }
    }

    #[test]
    fn senses_that_are_set_anew_hear_on_in_the_new_way() {
        let mut senses = Senses::new(Hearing::default());
        senses.set(Hearing { gain_control: true, ..Hearing::default() });
        let quiet = at_dbfs(&spoken(), -40.0);
        let mut heard = frames(&quiet)[40];
        senses.hear(&mut heard);
        assert!(heard.level() > 4 * frames(&quiet)[40].level(), "it begins with 15 dB");
    }

    /// Twelve seconds of sentences with a second between them.
    fn spoken() -> Vec<i16> {
        let names = ["what-time-is-it", "my-name-is", "goodbye", "repeat-after-me"];
        let with_pause = |name: &&str| [recording(name), vec![0; 24_000]].concat();
        names.iter().map(with_pause).collect::<Vec<_>>().concat()
    }

    fn at_dbfs(speech: &[i16], dbfs: f32) -> Vec<i16> {
        let gain = 32_768.0 * 10.0_f32.powf(dbfs / 20.0) / level(speech);
        let scaled: Vec<f32> = speech.iter().map(|sample| f32::from(*sample) * gain).collect();
        samples_of(&scaled)
    }

    fn frames(samples: &[i16]) -> Vec<Frame24k> {
        samples.as_chunks().0.iter().copied().map(Frame24k::new).collect()
    }

    fn hear(hearing: Hearing, samples: &[i16]) -> Vec<i16> {
        let mut senses = Senses::new(hearing);
        let mut heard = frames(samples);
        for frame in &mut heard {
            senses.hear(frame);
        }
        heard.iter().flat_map(|frame| frame.to_vec()).collect()
    }

    /// By how many decibels speech and pauses have become quieter, once the noise is known.
    fn lost(clean: &[i16], before: &[i16], after: &[i16]) -> (f32, f32) {
        let pick = |sound: &[i16], is_speech: bool| {
            let frames = clean.chunks_exact(480).zip(sound.chunks_exact(480)).skip(150);
            let picked = frames.filter(|(clean, _)| {
                let loud = level(clean);
                if is_speech { loud > 1000.0 } else { loud.is_nan() || loud < 10.0 }
            });
            level(&picked.flat_map(|(_, sound)| sound.to_vec()).collect::<Vec<_>>())
        };
        let loss = |is_speech| 20.0 * (pick(before, is_speech) / pick(after, is_speech)).log10();
        (loss(true), loss(false))
    }
}
