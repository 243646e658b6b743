//! The `kinetail` command.
fn main() {}
