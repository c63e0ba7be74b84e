//! See `sunstar_fuzz::mesh`.

#![no_main]

use sunstar_fuzz::mesh::{Scenario, check};

libfuzzer_sys::fuzz_target!(|scenario: Scenario| check(&scenario));
