//! See `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| queuebridge_tests::fuzz::run("resubmit_token", data));
