//! See `sunstar_fuzz::headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sunstar_fuzz::headers::check(bytes));
