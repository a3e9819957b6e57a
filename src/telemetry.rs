//! What the process says of itself: the log, and what happens to it on a panic.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat, LogLevels};

/// The log could not be set up: the process has one already.
#[derive(Debug, Error)]
#[error("the log is set up already")]
pub struct TelemetryError(#[from] TryInitError);

/// Sends the log to standard error, and panics to the log. To be called once, first of all.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    tracing_subscriber::registry().with(log_layer(config)).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_layer(config: &LogConfig) -> impl Layer<Registry> + use<> {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Text => Box::new(lines.with_ansi(std::io::stderr().is_terminal())),
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
    };
    lines.with_filter(filter(&config.levels))
}

/// Other people's crates are heard from WARN up: what they say below that may hold speech or
/// keys, and nobody here has read it for that. The WebRTC engine warns of every ordinary call.
fn filter(levels: &LogLevels) -> Targets {
    let engine = ["webrtc", "rtc", "rtc_ice", "rtc_dtls", "rtc_interceptor", "rtc_mdns"];
    Targets::new()
        .with_default(levels.own.min(LevelFilter::WARN))
        .with_targets(engine.map(|module| (module, LevelFilter::OFF)))
        .with_target(env!("CARGO_CRATE_NAME"), levels.own)
        .with_targets(levels.modules.iter().map(|(module, level)| (module.as_str(), *level)))
}

/// A panic is a bug of ours, and the place is enough to find it. Its message may quote what
/// someone said (a failed slice of a text prints the text), so that is for DEBUG only.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    tracing::error!(place, thread, "panicked");
    let message = panic.payload_as_str().unwrap_or("(not a text)");
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::debug!(place, message, %backtrace, "what the panic said");
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_for_us_and_others_stay_at_warn() {
        let filter = filter(&LogLevels { own: LevelFilter::DEBUG, modules: Vec::new() });
        assert!(filter.would_enable("callbridge::rooms", &Level::DEBUG));
        assert!(filter.would_enable("sqlx::query", &Level::WARN));
        assert!(!filter.would_enable("sqlx::query", &Level::INFO));
    }

    #[test]
    fn a_named_module_has_its_own_level() {
        let modules = vec![
            ("callbridge::rooms".to_owned(), LevelFilter::TRACE),
            ("sqlx".to_owned(), LevelFilter::OFF),
        ];
        let filter = filter(&LogLevels { own: LevelFilter::INFO, modules });
        assert!(filter.would_enable("callbridge::rooms::peer", &Level::TRACE));
        assert!(!filter.would_enable("callbridge::api", &Level::DEBUG));
        assert!(!filter.would_enable("sqlx::query", &Level::ERROR));
    }

    #[test]
    fn silence_for_us_is_silence_for_all() {
        let filter = filter(&LogLevels { own: LevelFilter::OFF, modules: Vec::new() });
        assert!(!filter.would_enable("sqlx", &Level::ERROR));
    }
}
