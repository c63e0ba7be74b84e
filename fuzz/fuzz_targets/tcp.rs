//! See `sunstar_fuzz::tcp`.

#![no_main]

use sunstar_fuzz::tcp::{Scenario, check};

libfuzzer_sys::fuzz_target!(|scenario: Scenario| {
    check(&scenario);
});
