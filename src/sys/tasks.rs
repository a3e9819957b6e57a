//! The one place that spawns; every task has an owner, and dies with it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument as _;

/// A running task. Dropping it aborts the task, so nothing outlives its owner.
///
/// Awaiting it gives the task's result, or the panic that ended it.
#[derive(Debug)]
#[must_use = "a task dies with its owner: keep it"]
pub struct Task<T = ()>(JoinHandle<T>);

/// Starts `future` under a span called by its `name`, inside the span of the caller.
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    spawn_on(&Handle::current(), name, future)
}

/// The same on another runtime than the caller's.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub(super) fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    name: &'static str,
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    Task(runtime.spawn(future.instrument(tracing::debug_span!("task", name))))
}

/// Runs blocking work (a computation of many milliseconds) off the async threads.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Task<T> {
    Task(tokio::task::spawn_blocking(work))
}

/// How many tasks are alive where the caller runs. Must be called within tokio.
#[must_use]
pub fn count() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

impl<T> Task<T> {
    /// Whether the task has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
