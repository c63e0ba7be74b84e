//! See `sunstar_fuzz::options`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sunstar_fuzz::options::check(bytes));
