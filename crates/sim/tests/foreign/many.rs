//! Many connections at once.

use sunstar_sim::plan::MachinePlan;
use sunstar_sim::{Errand, Impairments, ms};

use crate::host::Settings;
use crate::scene::{Opens, Scene};

#[test]
fn a_hundred_connections_are_opened_from_both_ends_at_once() {
    let errand = |number: u32| match number % 4 {
        0 => Errand::upload(number, 60_000),
        1 => Errand::requests(number, 10, 200, 3_000),
        2 => Errand::both_ways(number, 30_000),
        _ => Errand { half_close: true, ..Errand::requests(number, 1, 5_000, 40_000) },
    };
    let errands =
        (0..100).map(|number| (if number % 8 < 4 { Opens::We } else { Opens::Smoltcp }, errand(number)));
    let took = Scene {
        machine: MachinePlan::new(4),
        smoltcp: Settings { buffers: 64 << 10, listeners: 60, ..Settings::default() },
        link: Impairments { latency: ms(1), loss: 0.01, ..Impairments::default() },
        ..Scene::new(errands)
    }
    .play()
    .took;
    println!("a hundred connections: {:.1} s of virtual time", took.as_secs_f64());
}
