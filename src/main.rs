//! The `callbridge` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    callbridge::cli::main()
}
