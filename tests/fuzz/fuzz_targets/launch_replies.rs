#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| supervisor_launch::fuzzed::replies(bytes));
