//! Segments and messages in the healthy flow's own name (RFC 5961, RFC 5927).

use sunstar_sim::gate::Gate;
use sunstar_sim::{rst, syn, tcp};

#[test]
fn a_sweep_of_resets_over_the_window_ends_nothing_and_slows_nothing() {
    let gate = Gate::new("blind RST").counts("drops.tcp_blind_attack").counts("tcp.challenge_acks");
    let verdict = gate.withstands(|attacker| {
        let flow = attacker.flow;
        // Anywhere in the window, but at its edge.
        let ahead = 1 + attacker.random.below(u64::from(flow.window.max(2)) - 1) as u32;
        attacker.forge(rst().seq(flow.rcv_nxt.wrapping_add(ahead)));
    });
    assert!(verdict.attacked.moved("tcp.challenge_acks") <= 7, "two a second");
}
