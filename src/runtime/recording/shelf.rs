//! The folder of recordings: what lies where, and how what was left open is closed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{Happening, Line, at_ms_of};
use crate::agent::RecordingFormat;
use crate::ids::{CallId, UserId};
use crate::media::{PAGE_HEADER, is_sound_page, mark_last_page, page_length};

/// The folder, with one folder in it for each owner.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

/// A recording that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What the sound is written as.
    pub format: RecordingFormat,
    /// The sound: left the participants, right the agent.
    pub sound: PathBuf,
    /// What happened when: one JSON object a line.
    pub events: PathBuf,
}

/// Where a recording lies while it is written.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) sound: PathBuf,
    pub(super) events: PathBuf,
}

impl Shelf {
    /// Makes the folder if it is not there, for the gateway's user alone.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        make_folder(&directory)?;
        Ok(Self { directory })
    }

    /// Where a new recording is to be written; its folder is there.
    pub(super) fn draft(
        &self,
        owner: &UserId,
        call: &CallId,
        format: RecordingFormat,
    ) -> io::Result<Draft> {
        let Some(folder) = self.folder_of(owner, call) else {
            return Err(io::Error::other("the call's name is none of ours"));
        };
        make_folder(&folder)?;
        let path = |kind: &str| folder.join(format!("{call}.{kind}.{PART}"));
        Ok(Draft { sound: path(format.as_str()), events: path(EVENTS) })
    }

    /// The recording of a call, if it has ended.
    pub(super) fn find(&self, owner: &UserId, call: &CallId) -> io::Result<Option<Recorded>> {
        let Some(folder) = self.folder_of(owner, call) else { return Ok(None) };
        for format in FORMATS {
            let sound = folder.join(format!("{call}.{}", format.as_str()));
            if sound.try_exists()? {
                let events = folder.join(format!("{call}.{EVENTS}"));
                return Ok(Some(Recorded { format, sound, events }));
            }
        }
        Ok(None)
    }

    /// Erases the recording of a call, if it has ended; whether there was one.
    pub(super) fn erase(&self, owner: &UserId, call: &CallId) -> io::Result<bool> {
        let Some(Recorded { sound, events, .. }) = self.find(owner, call)? else {
            return Ok(false);
        };
        // The sound goes last: as long as it is there, whoever has failed can try again.
        remove(&events)?;
        remove(&sound)?;
        Ok(true)
    }

    /// Erases what was last written longer ago than `kept`; how many recordings.
    pub(super) fn sweep(&self, kept: Duration) -> io::Result<usize> {
        let mut count = 0;
        for path in self.files()?.into_iter().filter(|path| is_sound(path)) {
            // A file from the future is young.
            let age = fs::metadata(&path)?.modified()?.elapsed().unwrap_or_default();
            if age > kept {
                remove(&path.with_extension(EVENTS))?;
                remove(&path)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Closes what a process that is gone has left open, and marks it; how many recordings.
    pub(super) fn mend(&self) -> io::Result<usize> {
        let mut count = 0;
        for part in self.files()?.into_iter().filter(|path| kind_of(path) == Some(PART)) {
            let whole = part.with_extension("");
            match kind_of(&whole) {
                Some(EVENTS) => mark_interrupted(&part)?,
                Some("ogg") => count += usize::from(mend_ogg(&part)?),
                _ => count += 1,
            }
            fs::rename(&part, &whole)?;
        }
        Ok(count)
    }

    /// The owner's folder; none, if one of the two has a name that is not of ours.
    fn folder_of(&self, owner: &UserId, call: &CallId) -> Option<PathBuf> {
        let are_ours = is_name(owner.as_str()) && is_name(call.as_str());
        are_ours.then(|| self.directory.join(owner.as_str()))
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for folder in self.directory.read_dir()? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                for file in folder.path().read_dir()? {
                    files.push(file?.path());
                }
            }
        }
        Ok(files)
    }
}

impl Draft {
    /// Gives both files their names: the recording has ended.
    pub(super) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.events, self.events.with_extension(""))?;
        fs::rename(&self.sound, self.sound.with_extension(""))
    }
}

/// Cuts off what is no whole page, and makes the last page the end; whether there is any.
fn mend_ogg(path: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut reader = BufReader::new(&file);
    let (mut end, mut last) = (0, Vec::new());
    while let Some(page) = read_page(&mut reader)? {
        end += page.len() as u64;
        last = page;
    }
    file.set_len(end)?;
    if last.is_empty() {
        return Ok(false);
    }
    mark_last_page(&mut last);
    file.seek(SeekFrom::Start(end - last.len() as u64))?;
    file.write_all(&last)?;
    Ok(true)
}

/// The next page, if it is all there and as it was written.
fn read_page(reader: &mut BufReader<&File>) -> io::Result<Option<Vec<u8>>> {
    let mut page = vec![0; PAGE_HEADER];
    let read = read_whole(reader, &mut page, 0)?;
    let laces = usize::from(page[PAGE_HEADER - 1]);
    page.resize(PAGE_HEADER + laces, 0);
    if !read || !read_whole(reader, &mut page, PAGE_HEADER)? {
        return Ok(None);
    }
    let Some(length) = page_length(&page) else { return Ok(None) };
    page.resize(PAGE_HEADER + length, 0);
    let is_whole = read_whole(reader, &mut page, PAGE_HEADER + laces)?;
    Ok((is_whole && is_sound_page(&page)).then_some(page))
}

/// Fills the buffer from here on; false if the file ends before.
fn read_whole(reader: &mut BufReader<&File>, into: &mut [u8], from: usize) -> io::Result<bool> {
    match reader.read_exact(&mut into[from..]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Cuts off half a line, and says in the next one that the recording was left open.
fn mark_interrupted(path: &Path) -> io::Result<()> {
    let text = fs::read(path)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let last = text[..end].split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty());
    let at_ms = last.and_then(at_ms_of).unwrap_or_default();
    let line = Line::new(at_ms, Happening::Interrupted).text().map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end as u64)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&line)
}

/// Makes a file that was not there, for the gateway's user alone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a file; that it is not there is no failure.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_sound(path: &Path) -> bool {
    FORMATS.iter().any(|format| kind_of(path) == Some(format.as_str()))
}

fn kind_of(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

/// Whether this may stand in a path: ids of ours are of these characters only.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

const FORMATS: [RecordingFormat; 2] = [RecordingFormat::Ogg, RecordingFormat::Wav];
const EVENTS: &str = "jsonl";
/// What the name of a file ends with while it is written.
const PART: &str = "part";
