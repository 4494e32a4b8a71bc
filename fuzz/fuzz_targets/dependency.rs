//! `cargo fuzz run dependency --features libfuzzer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecast_fuzz::dependency(data));
