//! `callbridge serve`: the gateway, until a signal ends it.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::print;
use crate::app::{App, Minds};
use crate::config::Config;
use crate::sys::tasks;

pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let minds = Minds::open(&config.model).await?;
    let app = App::build(&config, minds).await?;
    let at = format!("{}://{}", config.http.scheme(), app.address()?);
    print::line(&format!("callbridge listens on {at}"));
    print::line(&format!("a room to talk in: {at}/rooms/hello"));
    app.run(signals.first()).await
}

/// The signals that end the process: the first one drains, the second one exits at once.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they are not the system's to obey.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("signals cannot be listened to");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for the first signal, and leaves a watch for the second behind.
    pub(super) async fn first(mut self) {
        self.next().await;
        let second = tasks::spawn("second signal", async move {
            self.next().await;
            tracing::error!("a second signal: exiting at once");
            std::process::exit(EXIT_AT_ONCE);
        });
        // The watch belongs to the rest of the process.
        std::mem::forget(second);
    }
}

/// As a shell reports a process that SIGTERM has ended.
const EXIT_AT_ONCE: i32 = 143;
