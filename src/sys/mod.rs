//! The process's only doors to time, randomness, tasks, cryptography and itself; the pure cores may
//! not open them.

pub mod clock;
pub mod entropy;
pub mod process;
pub mod tasks;
pub mod tls;
