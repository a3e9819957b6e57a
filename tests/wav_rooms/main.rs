//! Recorded callers: as rooms that agents join, and from the command line.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

mod command;
mod place;

#[path = "../local_model/client.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod client;

#[path = "../local_model/recognised.rs"]
mod recognised;
