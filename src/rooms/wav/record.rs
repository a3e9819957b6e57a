//! The record of what the agent says, as a WAV that appears when it is complete.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hound::WavWriter;
use tempfile::{Builder, TempPath};

use crate::agent::RoomFailure;
use crate::media::write_wav;

/// A WAV (24 kHz, mono) that is being written. It lies under another name beside its place until
/// it is finished, or dropped: then it takes its place, with all that was written so far.
#[derive(Debug)]
pub struct Record {
    out: PathBuf,
    open: Option<Open>,
}

struct Open {
    writer: WavWriter<BufWriter<File>>,
    path: TempPath,
}

impl Record {
    /// Begins a record that will lie here. Blocks.
    pub(super) fn begin(out: PathBuf) -> Result<Self, RoomFailure> {
        if out.is_dir() {
            return Err(failure(&out, &"it is a folder"));
        }
        let open = Open::beside(&out).map_err(|error| failure(&out, &error))?;
        Ok(Self { out, open: Some(open) })
    }

    /// Appends samples. It takes a copy of memory, and a write to the file's cache once a second.
    pub fn write(&mut self, samples: &[i16]) -> Result<(), RoomFailure> {
        let Some(Open { writer, .. }) = &mut self.open else { return Ok(()) };
        let written = samples.iter().try_for_each(|sample| writer.write_sample(*sample));
        written.map_err(|error| failure(&self.out, &error))
    }

    /// Puts the record in its place. Blocks.
    pub fn finish(mut self) -> Result<(), RoomFailure> {
        self.close()
    }

    fn close(&mut self) -> Result<(), RoomFailure> {
        let Some(Open { writer, path }) = self.open.take() else { return Ok(()) };
        writer.finalize().map_err(|error| failure(&self.out, &error))?;
        path.persist(&self.out).map_err(|error| failure(&self.out, &error.error))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Err(failure) = self.close() {
            tracing::info!("a call's record is lost: {failure}");
        }
    }
}

impl Open {
    fn beside(out: &Path) -> io::Result<Self> {
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Whoever may read what the gateway writes may read this; the umask has the last word.
        let permissions = Permissions::from_mode(0o666);
        let mut file = Builder::new();
        file.prefix(".callbridge-").suffix(".wav").permissions(permissions);
        let (file, path) = file.tempfile_in(folder.unwrap_or(Path::new(".")))?.into_parts();
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let writer = write_wav(file).map_err(io::Error::other)?;
        Ok(Self { writer, path })
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

fn failure(out: &Path, error: &dyn std::fmt::Display) -> RoomFailure {
    RoomFailure::Media(format!("{} cannot be written: {error}", out.display()))
}

/// 1.4 s of sound.
const BUFFER_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::read_wav;

    #[test]
    fn a_record_appears_whole_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.wav");
        let mut record = Record::begin(out.clone()).unwrap();
        record.write(&[1, 2, 3]).unwrap();
        assert!(!out.exists(), "nobody sees half of it");
        record.finish().unwrap();
        assert_eq!(read_wav(File::open(&out).unwrap()).unwrap(), [1, 2, 3]);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_record_that_is_dropped_takes_its_place_and_that_of_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.wav");
        std::fs::write(&out, "an older one").unwrap();
        let mut record = Record::begin(out.clone()).unwrap();
        record.write(&[4, 5]).unwrap();
        drop(record);
        assert_eq!(read_wav(File::open(&out).unwrap()).unwrap(), [4, 5]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for out in [folder.path().to_owned(), folder.path().join("nowhere/out.wav")] {
            let failure = Record::begin(out).unwrap_err();
            assert_eq!(failure.code(), "MEDIA_FAILED", "{failure}");
        }
    }
}
