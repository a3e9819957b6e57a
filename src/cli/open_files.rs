//! How many files and sockets the process may have open: as many as the system lets it.

/// Raises the soft limit of open files to the hard one. Many systems start a process with 1,024,
/// which is less than two hundred agents with a client and a model session each may need.
pub(super) fn raise_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) => tracing::info!(limit, "so many files and sockets may be open"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
