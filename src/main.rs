//! The `callbridge` program: everything is in the library.

use std::process::ExitCode;

/// Calls are made in one thread and end in another, for weeks: this one gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    callbridge::cli::main()
}
