//! WAV files in and out: any rate, one or more channels in; 24 kHz mono out.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::media::{ms_of_24k, read_wav, write_wav};

/// Reads a WAV as mono at 24 kHz.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<i16>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
    read_from(BufReader::new(file), &name)
}

/// Reads a WAV called `name` as mono at 24 kHz.
pub(super) fn read_from(source: impl Read, name: &str) -> anyhow::Result<Vec<i16>> {
    read_wav(source).map_err(|error| anyhow!("{name} {error}"))
}

/// Writes mono at 24 kHz.
pub(super) fn write(path: &Path, samples: &[i16]) -> anyhow::Result<()> {
    let name = path.display();
    let file = File::create(path).with_context(|| format!("{name} cannot be written"))?;
    let mut writer = write_wav(BufWriter::new(file))?;
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
}
