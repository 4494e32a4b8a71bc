//! `cargo fuzz run frames --features libfuzzer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecast_fuzz::frames(data));
