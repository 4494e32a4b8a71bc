//! `cargo fuzz run sdp --features libfuzzer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecast_fuzz::sdp(data));
