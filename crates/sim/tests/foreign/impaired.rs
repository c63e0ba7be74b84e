//! Links that do worse than lose a frame now and then.

use sunstar_sim::{Bursts, Errand, Impairments, ms};

use crate::host::Settings;
use crate::scene::{Opens, Scene};

const SEEDS: std::ops::Range<u64> = 1..9;
const BYTES: u32 = 1 << 20;

fn play(link: Impairments) {
    for reno in [false, true] {
        play_with(&link, Settings { reno, ..Settings::default() });
    }
}

/// Both ways at once, and whoever opens, by a few seeds.
fn play_with(link: &Impairments, smoltcp: Settings) {
    for seed in SEEDS {
        let opens = if seed % 2 == 0 { Opens::We } else { Opens::Smoltcp };
        let errands = [Errand::both_ways(1, BYTES), Errand::requests(2, 20, 3_000, 30_000)];
        let scene = Scene::new(errands.map(|errand| (opens, errand)));
        let took = Scene { seed, link: link.clone(), smoltcp, ..scene }.play().took;
        println!("seed {seed}, {opens:?}: {:.1} s of virtual time", took.as_secs_f64());
    }
}

#[test]
fn frames_that_overtake_come_twice_and_are_spoilt_leave_the_streams_whole() {
    play(Impairments {
        latency: ms(2),
        jitter: ms(1),
        reordering: 0.2,
        duplication: 0.1,
        corruption: 0.02,
        ..Impairments::default()
    });
}

#[test]
fn a_tenth_of_all_frames_may_be_lost() {
    play(Impairments { latency: ms(1), loss: 0.1, ..Impairments::default() });
}

#[test]
fn frames_may_be_lost_in_bursts() {
    let bursts = Bursts { begin: 0.005, end: 0.2, loss: 0.7 };
    play(Impairments { latency: ms(1), bursts: Some(bursts), ..Impairments::default() });
}

#[test]
fn a_narrow_router_on_the_way_may_drop_what_finds_its_queue_full() {
    let link = Impairments { latency: ms(5), bottleneck: Some((10_000_000, 20)), ..Impairments::default() };
    // Without congestion control it would lose nearly all of every window, and get no further than by timeouts.
    play_with(&link, Settings { reno: true, ..Settings::default() });
}
