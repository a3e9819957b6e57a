//! The `callbridge` program.

fn main() {}
