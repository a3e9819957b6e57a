//! Lists in pages, newest first: what a page is, and the cursor from which the next one goes on.

use thiserror::Error;

use super::StoreError;
use super::rows::ms_to_column;

/// A page of a list; `next` goes on where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// Why nothing was listed.
#[derive(Debug, Error)]
pub enum ListError {
    /// The cursor is none of ours.
    #[error("the cursor is none that this list has given")]
    BadCursor,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A place in an owner's list: just after the row of this time and id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) at_ms: i64,
    pub(super) id: &'a str,
}

impl<'a> Cursor<'a> {
    /// Before every row.
    const START: Self = Self { at_ms: i64::MAX, id: "" };

    /// The place that a cursor's text names; without one, the start.
    pub(super) fn read(text: Option<&'a str>) -> Result<Self, ListError> {
        let Some(text) = text else { return Ok(Self::START) };
        let parsed = text.split_once('-').and_then(|(at, id)| {
            let at_ms = i64::from_str_radix(at, 16).ok()?;
            (at_ms >= 0 && !id.is_empty()).then_some(Self { at_ms, id })
        });
        parsed.ok_or(ListError::BadCursor)
    }
}

/// How many rows to ask for, so as to see whether there is a next page: one more than wanted.
pub(super) fn with_one_more(limit: usize) -> i64 {
    i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX)
}

impl<T> Page<T> {
    /// The page of the rows that were found; `place` tells a row's time and id.
    pub(super) fn of(mut rows: Vec<T>, limit: usize, place: impl Fn(&T) -> (u64, &str)) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| {
            let (at_ms, id) = place(row);
            format!("{:x}-{id}", ms_to_column(at_ms))
        });
        Self { rows, next }
    }
}
