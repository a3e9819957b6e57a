//! Where settings come from, and how a stronger source replaces a weaker one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::flags::GlobalArgs;
use super::mistakes::Mistake;
use super::settings::{SETTINGS, setting};

/// Everything that settings are read from. A test fills it by hand; nothing else is looked at.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; the weakest source.
    pub file: ConfigFile,
    /// The environment. An empty value counts as none.
    pub environment: BTreeMap<String, String>,
    /// The flags, by the setting's key; the strongest source.
    pub flags: BTreeMap<&'static str, String>,
}

/// Which file to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConfigFile {
    /// None at all.
    #[default]
    None,
    /// This one if it exists.
    IfPresent(PathBuf),
    /// This one, which must exist.
    Required(PathBuf),
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "callbridge.toml";

/// One value, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The value as text: one grammar for all sources. The items of a list stand between commas.
    pub(super) text: String,
    /// Where it was found.
    pub(super) origin: Origin,
}

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(&'static str),
}

impl Sources {
    /// What the process was started with. This is the one place that reads the environment.
    ///
    /// A value that is not UTF-8 is read as well as can be.
    #[must_use]
    pub fn of_process(args: &GlobalArgs) -> Self {
        let file = match &args.config {
            Some(path) => ConfigFile::Required(path.clone()),
            None => ConfigFile::IfPresent(DEFAULT_FILE.into()),
        };
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment =
            std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        Self { file, environment, flags: args.settings.clone() }
    }

    /// A variable of the environment; an empty one counts as none.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All values by key, each from the strongest source that has it.
    pub(super) fn entries(&self, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Entry> {
        let mut entries = self.file_entries(mistakes);
        for setting in SETTINGS {
            if let Some(text) = self.variable(setting.env) {
                let origin = Origin::Environment(setting.env.to_owned());
                entries.insert(setting.key.to_owned(), Entry { text: text.to_owned(), origin });
            }
        }
        for (key, text) in &self.flags {
            let flag = setting(key).map_or(*key, |setting| setting.flag);
            let origin = Origin::Flag(flag);
            entries.insert((*key).to_owned(), Entry { text: text.clone(), origin });
        }
        entries
    }

    fn file_entries(&self, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Entry> {
        let (path, required) = match &self.file {
            ConfigFile::None => return BTreeMap::new(),
            ConfigFile::IfPresent(path) => (path, false),
            ConfigFile::Required(path) => (path, true),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => entries_of_toml(&text, path, mistakes),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => BTreeMap::new(),
            Err(error) => {
                mistakes.push(Mistake::new(path.display(), format!("cannot be read: {error}")));
                BTreeMap::new()
            }
        }
    }
}

/// Flattens a TOML text to one entry per value; what cannot be parsed is a mistake.
fn entries_of_toml(
    text: &str,
    path: &Path,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Entry> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = Vec::new();
    for error in errors {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        let place = Origin::File { path: path.to_owned(), line };
        mistakes.push(Mistake::new(place, error.message().replace('\n', ", ")));
        broken_lines.push(line);
    }
    let mut flat = Flat { text, path, broken_lines, entries: BTreeMap::new(), mistakes };
    flat.add_table("", document.get_ref());
    flat.entries
}

/// A TOML document on its way to being flat.
struct Flat<'a> {
    text: &'a str,
    path: &'a Path,
    /// Lines that are told as mistakes already; what the parser guessed there is not used.
    broken_lines: Vec<usize>,
    entries: BTreeMap<String, Entry>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Flat<'_> {
    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = line_at(self.text, name.span().start);
            if let DeValue::Table(table) = value.get_ref() {
                self.add_table(&format!("{key}."), table);
            } else if !self.broken_lines.contains(&line) {
                self.add_value(key, line, value.get_ref());
            }
        }
    }

    fn add_value(&mut self, key: String, line: usize, value: &DeValue<'_>) {
        let origin = Origin::File { path: self.path.to_owned(), line };
        let text = if let DeValue::Array(items) = value {
            let items = items.iter().map(Spanned::get_ref).map(scalar_text);
            items.collect::<Option<Vec<_>>>().map(|items| items.join(","))
        } else {
            scalar_text(value)
        };
        let Some(text) = text else {
            let what = format!("{key}: this kind of value fits no setting");
            self.mistakes.push(Mistake::new(origin, what));
            return;
        };
        self.entries.insert(key, Entry { text, origin });
    }
}

/// The value as an environment variable would have it; `None` for tables and lists.
fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The number of the line, from 1, that holds the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_flat_and_keeps_its_lines() {
        let (entries, mistakes) =
            flatten("listen = 'a'\n\n[grace]\nclient_seconds = 3\n[models.x]\nurl = 'u'\n");
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(
            entries,
            [
                "callbridge.toml:4 grace.client_seconds=3",
                "callbridge.toml:1 listen=a",
                "callbridge.toml:6 models.x.url=u"
            ],
        );
    }

    #[test]
    fn a_list_becomes_one_text_with_commas() {
        let (entries, _) = flatten("media_listen = ['a', 'b']");
        assert_eq!(entries, ["callbridge.toml:1 media_listen=a,b"]);
    }

    #[test]
    fn a_broken_line_is_named_and_the_rest_is_read() {
        let (entries, mistakes) = flatten("listen = \n[grace]\nclient_seconds = 3\n");
        assert_eq!(entries, ["callbridge.toml:3 grace.client_seconds=3"]);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with("callbridge.toml:1: "), "{mistakes:?}");
    }

    #[test]
    fn values_that_fit_no_setting_are_mistakes() {
        let (entries, mistakes) = flatten("a = 2020-01-01\nb = [[1]]\nc = [{d = 1}]\n");
        assert_eq!(entries, Vec::<String>::new());
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    }

    fn flatten(text: &str) -> (Vec<String>, Vec<String>) {
        let mut mistakes = Vec::new();
        let entries = entries_of_toml(text, Path::new(DEFAULT_FILE), &mut mistakes);
        let entries = entries.iter().map(|(k, e)| format!("{} {k}={}", e.origin, e.text)).collect();
        (entries, mistakes.iter().map(ToString::to_string).collect())
    }
}
