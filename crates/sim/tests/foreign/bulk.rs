//! A hundred mebibytes each way, whoever opens, on a link that loses one frame of a hundred in each direction.

use sunstar_sim::{Errand, Impairments, ms};

use crate::scene::{Opens, Played, Scene};

const BYTES: u32 = 100 << 20;

const LOSS: f64 = 0.01;

fn play(what: &str, opens: Opens, errand: Errand) {
    let link = Impairments { latency: ms(1), loss: LOSS, ..Impairments::default() };
    let Played { took, frames, lost, .. } = Scene { link, ..Scene::new([(opens, errand)]) }.play();
    let seconds = took.as_secs_f64();
    let goodput = f64::from(BYTES) * 8.0 / seconds / 1e6;
    println!("{what}: {seconds:.1} s of virtual time, {goodput:.1} Mbit/s; {lost} of {frames} frames lost");
    let expected = frames as f64 * LOSS;
    assert!((0.8 * expected..1.2 * expected).contains(&(lost as f64)), "{lost} of {frames} frames were lost");
}

#[test]
fn we_open_and_send() {
    play("we open and send", Opens::We, Errand::upload(1, BYTES));
}

#[test]
fn we_open_and_receive() {
    play("we open and receive", Opens::We, Errand::requests(2, 1, 0, BYTES));
}

#[test]
fn we_open_and_both_send_at_once() {
    play("we open and both send", Opens::We, Errand::both_ways(3, BYTES));
}

#[test]
fn smoltcp_opens_and_sends() {
    play("smoltcp opens and sends", Opens::Smoltcp, Errand::upload(4, BYTES));
}

#[test]
fn smoltcp_opens_and_receives() {
    play("smoltcp opens and receives", Opens::Smoltcp, Errand::requests(5, 1, 0, BYTES));
}

#[test]
fn smoltcp_opens_and_both_send_at_once() {
    play("smoltcp opens and both send", Opens::Smoltcp, Errand::both_ways(6, BYTES));
}
