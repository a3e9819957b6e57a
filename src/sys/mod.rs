//! The process's only doors to time, randomness, tasks, threads, cryptography and itself; the pure
//! cores may not open them.

pub mod clock;
pub mod entropy;
pub mod lanes;
pub mod process;
pub mod tasks;
pub mod tls;
