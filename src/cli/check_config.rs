//! `callbridge check-config`: reads all settings, and says what is in force or what is wrong.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{Config, EXIT_USAGE, Sources};

/// Prints the effective settings to `out`, or every mistake to `err`, one a line.
///
/// The exit code is 0 or [`EXIT_USAGE`]; the error is of the writing.
pub fn run(sources: &Sources, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    let config = match Config::load(sources) {
        Ok(config) => config,
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            return Ok(EXIT_USAGE.into());
        }
    };
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    writeln!(out, "ok")?;
    for (key, value) in config.describe() {
        writeln!(out, "{key} = {value}")?;
    }
    Ok(ExitCode::SUCCESS)
}
