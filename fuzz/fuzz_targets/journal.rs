#![no_main]

#[path = "../../tests/fuzz_bodies/bodies.rs"]
#[allow(dead_code, reason = "each target has one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::journal(bytes));
