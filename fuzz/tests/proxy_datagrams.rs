//! What holds of the world that inputs of `proxy_datagrams` are played in.

use std::collections::BTreeMap;

use spooky_fuzz::Dice;
use spooky_fuzz::proxy_datagrams::{generate, run};

/// A finding that shows itself only sometimes can't be mended.
#[test]
fn an_input_plays_the_same_to_the_byte() {
    let mut dice = Dice::new(3);
    let mut digests = BTreeMap::new();
    for _ in 0..60 {
        let input = generate(&mut dice);
        let played = run(&input);
        assert_eq!(played, run(&input), "{input:?}");
        digests.insert(played.digest, ());
    }
    assert!(digests.len() > 50, "inputs differ: {}", digests.len());
}

/// A fuzzer that gets nowhere finds nothing: every way for a request to end must
/// be within reach of what is made here.
#[test]
fn made_inputs_reach_every_ending() {
    let mut dice = Dice::new(2);
    let mut reached = BTreeMap::new();
    for _ in 0..400 {
        for (name, count) in run(&generate(&mut dice)).counts {
            *reached.entry(name).or_insert(0) += count;
        }
    }
    println!("{reached:?}");
    // There is one worker, and no bound that a few operations could reach.
    let not_here = [
        "datagrams_misrouted",
        "client_moves_refused",
        "connections_traced",
        "connections_broken_rules",
        "handshakes_resumed",
        "early_flights_copied",
        "requests_early_held",
        "requests_early_forwarded",
        "stateless_dropped",
        "tokens_forged",
        "tokens_elsewhere",
        "tokens_expired",
        "tokens_used_again",
        "tokens_foreign",
        "token_refusals_suppressed",
        "version_negotiations_suppressed",
        "stateless_resets_suppressed",
        "connections_refused",
        "connections_refused_limit",
        "connections_refused_half_open",
        "connections_refused_per_ip",
        "connections_refused_rate",
        "connections_refused_rate_per_ip",
        "connections_refused_draining",
        "connections_reset_floods",
        "events_dropped",
    ];
    let missed: Vec<_> = reached.iter().filter(|(_, count)| **count == 0).collect();
    assert!(
        missed.iter().all(|(name, _)| not_here.contains(name)),
        "{missed:?}"
    );
    assert!(reached["requests_complete"] > 450, "{reached:?}");
}
