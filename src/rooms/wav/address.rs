//! The address of a recorded caller: `wav:PATH?out=PATH&wait=SECONDS&quiet=SECONDS`.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use super::record::Record;
use crate::agent::RoomFailure;
use crate::media::{Manners, Wait, read_wav};

/// A recorded caller: `wav:PATH?out=PATH`, with percent-encoding as in any URL. Paths are the
/// gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// What the caller says.
    pub path: PathBuf,
    /// Where what the agent says is written, if anywhere.
    pub out: Option<PathBuf>,
    /// When the caller begins to speak, and when they hang up.
    pub manners: Manners,
}

impl Recording {
    /// Reads what follows `wav:`.
    pub(in crate::rooms) fn parse(rest: &str) -> Option<Self> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut recording = Self {
            path: decoded(path).filter(|path| !path.is_empty())?.into(),
            out: None,
            manners: Manners::default(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=')?;
            recording.take(key, &decoded(value).filter(|value| !value.is_empty())?)?;
        }
        Some(recording)
    }

    /// A parameter that nobody knows is a mistake, not a wish to be passed over.
    fn take(&mut self, key: &str, value: &str) -> Option<()> {
        let manners = &mut self.manners;
        match key {
            "out" => self.out = Some(value.into()),
            "wait" if value == "greeting" => manners.wait = Wait::Greeting,
            "wait" => manners.wait = Wait::For(seconds(value)?),
            "quiet" => manners.quiet = seconds(value)?,
            "patience" => manners.patience = seconds(value)?,
            _ => return None,
        }
        Some(())
    }

    /// What the caller is called: the file's name without its ending.
    #[must_use]
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// Reads what the caller says, as mono at 24 kHz. Blocks.
    pub fn read(&self) -> Result<Vec<i16>, RoomFailure> {
        let name = self.path.display();
        let unreadable = |error: std::io::Error| {
            if error.kind() == ErrorKind::NotFound {
                return RoomFailure::NotFound;
            }
            RoomFailure::Media(format!("{name} cannot be read: {error}"))
        };
        // A pipe or a device may have no end, or make whoever opens it wait.
        let about = std::fs::metadata(&self.path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(RoomFailure::Media(format!("{name} is no file")));
        }
        let file = File::open(&self.path).map_err(unreadable)?;
        read_wav(BufReader::new(file))
            .map_err(|error| RoomFailure::Media(format!("{name} {error}")))
    }

    /// Begins the record of what the agent says, if one is wanted. Blocks.
    pub fn record(&self) -> Result<Option<Record>, RoomFailure> {
        self.out.clone().map(Record::begin).transpose()
    }
}

/// A number of seconds, at most an hour.
fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.parse().ok().and_then(|value| Duration::try_from_secs_f64(value).ok())?;
    (seconds <= SECONDS_MAX).then_some(seconds)
}

/// A text without its percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let digits =
            part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

const SECONDS_MAX: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_has_a_path_and_may_have_a_record() {
        let plain = Recording::parse("fixtures/question.wav").unwrap();
        assert_eq!(plain.path, PathBuf::from("fixtures/question.wav"));
        assert_eq!((plain.out.clone(), plain.manners), (None, Manners::default()));
        assert_eq!(plain.name(), "question");
        let both = Recording::parse("/tmp/a%20b%3f.wav?out=/tmp/%C3%A9.wav").unwrap();
        assert_eq!(both.path, PathBuf::from("/tmp/a b?.wav"));
        assert_eq!(both.out, Some(PathBuf::from("/tmp/é.wav")));
    }

    #[test]
    fn the_callers_manners_may_be_chosen() {
        let polite = Recording::parse("a.wav?wait=greeting&quiet=1.5&patience=9").unwrap();
        assert_eq!(
            polite.manners,
            Manners {
                wait: Wait::Greeting,
                quiet: Duration::from_millis(1_500),
                patience: Duration::from_secs(9),
            }
        );
        let eager = Recording::parse("a.wav?wait=0").unwrap();
        assert_eq!(eager.manners.wait, Wait::For(Duration::ZERO));
    }

    #[test]
    fn what_makes_no_sense_is_no_recording() {
        for text in [
            "",
            "?out=a.wav",
            "a.wav?out",
            "a.wav?out=",
            "a.wav?quiet=long",
            "a.wav?quiet=-1",
            "a.wav?quiet=1e9",
            "a.wav?loud=1",
            "a%2.wav",
            "a%zz.wav",
            "a%ff.wav",
            "a%00.wav",
            "a%+1.wav",
            "a%é.wav",
        ] {
            assert_eq!(Recording::parse(text), None, "{text}");
        }
    }
}
