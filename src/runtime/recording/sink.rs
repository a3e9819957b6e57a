//! The sound file of one recording, in either of its formats, as it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hound::WavWriter;

use crate::agent::RecordingFormat;
use crate::media::{OggOpus, StereoFrame, write_stereo_wav};
use crate::sys::entropy;

/// A file that grows by 20 ms at a time.
pub(super) enum Sink {
    Ogg { file: File, coder: Box<OggOpus>, pages: Vec<u8> },
    Wav { writer: WavWriter<BufWriter<File>>, frames: u64 },
}

impl Sink {
    /// Makes a file that was not there, for the gateway's user alone.
    pub(super) fn begin(path: &Path, format: RecordingFormat) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(match format {
            RecordingFormat::Ogg => {
                let mut pages = Vec::new();
                let mut serial = [0; 4];
                entropy::fill(&mut serial);
                let serial = u32::from_le_bytes(serial);
                let coder = OggOpus::begin(serial, &mut pages).map_err(io::Error::other)?;
                Self::Ogg { file, coder: Box::new(coder), pages }
            }
            RecordingFormat::Wav => {
                let file = BufWriter::with_capacity(BUFFER_BYTES, file);
                let writer = write_stereo_wav(file).map_err(io::Error::other)?;
                Self::Wav { writer, frames: 0 }
            }
        })
    }

    /// Adds 20 ms; tells how many bytes that has brought to the file. What is a second old is in
    /// the file, and the file can be read up to there.
    pub(super) fn put(&mut self, frames: &StereoFrame) -> io::Result<u64> {
        match self {
            Self::Ogg { file, coder, pages } => {
                coder.push(frames, pages).map_err(io::Error::other)?;
                spill(file, pages)
            }
            Self::Wav { writer, frames: count } => {
                let [left, right] = frames;
                for (left, right) in left.iter().zip(right.iter()) {
                    writer.write_sample(*left).map_err(io::Error::other)?;
                    writer.write_sample(*right).map_err(io::Error::other)?;
                }
                *count += 1;
                if count.is_multiple_of(FRAMES_PER_SECOND) {
                    // This writes the lengths in the header as well.
                    writer.flush().map_err(io::Error::other)?;
                }
                Ok(WAV_FRAME_BYTES)
            }
        }
    }

    /// Ends the file; tells how many bytes that has brought.
    pub(super) fn finish(self) -> io::Result<u64> {
        match self {
            Self::Ogg { mut file, coder, mut pages } => {
                coder.finish(&mut pages).map_err(io::Error::other)?;
                spill(&mut file, &mut pages)
            }
            Self::Wav { writer, .. } => writer.finalize().map_err(io::Error::other).map(|()| 0),
        }
    }
}

fn spill(file: &mut File, pages: &mut Vec<u8>) -> io::Result<u64> {
    if pages.is_empty() {
        return Ok(0);
    }
    file.write_all(pages)?;
    let bytes = pages.len() as u64;
    pages.clear();
    Ok(bytes)
}

/// 0.7 s of a WAV.
const BUFFER_BYTES: usize = 1 << 16;

const FRAMES_PER_SECOND: u64 = 50;

/// Two channels of 480 samples, two bytes each.
const WAV_FRAME_BYTES: u64 = 2 * 480 * 2;
