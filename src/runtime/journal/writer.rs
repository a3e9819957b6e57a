//! The thread that writes journals: appends, flushes when nothing waits, ends what is too large.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::wire::End;
use super::{JournalPolicy, Note};

/// Makes the folder of all journals, for the operator's user alone.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Deletes what was last written longer ago than `kept`; how many files.
pub(super) fn sweep(directory: &Path, kept: Duration) -> io::Result<usize> {
    let mut count = 0;
    for entry in directory.read_dir()? {
        let entry = entry?;
        let is_ours = entry.path().extension().is_some_and(|extension| extension == "jsonl");
        // A file from the future is young.
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_ours && age > kept {
            std::fs::remove_file(entry.path())?;
            count += 1;
        }
    }
    Ok(count)
}

/// Writes what is noted, until nobody can note anything any more.
pub(super) fn write(policy: &JournalPolicy, mut inbox: mpsc::Receiver<Note>) {
    let mut shelf = Shelf { policy, open: BTreeMap::new() };
    loop {
        let note = inbox.try_recv().ok().or_else(|| {
            shelf.flush();
            inbox.blocking_recv()
        });
        match note {
            Some(note) => shelf.take(note),
            None => return,
        }
    }
}

/// The journals that are open.
struct Shelf<'a> {
    policy: &'a JournalPolicy,
    open: BTreeMap<Arc<str>, Page>,
}

struct Page {
    to: BufWriter<File>,
    bytes: u64,
}

impl Shelf<'_> {
    fn take(&mut self, note: Note) {
        match note {
            Note::Begin(file, header) => match self.begin(&file) {
                Ok(page) => {
                    self.open.insert(Arc::clone(&file), page);
                    self.append(&file, &header);
                }
                Err(error) => tracing::error!(%error, file = &*file, "no journal can be made"),
            },
            Note::Entry(file, entry) => self.append(&file, &entry),
            Note::End(file, why) => self.end(&file, why),
            Note::Flush(reply) => {
                self.flush();
                // Whoever has lost patience needs no answer.
                let _ = reply.send(());
            }
        }
    }

    fn begin(&self, file: &str) -> io::Result<Page> {
        let path = self.policy.directory.join(file);
        let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Page { to: BufWriter::new(to), bytes: 0 })
    }

    /// Adds a line to a journal, if it is still open.
    fn append(&mut self, file: &Arc<str>, line: &impl Serialize) {
        let Some(page) = self.open.get_mut(file) else { return };
        if let Err(error) = page.append(line) {
            tracing::error!(%error, file = &**file, "a journal cannot be written: it ends");
            self.open.remove(file);
        } else if page.bytes >= self.policy.bytes_max {
            self.end(file, "the journal is as large as it may become");
        }
    }

    fn end(&mut self, file: &Arc<str>, why: &str) {
        let Some(mut page) = self.open.remove(file) else { return };
        let ended = page.append(&End { end: why.to_owned() }).and_then(|()| page.to.flush());
        if let Err(error) = ended {
            tracing::error!(%error, file = &**file, "a journal's end cannot be written");
        }
    }

    fn flush(&mut self) {
        for (file, page) in &mut self.open {
            if let Err(error) = page.to.flush() {
                tracing::error!(%error, file = &**file, "a journal cannot be written");
            }
        }
    }
}

impl Page {
    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.bytes += text.len() as u64;
        self.to.write_all(&text)
    }
}
