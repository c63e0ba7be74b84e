//! See `sunstar_fuzz::shard`.

#![no_main]

use sunstar_fuzz::shard::{Step, check};

libfuzzer_sys::fuzz_target!(|steps: Vec<Step>| check(&steps));
