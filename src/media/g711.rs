//! G.711: a telephone's samples, eight bits each at 8 kHz (ITU-T G.711).

/// Which of the two codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, as in North America and Japan: PCMU.
    Mu,
    /// A-law, as elsewhere: PCMA.
    A,
}

impl Law {
    /// What a byte stands for, as a sample of 16 bits.
    #[must_use]
    pub const fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => MU[byte as usize],
            Self::A => A[byte as usize],
        }
    }

    /// The byte that stands for a sample of 16 bits, or for one very near.
    #[must_use]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }
}

const MU: [i16; 256] = table(Law::Mu);
const A: [i16; 256] = table(Law::A);

const fn table(law: Law) -> [i16; 256] {
    let mut samples = [0; 256];
    let mut byte = 0_u8;
    loop {
        samples[byte as usize] = match law {
            Law::Mu => decode_mu(byte),
            Law::A => decode_a(byte),
        };
        if byte == u8::MAX {
            return samples;
        }
        byte += 1;
    }
}

/// Every bit is inverted on the line. Below the sign are three bits of exponent and four of
/// mantissa, of a height that is [`MU_BIAS`] too large, so that the first one bit is implied.
const fn decode_mu(byte: u8) -> i16 {
    let code = !byte;
    let exponent = code >> 4 & 0x07;
    let mantissa = (code & 0x0F) as i16;
    let height = (((mantissa << 3) + MU_BIAS) << exponent) - MU_BIAS;
    if code & 0x80 == 0 { height } else { -height }
}

#[expect(clippy::cast_possible_truncation, reason = "exponent and mantissa have few bits")]
const fn encode_mu(sample: i16) -> u8 {
    let height = sample.unsigned_abs();
    let height = (if height > MU_MAX { MU_MAX } else { height }) + MU_BIAS.unsigned_abs();
    let exponent = 8 - height.leading_zeros() as u8;
    let mantissa = (height >> (exponent + 3)) as u8 & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | exponent << 4 | mantissa)
}

/// Every other bit is inverted on the line, and the sign bit stands for a positive sample.
const fn decode_a(byte: u8) -> i16 {
    let code = byte ^ A_INVERTED;
    let exponent = code >> 4 & 0x07;
    // Each step is met in its middle.
    let mantissa = ((code & 0x0F) as i16) << 4 | 0x08;
    let height = if exponent == 0 { mantissa } else { (mantissa | 0x100) << (exponent - 1) };
    if code & 0x80 == 0 { -height } else { height }
}

#[expect(clippy::cast_possible_truncation, reason = "exponent and mantissa have few bits")]
const fn encode_a(sample: i16) -> u8 {
    // There is no code for nought: the first step below it is a negative one.
    let (sign, height) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let height = height.unsigned_abs() >> 4;
    let code = if height < 0x10 {
        height as u8
    } else {
        let exponent = 12 - height.leading_zeros() as u8;
        exponent << 4 | (height >> (exponent - 1)) as u8 & 0x0F
    };
    (sign | code) ^ A_INVERTED
}

const MU_BIAS: i16 = 0x84;

/// The highest that has a code of its own.
const MU_MAX: u16 = 32_635;

const A_INVERTED: u8 = 0x55;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::{energy, sine};

    #[test]
    fn known_codes_stand_for_known_samples() {
        for (byte, sample) in
            [(0xFF, 0), (0x7F, 0), (0x80, 32_124), (0x00, -32_124), (0xFE, 8), (0xBF, 1980)]
        {
            assert_eq!(Law::Mu.decode(byte), sample, "{byte:#x}");
        }
        for (byte, sample) in
            [(0xD5, 8), (0x55, -8), (0xAA, 32_256), (0x2A, -32_256), (0xC5, 264), (0x85, 4224)]
        {
            assert_eq!(Law::A.decode(byte), sample, "{byte:#x}");
        }
    }

    #[test]
    fn every_code_is_the_code_of_its_sample() {
        for law in [Law::Mu, Law::A] {
            for byte in 0..=u8::MAX {
                let sample = law.decode(byte);
                assert_eq!(law.decode(law.encode(sample)), sample, "{law:?} {byte:#x}");
            }
        }
    }

    #[test]
    fn every_sample_gets_the_nearest_code_or_one_beside_it() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let apart = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                // Half a step, of which there are sixteen between a height and its double.
                let allowed = ((i32::from(sample).abs() + 132) / 32).max(8) + 1;
                assert!(apart.abs() <= allowed, "{law:?} {sample}: {apart}");
            }
        }
    }

    #[test]
    fn speech_of_usual_strength_is_36_decibels_above_its_noise() {
        for law in [Law::Mu, Law::A] {
            for strength in [1_000.0, 2_000.0, 8_000.0, 20_000.0] {
                let said = sine(440.0, strength, 8_000, 8_000);
                let noise: Vec<_> = said.iter().map(|s| law.decode(law.encode(*s)) - s).collect();
                let decibels = 10.0 * (energy(&said) / energy(&noise)).log10();
                assert!(decibels > 36.0, "{law:?} at {strength}: {decibels}");
            }
        }
    }
}
