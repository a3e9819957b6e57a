//! Recordings of calls, for agents that ask for them: the sound in two channels, and beside it
//! what happened when.
//!
//! One thread writes all of them, so no call ever waits for a disk. A recording lies in the folder
//! of its owner, under the name of its call; while it is written its files have another name. If
//! there is a bucket, a task of its own carries there what has ended.

mod bucket;
mod carrier;
mod depot;
mod recorded;
mod shelf;
mod sink;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{Notify, oneshot};

use crate::agent::{Notification, RecordEntry, RecordingFormat, RecordingSpec};
use crate::ids::{AgentId, CallId, UserId};
use crate::media::Taped;
use crate::meter::{Counter, Meter};
use crate::privacy::Secret;
use crate::sys::clock;
use crate::sys::tasks::{self, Task};
use bucket::Bucket;
use carrier::Carrier;
use depot::Depot;
use shelf::Shelf;
use wire::{Happening, Line};

pub use recorded::{Recorded, Source};

/// Frames and lines of all recordings that may wait to be written, each with a copy of 1 kB. Each
/// recording has one place of these for its end.
///
/// When full: the frame is lost and counted, and there is silence in its place; or the line is,
/// which is logged.
const NOTES_CAPACITY: usize = 16_384;

/// Where recordings are kept, for how long, and how long one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPolicy {
    /// The folder, made if it is not there. No other gateway may use it.
    pub directory: PathBuf,
    /// For how long a recording is kept after its end.
    pub kept: Duration,
    /// How much of a call is recorded at most.
    pub longest: Duration,
    /// Where recordings are brought that have ended, if they are not to lie in the folder.
    pub bucket: Option<RecordingBucket>,
}

/// A bucket of an object storage that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingBucket {
    /// The URL of the storage.
    pub endpoint: String,
    /// Its region, which is a part of what is signed.
    pub region: String,
    /// The bucket, which must be there.
    pub name: String,
    /// What all names in it begin with, without the slash behind; may be empty.
    pub prefix: String,
    /// Whether the bucket is named in the path of URLs, and not in their host.
    pub path_style: bool,
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Whether recordings stay in the folder as well.
    pub keep_local: bool,
}

/// All recordings, and the way to who writes them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recordings {
    queue: mpsc::Sender<Note>,
    shelf: Arc<Shelf>,
    kept: Duration,
    meter: Meter,
    depot: Option<Depot>,
    _tasks: Arc<[Task]>,
}

/// What waits for the writer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of them are frames")]
enum Note {
    /// A recording begins.
    Begin(CallId, Box<Beginning>),
    /// More of its sound.
    Frame(CallId, Taped),
    /// Something has happened in its call.
    Line(CallId, Box<Line>),
    /// It ends, with its call or in the middle of it.
    End(CallId, Option<Ending>),
    /// Answered when all that came before is written.
    Flush(oneshot::Sender<()>),
}

/// What a recording begins with.
#[derive(Debug)]
struct Beginning {
    owner: UserId,
    format: RecordingFormat,
    first: Line,
}

/// How a call has ended.
#[derive(Debug)]
struct Ending {
    at_ms: u64,
    reason: String,
}

/// Whose call is recorded.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) owner: &'a UserId,
    pub(super) call: &'a CallId,
    pub(super) agent: &'a AgentId,
    pub(super) agent_name: &'a str,
}

impl Recordings {
    /// Makes the folder if it is not there, closes what a process before has left open, and starts
    /// the writer, who ends with the last recording, and who carries to the bucket. Blocks.
    pub fn open(policy: RecordingPolicy, meter: &Meter) -> io::Result<Self> {
        let RecordingPolicy { directory, kept, longest, bucket } = policy;
        let shelf = Arc::new(Shelf::open(directory)?);
        let mended = shelf.mend()?;
        if mended > 0 {
            tracing::info!(mended, "closed recordings that were left open");
        }
        let (queue, inbox) = mpsc::channel(NOTES_CAPACITY);
        let bell = Arc::new(Notify::new());
        let (mut tasks, mut depot) = (Vec::new(), None);
        if let Some(policy) = bucket {
            let there = depot.insert(Depot::new(Bucket::new(&policy)?)).clone();
            let (shelf, meter, bell) = (Arc::clone(&shelf), meter.clone(), Arc::clone(&bell));
            let is_kept = policy.keep_local;
            tasks.push(Carrier { shelf, depot: there, is_kept, meter, bell }.start());
        }
        let (theirs, counter) = (Arc::clone(&shelf), meter.clone());
        let write = move || writer::write(&theirs, longest, &counter, inbox, &bell);
        tasks.push(tasks::spawn_blocking(write));
        Ok(Self { queue, shelf, kept, meter: meter.clone(), depot, _tasks: tasks.into() })
    }

    /// Begins the recording of a call whose clock began at `began`; none, if too much waits.
    pub(super) fn begin(
        &self,
        subject: &Subject<'_>,
        spec: &RecordingSpec,
        began: Instant,
    ) -> Option<Recording> {
        let call = subject.call.clone();
        let ago = clock::now().saturating_duration_since(began);
        let first = Line::first(subject, spec, clock::unix_ms(), ago);
        let owner = subject.owner.clone();
        let beginning = Box::new(Beginning { owner, format: spec.format, first });
        let last_place = self.queue.clone().try_reserve_owned().ok();
        let begun = self.queue.try_send(Note::Begin(call.clone(), beginning));
        if last_place.is_none() || begun.is_err() {
            tracing::error!(%call, "too much waits to be recorded: this call is not");
            return None;
        }
        let (queue, meter) = (self.queue.clone(), self.meter.clone());
        Some(Recording { queue, meter, call, began, is_on: true, last_place })
    }

    /// Looks for the recording of an owner's call that has ended.
    pub(super) async fn find(&self, owner: &UserId, call: &CallId) -> io::Result<Option<Recorded>> {
        self.flush(FLUSH_PATIENCE).await;
        let (shelf, user, id) = (Arc::clone(&self.shelf), owner.clone(), call.clone());
        let here = off_thread(move || shelf.open_recording(&user, &id)).await?;
        // In this order: what is carried is there before it is gone from here.
        match &self.depot {
            Some(depot) if here.is_none() => depot.find(owner, call).await,
            Some(_) | None => Ok(here),
        }
    }

    /// Erases the recording of an owner's call that has ended; whether there was one.
    pub(super) async fn erase(&self, owner: &UserId, call: &CallId) -> io::Result<bool> {
        self.flush(FLUSH_PATIENCE).await;
        let (shelf, user, id) = (Arc::clone(&self.shelf), owner.clone(), call.clone());
        let was_here = off_thread(move || shelf.erase(&user, &id)).await?;
        // In this order: what is on its way there is erased by its carrier, who misses it here.
        let Some(depot) = &self.depot else { return Ok(was_here) };
        Ok(depot.erase(owner, call).await? || was_here)
    }

    /// Erases what ended longer ago than recordings are kept; how many there were, here and there.
    pub(super) async fn sweep(&self) -> io::Result<usize> {
        let (shelf, kept) = (Arc::clone(&self.shelf), self.kept);
        let here = off_thread(move || shelf.sweep(kept)).await?;
        let Some(depot) = &self.depot else { return Ok(here) };
        Ok(here + depot.sweep(kept).await?)
    }

    /// Waits until all that was noted so far is written; whether it is, after `patience`.
    pub(super) async fn flush(&self, patience: Duration) -> bool {
        let (reply, written) = oneshot::channel();
        let flushed =
            async { self.queue.send(Note::Flush(reply)).await.is_ok() && written.await.is_ok() };
        tokio::time::timeout(patience, flushed).await.unwrap_or(false)
    }
}

/// The recording of one call. It never waits. When it is dropped, the recording ends.
#[derive(Debug)]
pub(super) struct Recording {
    queue: mpsc::Sender<Note>,
    meter: Meter,
    call: CallId,
    began: Instant,
    /// Whether what happens is noted: not while an agent has the call that asks for no recording.
    is_on: bool,
    /// For the end; gone when it was told.
    last_place: Option<OwnedPermit<Note>>,
}

impl Recording {
    /// Another agent has the call: notes nothing until it is to go on.
    pub(super) const fn pause(&mut self) {
        self.is_on = false;
    }

    /// Goes on, for an agent that asks for it.
    pub(super) const fn resume(&mut self) {
        self.is_on = true;
    }

    /// More of the sound.
    #[expect(clippy::large_types_passed_by_value, reason = "the queue takes it by value")]
    pub(super) fn put(&self, taped: Taped) {
        if self.is_on && self.queue.try_send(Note::Frame(self.call.clone(), taped)).is_err() {
            self.meter.count(Counter::RecordingFrameQueue);
        }
    }

    /// Something that clients are told.
    pub(super) fn hear(&self, told: &Notification, now: Instant) {
        let at_ms = now.saturating_duration_since(self.began).as_millis();
        let at_ms = u64::try_from(at_ms).unwrap_or(u64::MAX);
        self.note(Line::told(told, at_ms));
    }

    /// Something that goes on record. The last entry ends the recording.
    pub(super) fn on_entry(&mut self, entry: &RecordEntry) {
        match entry {
            RecordEntry::Tool(tool) => {
                self.note(Some(Line::new(tool.asked_ms + tool.took_ms, Happening::tool(tool))));
            }
            RecordEntry::Ended { reason, at_ms } => {
                self.end(Some(Ending { at_ms: *at_ms, reason: reason.clone() }));
            }
            RecordEntry::HandedOff { to, reason, at_ms } => {
                self.note(Some(Line::new(*at_ms, Happening::handed_off(to, reason))));
            }
            RecordEntry::Began { .. }
            | RecordEntry::Participant(_)
            | RecordEntry::Line(_)
            | RecordEntry::Turn(_) => {}
        }
    }

    fn note(&self, line: Option<Line>) {
        let Some(line) = line.filter(|_| self.is_on) else { return };
        if self.queue.try_send(Note::Line(self.call.clone(), Box::new(line))).is_err() {
            tracing::error!(call = %self.call, "too much waits to be recorded: a line is lost");
        }
    }

    fn end(&mut self, ending: Option<Ending>) {
        if let Some(place) = self.last_place.take() {
            place.send(Note::End(self.call.clone(), ending));
        }
    }
}

impl Drop for Recording {
    /// An agent that goes in the middle of a call has crashed.
    fn drop(&mut self) {
        self.end(None);
    }
}

/// Does something with files off the async threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tasks::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// How long whoever asks for a recording waits for the writer.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(5);
