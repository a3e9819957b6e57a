//! WAV files in and out: any rate, one or more channels in; 24 kHz mono out.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::media::{Converter, Frame24k, HOUSE_RATE, ms_of_24k};

/// Reads a WAV as mono at 24 kHz.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<i16>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    read_from(BufReader::new(file), &name)
}

/// Reads a WAV called `name` as mono at 24 kHz.
pub(super) fn read_from(source: impl Read, name: &str) -> anyhow::Result<Vec<i16>> {
    let mut reader = WavReader::new(source).with_context(|| format!("{name} is no WAV"))?;
    let spec = reader.spec();
    ensure!(spec.channels > 0 && spec.sample_rate > 0, "{name} has no channels or no rate");
    let samples = samples_of(&mut reader).with_context(|| format!("{name} is a broken WAV"))?;
    let mono = mix_down(&samples, spec.channels);
    if spec.sample_rate == HOUSE_RATE {
        return Ok(mono);
    }
    let mut converter = Converter::new(spec.sample_rate, HOUSE_RATE)
        .with_context(|| format!("{name} has a rate that cannot be converted"))?;
    let mut converted = Vec::new();
    converter.convert(&mono, &mut converted);
    converter.flush(&mut converted);
    Ok(converted)
}

/// Writes mono at 24 kHz.
pub(super) fn write(path: &Path, samples: &[i16]) -> anyhow::Result<()> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: HOUSE_RATE,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let name = path.display();
    let mut writer =
        WavWriter::create(path, spec).with_context(|| format!("{name} cannot be written"))?;
    for &sample in samples {
        writer.write_sample(sample)?;
    }
    writer.finalize()?;
    Ok(())
}

/// How long samples at 24 kHz last.
pub(super) fn seconds(samples: &[i16]) -> f64 {
    let milliseconds = ms_of_24k(samples.len() as u64);
    Duration::from_millis(milliseconds).as_secs_f64()
}

/// Cuts samples into frames; the last is filled up with silence.
pub(super) fn frames(samples: &[i16]) -> impl Iterator<Item = Frame24k> {
    samples.chunks(Frame24k::SAMPLES).map(|chunk| {
        let mut frame = Frame24k::SILENCE;
        frame[..chunk.len()].copy_from_slice(chunk);
        frame
    })
}

fn samples_of<R: Read>(reader: &mut WavReader<R>) -> anyhow::Result<Vec<i16>> {
    let spec = reader.spec();
    Ok(match spec.sample_format {
        SampleFormat::Float => {
            reader.samples::<f32>().map(|s| s.map(from_float)).collect::<Result<_, _>>()?
        }
        SampleFormat::Int => {
            let bits = spec.bits_per_sample;
            reader
                .samples::<i32>()
                .map(|s| s.map(|s| to_16_bits(s, bits)))
                .collect::<Result<_, _>>()?
        }
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the value is clamped to what fits")]
fn from_float(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16
}

#[expect(clippy::cast_possible_truncation, reason = "shifted to 16 bits")]
fn to_16_bits(sample: i32, bits: u16) -> i16 {
    if bits >= 16 { (sample >> (bits - 16)) as i16 } else { (sample << (16 - bits)) as i16 }
}

#[expect(clippy::cast_possible_truncation, reason = "a mean of 16-bit samples has 16 bits")]
fn mix_down(samples: &[i16], channels: u16) -> Vec<i16> {
    let mean = |chunk: &[i16]| {
        (chunk.iter().map(|&s| i32::from(s)).sum::<i32>() / i32::from(channels)) as i16
    };
    samples.chunks_exact(usize::from(channels)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wav");
        let samples: Vec<i16> = (0..1000).collect();
        write(&path, &samples).expect("written");
        assert_eq!(read(&path).expect("read"), samples);
    }

    #[test]
    fn a_file_that_is_no_wav_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("not.wav");
        std::fs::write(&path, "hello").expect("written");
        let error = format!("{:#}", read(&path).expect_err("no WAV"));
        assert!(error.contains("not.wav is no WAV"), "{error}");
    }

    #[test]
    fn stereo_of_another_rate_becomes_mono_of_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stereo.wav");
        let spec = WavSpec {
            channels: 2,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = WavWriter::create(&path, spec).expect("created");
        for _ in 0..48_000 {
            writer.write_sample(3000_i16).expect("left");
            writer.write_sample(1000_i16).expect("right");
        }
        writer.finalize().expect("whole");
        let mono = read(&path).expect("read");
        assert_eq!(mono.len(), 24_000);
        assert!((1900..2100).contains(&mono[12_000]), "{}", mono[12_000]);
    }

    #[test]
    fn the_last_frame_is_filled_up() {
        let cut: Vec<Frame24k> = frames(&[7; 500]).collect();
        assert_eq!((cut.len(), cut[1][19], cut[1][20]), (2, 7, 0));
    }
}
