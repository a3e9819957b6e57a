//! Recordings in a bucket: under the names of their owners and calls, as in the folder.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, BucketError, Object};
use super::recorded::{Recorded, Source};
use super::shelf::{EVENTS, Shelved, is_name, sound_of};
use crate::agent::RecordingFormat;
use crate::ids::{CallId, UserId};
use crate::sys::clock;

/// The bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Depot {
    bucket: Arc<Bucket>,
}

impl Depot {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket: Arc::new(bucket) }
    }

    /// Stores a recording. The sound comes last: a recording is there when its sound is.
    pub(super) async fn put(&self, recording: &Shelved) -> Result<(), BucketError> {
        match self.bucket.put(&recording.events_name(), EVENTS_KIND, &recording.events).await {
            Err(BucketError::File(error)) if error.kind() == io::ErrorKind::NotFound => {}
            put => put?,
        }
        let kind = recording.format.media_type();
        self.bucket.put(&recording.sound_name(), kind, &recording.sound).await
    }

    /// The recording of a call, if it lies here.
    pub(super) async fn find(&self, owner: &UserId, call: &CallId) -> io::Result<Option<Recorded>> {
        let Some(beginning) = beginning_of(owner, call) else { return Ok(None) };
        let (mut found, mut events) = (None, None);
        for object in self.bucket.list(&beginning, None).await?.objects {
            match piece_of(&object) {
                Some(Piece::Sound(format)) => found = Some((format, object)),
                Some(Piece::Events) => events = Some(Source::object(&self.bucket, object)),
                None => {}
            }
        }
        Ok(found.map(|(format, sound)| {
            let sound = Source::object(&self.bucket, sound);
            Recorded { format, sound, events }
        }))
    }

    /// Erases all files of a call's recording; whether there were any.
    pub(super) async fn erase(&self, owner: &UserId, call: &CallId) -> io::Result<bool> {
        let Some(beginning) = beginning_of(owner, call) else { return Ok(false) };
        Ok(self.erase_all(&beginning).await?)
    }

    /// Erases all files of a recording, by what their names begin with; whether there were any.
    /// The sound goes last: as long as it is there, whoever has failed can try again.
    pub(super) async fn erase_all(&self, beginning: &str) -> Result<bool, BucketError> {
        let mut objects = self.bucket.list(beginning, None).await?.objects;
        objects.retain(|object| piece_of(object).is_some());
        objects.sort_by_key(|object| piece_of(object) != Some(Piece::Events));
        for object in &objects {
            self.bucket.delete(&object.name).await?;
        }
        Ok(!objects.is_empty())
    }

    /// Erases what was stored longer ago than `kept`, and nothing that is no recording; how many.
    pub(super) async fn sweep(&self, kept: Duration) -> io::Result<usize> {
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let (mut count, mut from) = (0, None);
        loop {
            let listing = self.bucket.list("", from.as_deref()).await?;
            for object in listing.objects {
                let Some(piece) = piece_of(&object) else { continue };
                if clock::unix_ms().saturating_sub(object.put_ms) > kept_ms {
                    self.bucket.delete(&object.name).await?;
                    count += usize::from(piece != Piece::Events);
                }
            }
            from = listing.next;
            if from.is_none() {
                return Ok(count);
            }
        }
    }
}

/// What an object is of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Sound(RecordingFormat),
    Events,
}

/// What it is, by its name; others may have put other things into the bucket.
fn piece_of(object: &Object) -> Option<Piece> {
    let (_, name) = object.name.split_once('/').filter(|(owner, _)| is_name(owner))?;
    if let Some((call, format)) = sound_of(name) {
        return is_name(call).then_some(Piece::Sound(format));
    }
    let (call, kind) = name.split_once('.')?;
    (is_name(call) && kind == EVENTS).then_some(Piece::Events)
}

/// What the names of a call's recording begin with, and no other's; none, if one of the two has a
/// name that is not of ours.
fn beginning_of(owner: &UserId, call: &CallId) -> Option<String> {
    let are_ours = is_name(owner.as_str()) && is_name(call.as_str());
    are_ours.then(|| format!("{owner}/{call}."))
}

const EVENTS_KIND: &str = "application/x-ndjson";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_like_a_recording_is_one() {
        let piece = |name: &str| piece_of(&Object { name: name.into(), length: 1, put_ms: 1 });
        assert_eq!(piece("usr_1/call_1.ogg"), Some(Piece::Sound(RecordingFormat::Ogg)));
        assert_eq!(piece("usr_1/call_1.wav"), Some(Piece::Sound(RecordingFormat::Wav)));
        assert_eq!(piece("usr_1/call_1.jsonl"), Some(Piece::Events));
        for name in [
            "call_1.ogg",
            "usr_1/call_1",
            "usr_1/a/b.ogg",
            "usr_1/.ogg",
            "usr_1/a.b.ogg",
            "a/b.mp3",
        ] {
            assert_eq!(piece(name), None, "{name}");
        }
    }
}
