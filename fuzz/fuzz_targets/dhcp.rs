//! See `sunstar_fuzz::dhcp`.

#![no_main]

use sunstar_fuzz::dhcp::{Step, check};

libfuzzer_sys::fuzz_target!(|steps: Vec<Step>| check(&steps));
