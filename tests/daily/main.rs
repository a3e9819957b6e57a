//! Rooms of Daily: the helper's protocol with a stand-in at its other end, the helper with a
//! package that is made up, and the package itself as far as it goes without its service.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails with these"
)]

mod failing;
mod guest;
#[path = "../harness/lan.rs"]
#[allow(dead_code, reason = "nobody is called in this network")]
mod lan;
mod package;
mod staying;
mod whole;
