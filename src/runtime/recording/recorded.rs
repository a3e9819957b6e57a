//! A recording that has ended, open to be read from where it lies.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::io::AsyncSeekExt as _;

use super::bucket::{Bucket, Object, pieces};
use crate::agent::RecordingFormat;

/// A recording that has ended.
#[derive(Debug)]
pub struct Recorded {
    /// What the sound is written as.
    pub format: RecordingFormat,
    /// The sound: left the participants, right the agent.
    pub sound: Source,
    /// What happened when: one JSON object a line. Gone, if the recording is being erased.
    pub events: Option<Source>,
}

/// One file of a recording, in the folder or in the bucket.
#[derive(Debug)]
pub struct Source {
    length: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// It can be read to its end even if it is removed meanwhile.
    File(File),
    Object(Arc<Bucket>, String),
}

impl Source {
    pub(super) fn file(file: File) -> io::Result<Self> {
        Ok(Self { length: file.metadata()?.len(), place: Place::File(file) })
    }

    pub(super) fn object(bucket: &Arc<Bucket>, object: Object) -> Self {
        let Object { name, length, .. } = object;
        Self { length, place: Place::Object(Arc::clone(bucket), name) }
    }

    /// In bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// A part of it, as it is read. Fails with `NotFound` if it was erased a moment ago.
    pub async fn read(self, part: Range<u64>) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        match self.place {
            Place::File(file) => {
                let mut file = tokio::fs::File::from_std(file);
                file.seek(SeekFrom::Start(part.start)).await?;
                Ok(pieces(file, part.end - part.start).boxed())
            }
            Place::Object(bucket, name) => Ok(bucket.read(&name, part).await?),
        }
    }
}
