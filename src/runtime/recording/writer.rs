//! The thread that writes recordings: puts the channels together, codes, appends, and ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::shelf::{Draft, Shelf, create};
use super::sink::Sink;
use super::wire::{Happening, Line};
use super::{Beginning, Ending, Note};
use crate::ids::CallId;
use crate::media::{Reel, Taped};
use crate::meter::{Counter, Meter};

/// Writes what is noted, until nobody can note anything any more. Rings when a recording is there.
pub(super) fn write(
    shelf: &Shelf,
    longest: Duration,
    meter: &Meter,
    mut inbox: mpsc::Receiver<Note>,
    bell: &Notify,
) {
    let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).saturating_mul(24);
    let mut desk = Desk { shelf, longest, meter, bell, open: BTreeMap::new() };
    while let Some(note) = inbox.blocking_recv() {
        desk.take(note);
    }
}

/// The recordings that are open.
struct Desk<'a> {
    shelf: &'a Shelf,
    /// How many samples a recording may have.
    longest: u64,
    meter: &'a Meter,
    bell: &'a Notify,
    open: BTreeMap<CallId, Open>,
}

/// One of them.
struct Open {
    draft: Draft,
    sink: Sink,
    events: File,
    reel: Reel,
    is_full: bool,
}

impl Desk<'_> {
    fn take(&mut self, note: Note) {
        match note {
            Note::Begin(call, beginning) => match self.begin(&call, &beginning) {
                Ok(open) => {
                    self.meter.count(Counter::RecordingBegun);
                    self.open.insert(call, open);
                }
                Err(error) => {
                    self.meter.count(Counter::RecordingFailed);
                    tracing::error!(%error, %call, "no recording can be made");
                }
            },
            Note::Frame(call, taped) => self.change(&call, |open, desk| open.put(&taped, desk)),
            Note::Line(call, line) => self.change(&call, |open, _| open.write_line(&line)),
            Note::End(call, ending) => self.end(&call, ending),
            Note::Flush(reply) => {
                // Whoever has lost patience needs no answer.
                let _ = reply.send(());
            }
        }
    }

    fn begin(&self, call: &CallId, beginning: &Beginning) -> io::Result<Open> {
        let Beginning { owner, format, first } = beginning;
        let draft = self.shelf.draft(owner, call, *format)?;
        let (events, sink) = (create(&draft.events)?, Sink::begin(&draft.sound, *format)?);
        let mut open = Open { draft, sink, events, reel: Reel::new(), is_full: false };
        open.write_line(first)?;
        Ok(open)
    }

    /// Does something to a recording, if it is still open. One that cannot be written ends.
    fn change(&mut self, call: &CallId, how: impl FnOnce(&mut Open, &Self) -> io::Result<()>) {
        let Some(mut open) = self.open.remove(call) else { return };
        match how(&mut open, self) {
            Ok(()) => {
                self.open.insert(call.clone(), open);
            }
            Err(error) => self.fail(call, &error),
        }
    }

    fn end(&mut self, call: &CallId, ending: Option<Ending>) {
        let Some(open) = self.open.remove(call) else { return };
        match open.end(ending, self) {
            Ok(()) => {
                self.meter.count(Counter::RecordingFinished);
                self.bell.notify_one();
            }
            Err(error) => self.fail(call, &error),
        }
    }

    /// What was written stays under its other name, and is closed when the gateway starts again.
    fn fail(&self, call: &CallId, error: &io::Error) {
        self.meter.count(Counter::RecordingLost);
        tracing::error!(%error, %call, "a recording cannot be written: it ends");
    }
}

impl Open {
    fn put(&mut self, taped: &Taped, desk: &Desk<'_>) -> io::Result<()> {
        let end = taped.at + taped.frame.len() as u64;
        if end > desk.longest {
            return self.fill_up(desk);
        }
        self.reel.reach(end);
        self.spill(desk)?;
        if !self.reel.add(taped) {
            desk.meter.count(Counter::RecordingFrameLate);
        }
        Ok(())
    }

    /// Says once that nothing more is recorded.
    fn fill_up(&mut self, desk: &Desk<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.is_full, true) {
            return Ok(());
        }
        self.write_line(&Line::new(desk.longest / 24, Happening::Full))
    }

    /// Writes the sound in which nothing more comes.
    fn spill(&mut self, desk: &Desk<'_>) -> io::Result<()> {
        while let Some(frames) = self.reel.pull() {
            let bytes = self.sink.put(&frames)?;
            desk.meter.add(Counter::RecordingBytes, bytes);
        }
        Ok(())
    }

    fn write_line(&mut self, line: &Line) -> io::Result<()> {
        self.events.write_all(&line.text().map_err(io::Error::other)?)
    }

    fn end(mut self, ending: Option<Ending>, desk: &Desk<'_>) -> io::Result<()> {
        let known_ms = self.reel.reached() / 24;
        let Ending { at_ms, reason } =
            ending.unwrap_or_else(|| Ending { at_ms: known_ms, reason: CRASHED.to_owned() });
        self.reel.finish(at_ms.saturating_mul(24).min(desk.longest));
        self.spill(desk)?;
        self.write_line(&Line::new(at_ms, Happening::Ended { reason }))?;
        let bytes = self.sink.finish()?;
        desk.meter.add(Counter::RecordingBytes, bytes);
        self.draft.publish()
    }
}

/// Why a recording ended whose agent's task has panicked.
const CRASHED: &str = "agent crashed";
