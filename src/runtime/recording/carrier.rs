//! The task that carries recordings that have ended from the folder to the bucket.
//!
//! The folder is its queue: what lies there and is not stored yet is to be carried, whoever has
//! put it there, this process or one before. So nothing is lost by a restart, and nothing waits in
//! memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use super::bucket::BucketError;
use super::depot::Depot;
use super::off_thread;
use super::shelf::{Shelf, Shelved};
use crate::meter::{Counter, Meter};
use crate::sys::tasks::{self, Task};

/// Recordings that are looked for at once.
///
/// When full: the younger ones wait in the folder until these are carried.
const CARGO_CAPACITY: usize = 256;

/// Who carries, from where to where.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) shelf: Arc<Shelf>,
    pub(super) depot: Depot,
    /// Whether what is stored stays in the folder as well.
    pub(super) is_kept: bool,
    pub(super) meter: Meter,
    /// Rings when a recording has ended.
    pub(super) bell: Arc<Notify>,
}

/// Why not all was carried.
#[derive(Debug, Error)]
enum CarryError {
    #[error("{0}")]
    Bucket(#[from] BucketError),
    #[error("the folder of recordings: {0}")]
    Folder(#[from] io::Error),
}

impl Carrier {
    /// Carries for as long as the task is kept.
    pub(super) fn start(self) -> Task {
        tasks::spawn("carrier of recordings", self.run())
    }

    async fn run(self) {
        let mut in_vain = 0;
        loop {
            match self.carry_all().await {
                Ok(()) => {
                    if in_vain > 0 {
                        tracing::info!("recordings are stored again");
                    }
                    in_vain = 0;
                    self.bell.notified().await;
                }
                Err(error) => {
                    in_vain = self.fail(&error, in_vain).await;
                }
            }
        }
    }

    /// Tells once, and waits until it is to be tried again.
    async fn fail(&self, error: &CarryError, in_vain: u32) -> u32 {
        if in_vain == 0 {
            tracing::error!(
                %error,
                "recordings cannot be stored: they stay in the folder, and it is tried again"
            );
        } else {
            tracing::debug!(%error, in_vain, "recordings can still not be stored");
        }
        tokio::time::sleep(pause(in_vain)).await;
        in_vain.saturating_add(1)
    }

    /// Carries until nothing is left. What is wrong with one recording does not keep the others.
    async fn carry_all(&self) -> Result<(), CarryError> {
        loop {
            let shelf = Arc::clone(&self.shelf);
            let cargo = off_thread(move || shelf.unstored(CARGO_CAPACITY)).await?;
            if cargo.is_empty() {
                return Ok(());
            }
            let mut failed = None;
            for recording in cargo {
                match self.carry(recording).await {
                    Err(CarryError::Bucket(error)) if error.is_its_own() => failed = Some(error),
                    carried => carried?,
                }
            }
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
    }

    async fn carry(&self, recording: Shelved) -> Result<(), CarryError> {
        let beginning = recording.beginning();
        let is_there = match self.depot.put(&recording).await {
            Ok(()) => {
                let is_kept = self.is_kept;
                off_thread(move || recording.settle(is_kept)).await?
            }
            // It was erased before it could be read.
            Err(BucketError::File(error)) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                self.meter.count(Counter::RecordingUploadFailed);
                return Err(error.into());
            }
        };
        if is_there {
            self.meter.count(Counter::RecordingUploaded);
        } else {
            self.take_back(&beginning).await;
        }
        Ok(())
    }

    /// Erases what was erased here while it was on its way there. Nobody else knows of it, so this
    /// goes on until it is done.
    async fn take_back(&self, beginning: &str) {
        let mut in_vain = 0;
        while let Err(error) = self.depot.erase_all(beginning).await {
            in_vain = self.fail(&error.into(), in_vain).await;
        }
    }
}

/// How long to wait after so many failures before this one.
fn pause(in_vain: u32) -> Duration {
    PAUSE.saturating_mul(1_u32.checked_shl(in_vain).unwrap_or(u32::MAX)).min(PAUSE_MAX)
}

const PAUSE: Duration = Duration::from_secs(1);

/// The longest: alerts look ten minutes back, and see two attempts.
const PAUSE_MAX: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let seconds: Vec<_> = [0, 1, 2, 8, 9, 31, 32, u32::MAX].map(|n| pause(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300, 300]);
    }
}
