//! How conversations go and end: questions and answers, streams that end on one side first, and aborts.

use sunstar_sim::{Errand, Impairments, Role, ms};

use crate::host::Settings;
use crate::scene::{Opens, Scene};

const BOTH: [Opens; 2] = [Opens::We, Opens::Smoltcp];

#[test]
fn questions_are_answered_round_after_round() {
    for opens in BOTH {
        let errands = [Errand::requests(1, 500, 100, 700), Errand::requests(2, 40, 50_000, 20_000)];
        Scene::new(errands.map(|errand| (opens, errand))).play();
    }
}

#[test]
fn an_answer_that_waits_for_the_end_of_the_question_comes_whole() {
    for opens in BOTH {
        for loss in [0.0, 0.05] {
            let errand = Errand { half_close: true, ..Errand::requests(1, 1, 200_000, 300_000) };
            let link = Impairments { latency: ms(1), loss, ..Impairments::default() };
            Scene { link, ..Scene::new([(opens, errand)]) }.play();
        }
    }
}

#[test]
fn both_may_close_at_once() {
    for loss in [0.0, 0.05] {
        let errand = Errand { half_close: true, ..Errand::both_ways(1, 30_000) };
        let link = Impairments { latency: ms(3), jitter: ms(5), loss, ..Impairments::default() };
        let smoltcp = Settings { reno: true, eager: true, listeners: 40, ..Settings::default() };
        let crossed = Scene { link, smoltcp, ..Scene::new([(Opens::We, errand); 40]) }.play().crossed;
        println!("the ends of both streams have crossed {crossed} times of 40");
        assert!(crossed >= 5, "the ends of both streams have crossed {crossed} times of 40");
    }
}

#[test]
fn an_abort_by_either_side_is_heard_by_the_other() {
    // A client's comes after more than its send buffer holds: what waits there to be sent is forgotten, and a server that has
    // heard nothing yet knows of no connection.
    let aborts =
        [(Role::Client, 600_000), (Role::Client, 900_000), (Role::Server, 100), (Role::Server, 700_000)];
    for opens in BOTH {
        for aborts in aborts {
            let sends = Errand { aborts: Some(aborts), ..Errand::both_ways(1, 1_000_000) };
            let receives = Errand { aborts: Some(aborts), ..Errand::requests(2, 1, 10, 1_000_000) };
            Scene::new([(opens, sends), (opens, receives)]).play();
        }
    }
}
