//! WAV files: any usual rate and any channels in, mono at the house rate out.

use std::io::{Read, Seek, Write};

use hound::{Sample, SampleFormat, WavReader, WavSpec, WavWriter};
use thiserror::Error;

use super::frame::{Frame24k, HOUSE_RATE};
use super::resample::{Converter, RateError};

/// Why something is of no use as a WAV; each is a predicate of the file's name.
#[derive(Debug, Error)]
pub enum WavError {
    /// It does not begin like one.
    #[error("is no WAV: {0}")]
    NoWav(hound::Error),
    /// It has no channels.
    #[error("is a WAV without channels")]
    NoChannels,
    /// It breaks off, or holds what it does not say.
    #[error("is a broken WAV: {0}")]
    Broken(hound::Error),
    /// Its rate is not a usual one.
    #[error("has a rate that cannot be converted: {0}")]
    Rate(#[from] RateError),
    /// It is longer than [`WAV_SECONDS_MAX`].
    #[error("is longer than an hour")]
    TooLong,
}

/// Reads a WAV as mono at 24 kHz.
pub fn read_wav(source: impl Read) -> Result<Vec<i16>, WavError> {
    let mut reader = WavReader::new(source).map_err(WavError::NoWav)?;
    let spec = reader.spec();
    if spec.channels == 0 {
        return Err(WavError::NoChannels);
    }
    match spec.sample_format {
        SampleFormat::Float => mono(spec, reader.samples::<f32>(), from_float),
        SampleFormat::Int => {
            let bits = spec.bits_per_sample;
            mono(spec, reader.samples::<i32>(), |sample| to_16_bits(sample, bits))
        }
    }
}

/// Begins a WAV of 16 bits, mono, at 24 kHz.
pub fn write_wav<W: Write + Seek>(sink: W) -> Result<WavWriter<W>, hound::Error> {
    write_channels(sink, 1)
}

/// Begins the same with two channels.
pub fn write_stereo_wav<W: Write + Seek>(sink: W) -> Result<WavWriter<W>, hound::Error> {
    write_channels(sink, 2)
}

fn write_channels<W: Write + Seek>(sink: W, channels: u16) -> Result<WavWriter<W>, hound::Error> {
    let spec = WavSpec {
        channels,
        sample_rate: HOUSE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    WavWriter::new(sink, spec)
}

/// Cuts samples into frames; the last is filled up with silence.
pub fn frames_of(samples: &[i16]) -> impl Iterator<Item = Frame24k> {
    samples.chunks(Frame24k::SAMPLES).map(|chunk| {
        let mut frame = Frame24k::SILENCE;
        frame[..chunk.len()].copy_from_slice(chunk);
        frame
    })
}

/// Mixes the channels down and converts, a piece at a time.
fn mono<S: Sample>(
    spec: WavSpec,
    mut samples: impl Iterator<Item = Result<S, hound::Error>>,
    to_16_bits: impl Fn(S) -> i16,
) -> Result<Vec<i16>, WavError> {
    let mut converter = Converter::new(spec.sample_rate, HOUSE_RATE)?;
    let (mut piece, mut converted) = (Vec::with_capacity(PIECE), Vec::new());
    let mut is_whole = false;
    while !is_whole {
        piece.clear();
        while piece.len() < PIECE && !is_whole {
            let mut sum = 0;
            for _ in 0..spec.channels {
                match samples.next() {
                    Some(sample) => sum += i32::from(to_16_bits(sample.map_err(WavError::Broken)?)),
                    None => is_whole = true,
                }
            }
            if !is_whole {
                piece.push(mean(sum, spec.channels));
            }
        }
        converter.convert(&piece, &mut converted);
        if converted.len() > SAMPLES_MAX {
            return Err(WavError::TooLong);
        }
    }
    converter.flush(&mut converted);
    Ok(converted)
}

#[expect(clippy::cast_possible_truncation, reason = "a mean of 16-bit samples has 16 bits")]
fn mean(sum: i32, channels: u16) -> i16 {
    (sum / i32::from(channels)) as i16
}

#[expect(clippy::cast_possible_truncation, reason = "the value is clamped to what fits")]
fn from_float(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16
}

#[expect(clippy::cast_possible_truncation, reason = "shifted to 16 bits")]
fn to_16_bits(sample: i32, bits: u16) -> i16 {
    if bits >= 16 { (sample >> (bits - 16)) as i16 } else { (sample << (16 - bits)) as i16 }
}

/// The longest recording that is taken: an hour, which takes 173 MB.
pub const WAV_SECONDS_MAX: usize = 3_600;

const SAMPLES_MAX: usize = WAV_SECONDS_MAX * HOUSE_RATE as usize;

/// How much is converted at a time.
const PIECE: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let samples: Vec<i16> = (0..1000).collect();
        let mut file = Cursor::new(Vec::new());
        let mut writer = write_wav(&mut file).unwrap();
        for sample in &samples {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
        assert_eq!(read_wav(file.get_ref().as_slice()).unwrap(), samples);
    }

    #[test]
    fn stereo_of_any_rate_becomes_mono_of_ours() {
        for rate in [8_000, 44_100, 48_000] {
            let samples = (0..rate).flat_map(|_| [3_000_i16, 1_000]);
            let mono = read_wav(wav(2, rate, samples).as_slice()).unwrap();
            assert_eq!(mono.len(), 24_000, "{rate} Hz");
            assert!((1_900..2_100).contains(&mono[12_000]), "{}", mono[12_000]);
        }
    }

    #[test]
    fn what_is_no_wav_of_use_is_refused_for_its_reason() {
        let odd = wav(1, 12_345, [0_i16; 10]);
        let mut broken = wav(1, 24_000, [7_i16; 100]);
        broken.truncate(100);
        for (bytes, reason) in [
            (b"hello".to_vec(), "is no WAV"),
            (broken, "is a broken WAV"),
            (odd, "has a rate that cannot be converted"),
        ] {
            let error = read_wav(bytes.as_slice()).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }

    #[test]
    fn the_last_frame_is_filled_up() {
        let cut: Vec<Frame24k> = frames_of(&[7; 500]).collect();
        assert_eq!((cut.len(), cut[1][19], cut[1][20]), (2, 7, 0));
    }

    fn wav(channels: u16, rate: u32, samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
        let spec = WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, spec).unwrap();
        samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }
}
