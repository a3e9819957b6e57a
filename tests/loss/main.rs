//! Speech over bad roads in simulated time: what comes out, when, and whether it is understood.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

#[path = "../local_model/client.rs"]
#[expect(dead_code, reason = "another test program uses the rest of it")]
mod client;
mod journey;
mod simulated;
mod sound;
mod words;
