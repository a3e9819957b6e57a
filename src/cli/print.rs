//! What people read on their terminal: the only place that writes to it.

use std::io::Write as _;

/// One line for whoever started the program.
pub(super) fn line(text: &str) {
    // Nobody may be reading (a closed pipe), and the work goes on without them.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One line about something that is wrong.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// All of a document for whoever started the program, as it is.
pub(super) fn whole(document: &[u8]) {
    // As above.
    let _ = std::io::stdout().write_all(document);
}
