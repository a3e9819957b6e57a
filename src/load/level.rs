//! How loud a frame is, at a glance: the same few samples looked at on both sides of the gateway.

/// Samples of one frame (20 ms at 24 kHz).
pub(super) const FRAME_SAMPLES: usize = 480;

/// The mean height of every eighth sample: enough to tell speech from silence, and one frame of a
/// sentence from the next.
pub(super) fn level(frame: &[i16]) -> u16 {
    mean(frame.iter().step_by(STEP).copied())
}

/// The same of 16-bit little-endian samples as they come.
pub(super) fn level_of_pcm(frame: &[u8]) -> u16 {
    let (samples, _) = frame.as_chunks::<2>();
    mean(samples.iter().step_by(STEP).map(|sample| i16::from_le_bytes(*sample)))
}

fn mean(samples: impl Iterator<Item = i16>) -> u16 {
    let (mut sum, mut count) = (0_u32, 0_u32);
    for sample in samples {
        sum += u32::from(sample.unsigned_abs());
        count += 1;
    }
    u16::try_from(sum / count.max(1)).unwrap_or(u16::MAX)
}

/// Frames at least this loud are speech: about 40 dB below full scale.
pub(super) const AUDIBLE: u16 = 300;

const STEP: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_mean_height() {
        assert_eq!(level(&[0; FRAME_SAMPLES]), 0);
        assert_eq!(level(&[-1_000; FRAME_SAMPLES]), 1_000);
        assert_eq!(level(&[i16::MIN; 3]), 32_768);
        assert_eq!(level(&[]), 0);
        assert_eq!(level_of_pcm(&[0x18, 0xFC].repeat(FRAME_SAMPLES)), 1_000);
    }
}
