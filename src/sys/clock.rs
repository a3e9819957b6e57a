//! The one place that reads time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock. It follows tokio's clock, so tests can pause it.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time since the Unix epoch, as the kernel stamps what comes off the network.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Milliseconds since the Unix epoch, for timestamps that clients and the store see.
#[must_use]
pub fn unix_ms() -> u64 {
    u64::try_from(unix().as_millis()).unwrap_or(u64::MAX)
}

/// How long it is from now to a moment on the wall clock; nothing, if it has passed.
#[must_use]
pub fn until_unix_ms(at_ms: u64) -> Duration {
    Duration::from_millis(at_ms.saturating_sub(unix_ms()))
}
