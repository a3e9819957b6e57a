//! The process's only doors to time, randomness, tasks and cryptography; the pure cores may not
//! open them.

pub mod clock;
pub mod entropy;
pub mod tasks;
pub mod tls;
