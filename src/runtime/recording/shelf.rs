//! The folder of recordings: what lies where, and how what was left open is closed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::recorded::{Recorded, Source};
use super::wire::{Happening, Line, at_ms_of};
use crate::agent::RecordingFormat;
use crate::ids::{CallId, UserId};
use crate::media::{PAGE_HEADER, is_sound_page, mark_last_page, page_length};

/// The folder, with one folder in it for each owner.
#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

/// A recording in the folder that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shelved {
    /// What the sound is written as.
    pub(super) format: RecordingFormat,
    pub(super) sound: PathBuf,
    pub(super) events: PathBuf,
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

    /// The recording of a call, if it lies here and has ended.
    pub(super) fn find(&self, owner: &UserId, call: &CallId) -> io::Result<Option<Shelved>> {
        let Some(folder) = self.folder_of(owner, call) else { return Ok(None) };
        for format in FORMATS {
            let sound = folder.join(format!("{call}.{}", format.as_str()));
            if sound.try_exists()? {
                return Ok(Some(Shelved::of(sound, format)));
            }
        }
        Ok(None)
    }

    /// The same, open to be read: whatever becomes of its files then.
    pub(super) fn open_recording(
        &self,
        owner: &UserId,
        call: &CallId,
    ) -> io::Result<Option<Recorded>> {
        let Some(Shelved { format, sound, events }) = self.find(owner, call)? else {
            return Ok(None);
        };
        let Some(sound) = open_if_there(&sound)? else { return Ok(None) };
        let events = open_if_there(&events)?;
        Ok(Some(Recorded { format, sound, events }))
    }

    /// What has ended and is not stored elsewhere, the oldest first; so many at most.
    pub(super) fn unstored(&self, most: usize) -> io::Result<Vec<Shelved>> {
        let mut found = Vec::new();
        for path in self.files()? {
            let Some(format) = format_of(&path) else { continue };
            if path.with_extension(STORED).try_exists()? {
                continue;
            }
            if let Some(at) = modified(&path)? {
                found.push((at, Shelved::of(path, format)));
            }
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().take(most).map(|(_, one)| one).collect())
    }

    /// Erases the recording of a call, if it has ended; whether there was one.
    pub(super) fn erase(&self, owner: &UserId, call: &CallId) -> io::Result<bool> {
        let Some(found) = self.find(owner, call)? else { return Ok(false) };
        remove_all(&found.sound)?;
        Ok(true)
    }

    /// Erases what was last written longer ago than `kept`, and what is left of something that is
    /// not there any more; how many recordings.
    pub(super) fn sweep(&self, kept: Duration) -> io::Result<usize> {
        let mut count = 0;
        for path in self.files()?.into_iter().filter(|path| is_finished(path)) {
            // A file from the future is young, and one that has gone is somebody else's work.
            let age = modified(&path)?.and_then(|at| at.elapsed().ok()).unwrap_or_default();
            let is_sound = format_of(&path).is_some();
            if age > kept && (is_sound || !has_sound(&path)?) {
                remove_all(&path)?;
                count += usize::from(is_sound);
            }
        }
        Ok(count)
    }

    /// Closes what a process that is gone has left open, and marks it; how many recordings. What
    /// has no sound yet is none, and goes.
    pub(super) fn mend(&self) -> io::Result<usize> {
        let parts = self.files()?.into_iter().filter(|path| kind_of(path) == Some(PART));
        let (events, sounds): (Vec<_>, Vec<_>) =
            parts.partition(|path| kind_of(&path.with_extension("")) == Some(EVENTS));
        let mut count = 0;
        for part in sounds {
            let whole = part.with_extension("");
            let has_sound = match format_of(&whole) {
                Some(RecordingFormat::Ogg) => mend_ogg(&part)?,
                Some(RecordingFormat::Wav) => mend_wav(&part)?,
                None => continue,
            };
            if has_sound {
                fs::rename(&part, &whole)?;
                count += 1;
            } else {
                remove(&part)?;
            }
        }
        for part in events {
            let whole = part.with_extension("");
            if has_sound(&whole)? {
                mark_interrupted(&part)?;
                fs::rename(&part, &whole)?;
            } else {
                remove(&part)?;
            }
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

impl Shelved {
    fn of(sound: PathBuf, format: RecordingFormat) -> Self {
        Self { format, events: sound.with_extension(EVENTS), sound }
    }

    /// Notes that it is stored elsewhere, and removes it here if it is not to be kept;
    /// whether it was still there.
    pub(super) fn settle(&self, is_kept: bool) -> io::Result<bool> {
        if !is_kept {
            let was_there = self.sound.try_exists()?;
            remove_all(&self.sound)?;
            return Ok(was_there);
        }
        // Noted first: whoever erases between these two steps finds the note and takes it along.
        let note = self.sound.with_extension(STORED);
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&note)?;
        let is_there = self.sound.try_exists()?;
        if !is_there {
            remove(&note)?;
        }
        Ok(is_there)
    }

    /// The owner's folder and the name of the sound in it.
    pub(super) fn sound_name(&self) -> String {
        name_of(&self.sound)
    }

    /// The same of the events.
    pub(super) fn events_name(&self) -> String {
        name_of(&self.events)
    }

    /// What both names begin with, and none of another recording's.
    pub(super) fn beginning(&self) -> String {
        name_of(&self.sound.with_extension("")) + "."
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

/// Has the header tell the length that the file has; whether there is any sound.
fn mend_wav(path: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut header = vec![0; usize::try_from(length.min(WAV_HEADER_MAX)).unwrap_or_default()];
    file.read_exact(&mut header)?;
    let Some(data) = header.windows(4).position(|four| four == b"data") else { return Ok(false) };
    let begins = data as u64 + 8;
    // Half a sample of both channels is none.
    let sound = length.saturating_sub(begins) / 4 * 4;
    let (riff, bytes) = (u32::try_from(begins + sound - 8), u32::try_from(sound));
    let (riff, bytes) = (riff.map_err(io::Error::other)?, bytes.map_err(io::Error::other)?);
    file.set_len(begins + sound)?;
    for (at, length) in [(4, riff), (data as u64 + 4, bytes)] {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&length.to_le_bytes())?;
    }
    Ok(sound > 0)
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

/// Removes all files of a recording, by any of them. The sound goes last: as long as it is there,
/// whoever has failed can try again.
fn remove_all(path: &Path) -> io::Result<()> {
    for kind in [STORED, EVENTS].into_iter().chain(FORMATS.map(RecordingFormat::as_str)) {
        remove(&path.with_extension(kind))?;
    }
    Ok(())
}

fn open_if_there(path: &Path) -> io::Result<Option<Source>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => Source::file(opened?).map(Some),
    }
}

/// When a file was last written; none, if it has gone meanwhile.
fn modified(path: &Path) -> io::Result<Option<SystemTime>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found?.modified().map(Some),
    }
}

/// Whether the sound lies beside a file of a recording, or is being written there.
fn has_sound(path: &Path) -> io::Result<bool> {
    for format in FORMATS.map(RecordingFormat::as_str) {
        let sound = path.with_extension(format);
        if sound.try_exists()? || sound.with_extension(format!("{format}.{PART}")).try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is a file of a recording that is not being written.
fn is_finished(path: &Path) -> bool {
    format_of(path).is_some() || matches!(kind_of(path), Some(EVENTS | STORED))
}

fn format_of(path: &Path) -> Option<RecordingFormat> {
    FORMATS.into_iter().find(|format| kind_of(path) == Some(format.as_str()))
}

/// The call of a sound, and what it is written as, by the sound's name.
pub(super) fn sound_of(name: &str) -> Option<(&str, RecordingFormat)> {
    let (call, _) = name.split_once('.')?;
    let format = format_of(Path::new(name))?;
    (name.len() == call.len() + 1 + format.as_str().len()).then_some((call, format))
}

/// A file's folder and name.
fn name_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let name = path.file_name().unwrap_or_default();
    format!("{}/{}", folder.to_string_lossy(), name.to_string_lossy())
}

fn kind_of(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}

/// Whether this may stand in a path: ids of ours are of these characters only.
pub(super) fn is_name(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

const FORMATS: [RecordingFormat; 2] = [RecordingFormat::Ogg, RecordingFormat::Wav];
pub(super) const EVENTS: &str = "jsonl";
/// What the name of a file ends with while it is written.
const PART: &str = "part";
/// An empty file that says: this recording, which is kept here, is stored elsewhere as well.
const STORED: &str = "stored";
/// What stands before the sound of a WAV of ours is shorter.
const WAV_HEADER_MAX: u64 = 256;
