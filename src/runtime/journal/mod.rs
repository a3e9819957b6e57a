//! The flight recorder, off unless asked for: everything that goes into the cores of agents, and
//! what comes out, so that any of their lives can be lived again (see [`Replay`]).
//!
//! A journal holds what people said and heard. Each agent's life is a file of its own, which only
//! the operator's user may read. One thread writes all of them, so no agent ever waits for a disk.

mod digest;
mod replay;
mod seed;
mod shapes;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::oneshot;

use super::core::{Effect, Seed, Stimulus};
use crate::agent::Rejection;
use crate::ids::AgentId;
use crate::sys::clock;
use crate::sys::tasks::{self, Task};
use wire::{Entry, Epoch, Header, Input};

pub use replay::{Difference, Moment, Replay, ReplayError, Summary};

/// Notes that may wait to be written. Each journal has one place of these for its end.
///
/// When full: the journal whose note does not fit ends, and says so; its call is untouched.
const NOTES_CAPACITY: usize = 16_384;

/// Where journals are kept, and how large one may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalPolicy {
    /// The folder, made if it is not there.
    pub directory: PathBuf,
    /// How large one file may become; then it ends, and says so.
    pub bytes_max: u64,
}

/// The way to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<Note>,
    epoch: Epoch,
    directory: Arc<PathBuf>,
    _writer: Arc<Task>,
}

/// What waits for the writer.
#[derive(Debug)]
enum Note {
    /// A journal begins in this file.
    Begin(Arc<str>, Box<Header>),
    /// It goes on.
    Entry(Arc<str>, Box<Entry>),
    /// It ends, for this reason.
    End(Arc<str>, &'static str),
    /// Answered when all that came before is written.
    Flush(oneshot::Sender<()>),
}

impl Journal {
    /// Makes the folder if it is not there, and starts the writer, who ends with the last journal.
    pub fn open(policy: JournalPolicy) -> io::Result<Self> {
        writer::prepare(&policy.directory)?;
        let (queue, inbox) = mpsc::channel(NOTES_CAPACITY);
        let directory = Arc::new(policy.directory.clone());
        let writer = tasks::spawn_blocking(move || writer::write(&policy, inbox));
        Ok(Self { queue, epoch: Epoch(clock::now()), directory, _writer: Arc::new(writer) })
    }

    /// Begins the journal of an agent that is made at `now`; none, if too much waits to be written.
    pub(super) fn begin(&self, agent: &AgentId, seed: &Seed, now: Instant) -> Option<Pen> {
        let file: Arc<str> = format!("{agent}-{}.jsonl", clock::unix_ms()).into();
        let header = Header::new(agent.clone(), seed, self.epoch.ns(now), self.epoch);
        let last_place = self.queue.clone().try_reserve_owned().ok();
        let begun = self.queue.try_send(Note::Begin(Arc::clone(&file), header.into()));
        if last_place.is_none() || begun.is_err() {
            tracing::error!(%agent, "too much waits to be journaled: this agent is not");
            return None;
        }
        Some(Pen { queue: self.queue.clone(), epoch: self.epoch, file, last_place })
    }

    /// Waits until everything noted so far is written, or until patience is over; whether it is.
    pub(super) async fn flush(&self, patience: Duration) -> bool {
        let (reply, written) = oneshot::channel();
        let flushed =
            async { self.queue.send(Note::Flush(reply)).await.is_ok() && written.await.is_ok() };
        tokio::time::timeout(patience, flushed).await.unwrap_or(false)
    }

    /// Deletes journals that were last written longer ago than `kept`.
    pub(super) async fn sweep(&self, kept: Duration) {
        let directory = Arc::clone(&self.directory);
        let swept = tasks::spawn_blocking(move || writer::sweep(&directory, kept)).await;
        match swept {
            Ok(Ok(count)) => tracing::debug!(count, "deleted old journals"),
            Ok(Err(error)) => tracing::error!(%error, "old journals could not be deleted"),
            Err(error) => tracing::error!(%error, "the sweep of journals has failed"),
        }
    }
}

/// What one agent's journal is written with. It never waits.
#[derive(Debug)]
pub(super) struct Pen {
    queue: mpsc::Sender<Note>,
    epoch: Epoch,
    file: Arc<str>,
    /// For the end; gone when the journal has ended.
    last_place: Option<OwnedPermit<Note>>,
}

/// A stimulus that is about to be handled.
#[derive(Debug)]
pub(super) struct Draft {
    at: Instant,
    input: Input,
}

impl Pen {
    /// The file, for whoever takes over.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Takes note of a stimulus; `from` is the file of whoever hands over, if it does.
    pub(super) fn draft(&self, stimulus: &Stimulus, from: Option<&str>, at: Instant) -> Draft {
        Draft { at, input: Input::of(stimulus, from, self.epoch, at) }
    }

    /// Writes down what has come of a stimulus.
    pub(super) fn write<'a>(
        &mut self,
        draft: Draft,
        outcome: &Result<(), Rejection>,
        effects: impl Iterator<Item = &'a Effect>,
    ) {
        if self.last_place.is_none() {
            return;
        }
        let Draft { at, input } = draft;
        let answer = matches!(input, Input::Command(_) | Input::Reconfigure { .. })
            .then(|| digest::of_outcome(outcome));
        let outputs = answer.into_iter().chain(effects.map(digest::of_effect)).collect();
        let entry = Entry { at_ns: self.epoch.ns(at), input, outputs };
        if self.queue.try_send(Note::Entry(Arc::clone(&self.file), entry.into())).is_err() {
            tracing::error!(file = &*self.file, "too much waits to be journaled: this one ends");
            self.end("too much waited to be written");
        }
    }

    fn end(&mut self, why: &'static str) {
        if let Some(place) = self.last_place.take() {
            place.send(Note::End(Arc::clone(&self.file), why));
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.end("the agent has ended");
    }
}
