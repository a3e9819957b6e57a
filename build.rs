//! Tells cargo what the sources include that is no source.

fn main() {
    println!("cargo::rerun-if-changed=src/store/migrations");
}
