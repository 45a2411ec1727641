#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| supervisord::interpreter::fuzzed::channel(bytes));
