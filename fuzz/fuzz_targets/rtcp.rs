//! `cargo fuzz run rtcp --features libfuzzer`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stagecast_fuzz::rtcp(data));
