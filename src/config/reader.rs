//! Takes values out of the sources one by one; what goes wrong, and what is left, is a mistake.

use std::collections::BTreeMap;

use super::mistakes::{Mistake, Mistakes};
use super::settings::{CACHE_ENV, SETTINGS};
use super::sources::{Entry, Origin, Sources};

/// Values not yet taken, and the mistakes so far.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    entries: BTreeMap<String, Entry>,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        let mut mistakes = Vec::new();
        let entries = sources.entries(&mut mistakes);
        Self { sources, entries, mistakes, warnings: Vec::new() }
    }

    /// The value of `key`; `None` if nobody gave it, or if it is wrong, which is noted.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Entry { text, origin } = self.entries.remove(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let what = match origin {
                    Origin::File { .. } => format!("{key}: {why}"),
                    Origin::Environment(_) | Origin::Flag(_) => why,
                };
                self.mistakes.push(Mistake::new(origin, what));
                None
            }
        }
    }

    /// Whether someone gave `key`, and it was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The names of the tables below `prefix`, such as the profiles below `models.`.
    pub(super) fn tables_below(&self, prefix: &str) -> Vec<String> {
        let below = self.entries.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut names: Vec<String> =
            below.filter_map(|rest| rest.split_once('.')).map(|(name, _)| name.into()).collect();
        names.dedup();
        names
    }

    /// Notes a mistake that no single value shows.
    pub(super) fn mistake(&mut self, key: &str, what: impl Into<String>) {
        self.mistakes.push(Mistake::new(key, what));
    }

    /// Notes something that is allowed, and that an operator should know.
    pub(super) fn warn(&mut self, what: impl Into<String>) {
        self.warnings.push(what.into());
    }

    /// Ends the reading: the warnings, or all mistakes. What nobody took is unknown.
    pub(super) fn finish(mut self) -> Result<Vec<String>, Mistakes> {
        for (key, entry) in std::mem::take(&mut self.entries) {
            self.mistakes.push(Mistake::new(entry.origin, format!("unknown setting {key}")));
        }
        self.warn_of_unknown_variables();
        if self.mistakes.is_empty() {
            return Ok(self.warnings);
        }
        Err(Mistakes(self.mistakes))
    }

    /// An unknown variable may be a slip or may come from outside: container platforms make
    /// variables named after their services. So it is told, and ends nothing.
    fn warn_of_unknown_variables(&mut self) {
        for name in self.sources.environment.keys() {
            let is_known = name == CACHE_ENV || SETTINGS.iter().any(|known| known.env == name);
            if name.starts_with("CALLBRIDGE_") && !is_known {
                self.warnings.push(format!("{name} is no setting, and was not read"));
            }
        }
    }
}
