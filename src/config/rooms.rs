//! Which rooms agents may join.

use std::path::PathBuf;

use super::models::cache_folder;
use super::parse;
use super::reader::Reader;

/// Who may join which rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomsConfig {
    /// Anybody, and rooms are made on first use.
    pub open: bool,
    /// Agents may join `wav:` files.
    pub files: bool,
    /// A Python that has Daily's package.
    pub daily: PathBuf,
    /// Whether somebody has named it; if not, it may be missing.
    pub is_daily_named: bool,
}

impl RoomsConfig {
    pub(super) fn read(reader: &mut Reader<'_>, is_local: bool) -> Self {
        let open = reader.take("rooms.open", parse::boolean).unwrap_or(is_local);
        let files = reader.take("rooms.files", parse::boolean).unwrap_or(false);
        let named = reader.take("rooms.daily", |text| Ok(PathBuf::from(text)));
        let is_daily_named = named.is_some();
        let daily = named.unwrap_or_else(|| cache_folder(reader).join(DAILY));
        Self { open, files, daily, is_daily_named }
    }
}

/// Where `make deps-daily` puts it.
const DAILY: &str = "daily/bin/python";
