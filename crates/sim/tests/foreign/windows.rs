//! Windows that are small or closed, acknowledgements that come late, and options that only one side has.

use std::time::Duration;

use sunstar_sim::{Errand, Impairments, Role, ms};

use crate::host::Settings;
use crate::scene::{Opens, Scene};

const BOTH: [Opens; 2] = [Opens::We, Opens::Smoltcp];

fn errands(opens: Opens) -> [(Opens, Errand); 3] {
    let errands =
        [Errand::upload(1, 300_000), Errand::requests(2, 3, 5_000, 100_000), Errand::both_ways(3, 300_000)];
    errands.map(|errand| (opens, errand))
}

fn lossy(loss: f64) -> Impairments {
    Impairments { latency: ms(1), loss, ..Impairments::default() }
}

#[test]
fn windows_too_small_for_a_scale_are_kept_to() {
    for opens in BOTH {
        for buffers in [2_000, 8_000, 65_535] {
            for loss in [0.0, 0.02] {
                let smoltcp = Settings { buffers, ..Settings::default() };
                let scene = Scene { smoltcp, link: lossy(loss), ..Scene::new(errands(opens)) };
                let took = scene.play().took;
                println!("{opens:?} open, {buffers} bytes, loss {loss}: {:.2} s", took.as_secs_f64());
            }
        }
    }
}

#[test]
fn a_window_below_one_segment_still_lets_everything_through() {
    for opens in BOTH {
        let smoltcp = Settings { buffers: 600, ..Settings::default() };
        let errands = [Errand::upload(1, 50_000), Errand::requests(2, 3, 1_000, 20_000)];
        Scene { smoltcp, ..Scene::new(errands.map(|errand| (opens, errand))) }.play();
    }
}

#[test]
fn our_own_windows_may_be_small_and_unscaled() {
    for opens in BOTH {
        let mut scene = Scene { link: lossy(0.02), ..Scene::new(errands(opens)) };
        scene.machine.tcp.receive_buffer = 16_000;
        scene.machine.tcp.send_buffer = 16_000;
        scene.machine.tcp.window_scaling = false;
        scene.play();
    }
}

#[test]
fn acknowledgements_may_be_late_at_both_ends() {
    for opens in BOTH {
        for ack_delay in [None, Some(ms(40)), Some(ms(400))] {
            for ours in [false, true] {
                let smoltcp = Settings { ack_delay, ..Settings::default() };
                let mut scene = Scene { smoltcp, link: lossy(0.01), ..Scene::new(errands(opens)) };
                scene.machine.tcp.delays_acks = ours;
                scene.play();
            }
        }
    }
}

#[test]
fn a_slow_reader_at_either_end_holds_the_other_up_and_loses_nothing() {
    for opens in BOTH {
        for slow in [Role::Client, Role::Server] {
            let smoltcp = Settings { buffers: 10_000, ..Settings::default() };
            let errand = Errand { slow: Some(slow), ..Errand::both_ways(1, 200_000) };
            let mut scene = Scene { smoltcp, link: lossy(0.01), ..Scene::new([(opens, errand)]) };
            scene.machine.tcp.receive_buffer = 10_000;
            let took = scene.play().took;
            assert!(took > Duration::from_millis(900), "the reader was not slow: {took:?}");
        }
    }
}

#[test]
fn each_side_may_have_options_that_the_other_has_not() {
    for opens in BOTH {
        for (theirs, timestamps, sack, window_scaling) in [
            (true, true, true, true),
            (true, false, true, true),
            (false, true, false, true),
            (true, true, true, false),
        ] {
            let smoltcp = Settings { timestamps: theirs, ..Settings::default() };
            let mut scene = Scene { smoltcp, link: lossy(0.02), ..Scene::new(errands(opens)) };
            let tcp = &mut scene.machine.tcp;
            (tcp.timestamps, tcp.sack, tcp.window_scaling) = (timestamps, sack, window_scaling);
            scene.play();
        }
    }
}
