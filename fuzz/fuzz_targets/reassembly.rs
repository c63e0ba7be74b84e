//! See `sunstar_fuzz::reassembly`.

#![no_main]

use sunstar_fuzz::reassembly::{Scenario, check};

libfuzzer_sys::fuzz_target!(|scenario: Scenario| check(&scenario));
