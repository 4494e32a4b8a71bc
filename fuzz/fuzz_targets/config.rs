//! `cargo fuzz run config --features libfuzzer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecast_fuzz::config(data));
