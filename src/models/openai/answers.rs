//! How we stand to the server's answers of late: which are not for us, not wanted, or over.

use super::recent::Recent;

/// The answers that are anything but wanted.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: Recent<Answer, ANSWERS_KEPT>,
}

/// How we stand to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// What comes of it is passed on. All of which nothing else is known.
    Wanted,
    /// It runs beside the conversation.
    Beside,
    /// We have broken it off: nothing of it is wanted but its end.
    Unwanted,
    /// Its end was told.
    Over,
}

#[derive(Debug)]
struct Answer {
    id: String,
    standing: Standing,
}

impl Answers {
    /// How we stand to this answer.
    pub(super) fn standing(&mut self, id: &str) -> Standing {
        let known = self.known.find(|answer| answer.id == id);
        known.map_or(Standing::Wanted, |answer| answer.standing)
    }

    /// Remembers how we stand to this answer. An answer without an id could be any.
    pub(super) fn set(&mut self, id: &str, standing: Standing) {
        if !id.is_empty() {
            let make = || Answer { id: id.to_owned(), standing };
            self.known.find_or_push(|answer| answer.id == id, make).standing = standing;
        }
    }
}

/// Answers of which something may still come.
const ANSWERS_KEPT: usize = 32;
