//! A frame: exactly 20 ms of mono sound, 16 bits a sample. A wrong rate does not compile.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// How long every frame lasts, in milliseconds.
pub const FRAME_MS: u64 = 20;

/// The rate of everything between a room and a model, in samples a second.
pub const HOUSE_RATE: u32 = 24_000;

/// 20 ms of sound as `N` samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<const N: usize>([i16; N]);

/// 20 ms at 24 kHz, the house rate: what Opus decodes to and what speech models speak.
pub type Frame24k = Frame<480>;
/// 20 ms at 16 kHz, for the VAD and for models that listen at this rate.
pub type Frame16k = Frame<320>;
/// 20 ms at 48 kHz.
pub type Frame48k = Frame<960>;

const _: () = assert!(Frame48k::SAMPLES == 2 * Frame24k::SAMPLES);
const _: () = assert!(Frame24k::SAMPLES * 2 == Frame16k::SAMPLES * 3);

impl<const N: usize> Frame<N> {
    /// How many samples the frame holds.
    pub const SAMPLES: usize = N;
    /// 20 ms of silence.
    pub const SILENCE: Self = Self([0; N]);

    /// Wraps samples that are a frame already.
    #[must_use]
    pub const fn new(samples: [i16; N]) -> Self {
        Self(samples)
    }

    /// How loud it is: the mean height of its samples, 0 to 32768.
    #[must_use]
    pub fn level(&self) -> u32 {
        // The sum of so few samples fits.
        const { assert!(N > 0 && N < 131_072) };
        let sum: u32 = self.0.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        sum / u32::try_from(N).unwrap_or(u32::MAX)
    }
}

/// A frame, and since when its sound has been in the house: how long it is on its way is counted
/// from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedFrame {
    /// The sound.
    pub frame: Frame24k,
    /// When the last of it came off the network.
    pub since: Instant,
}

impl<const N: usize> Default for Frame<N> {
    fn default() -> Self {
        Self::SILENCE
    }
}

impl<const N: usize> Deref for Frame<N> {
    type Target = [i16; N];

    fn deref(&self) -> &[i16; N] {
        &self.0
    }
}

impl<const N: usize> DerefMut for Frame<N> {
    fn deref_mut(&mut self) -> &mut [i16; N] {
        &mut self.0
    }
}

/// How long so many samples at the house rate last, in whole milliseconds, rounded down.
#[must_use]
pub const fn ms_of_24k(samples: u64) -> u64 {
    samples / 24
}
