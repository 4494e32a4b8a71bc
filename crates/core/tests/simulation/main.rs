//! The estimator and the allocator over simulated links: what a viewer gets on a bad network.
//!
//! Every link runs with some seeds, which a failure prints. `examples/simulation` prints and
//! draws the same runs; `bench/simulation.md` says how to read them.

mod allocations;
#[path = "../counting/mod.rs"]
mod counting;
#[path = "model/mod.rs"]
mod model;

use model::outcome::Outcome;
use model::scenarios;

/// Runs of each link; `SIMULATION_SEEDS=40` makes them more.
const SEEDS: u64 = 3;

/// Runs each scenario whose name contains `part`.
fn for_each(part: &str, check: impl Fn(&Outcome)) {
    let seeds = std::env::var("SIMULATION_SEEDS");
    let seeds = seeds.map_or(SEEDS, |text| text.parse().expect("a number"));
    for scenario in scenarios::named(part) {
        for seed in 1..=seeds {
            let outcome = scenario.run(seed);
            println!(
                "{}, seed {seed}: shares {:.2?}, queue p95 {:.0} ms, {:.1} changes a minute, \
                 frozen {} ms, audio {:.3}",
                outcome.name,
                outcome.shares(),
                outcome.queue_ms(0.95),
                outcome.changes_a_minute(),
                outcome.frozen_ms.0,
                outcome.audio,
            );
            check(&outcome);
        }
    }
}

/// What is promised on any link that is ours alone: nine tenths of what it carries within five seconds
/// of a step, a short queue, and no flapping.
fn keeps_the_promise(outcome: &Outcome) {
    for share in outcome.shares() {
        assert!(
            share >= 0.9,
            "goodput is {share:.2} of what the link carries"
        );
    }
    let queue_ms = outcome.queue_ms(0.95);
    assert!(queue_ms < 100.0, "queue p95 {queue_ms:.0} ms");
    let changes = outcome.changes_a_minute();
    assert!(changes < 4.0, "{changes:.1} changes a minute");
}

#[test]
fn steady_link_is_used_without_flapping() {
    for_each("steady", |outcome| {
        keeps_the_promise(outcome);
        assert!(outcome.audio > 0.99, "audio {:.3}", outcome.audio);
    });
}

#[test]
fn step_of_the_link_is_followed_in_five_seconds() {
    for_each("step", keeps_the_promise);
}

#[test]
fn picture_stands_less_than_a_second_when_the_link_drops_to_a_fourteenth() {
    for_each("step down", |outcome| {
        let longest = outcome.frozen_ms.1;
        assert!(longest < 1000, "{longest} ms");
    });
}

#[test]
fn long_and_short_round_trips_make_no_difference() {
    for_each("round trip", keeps_the_promise);
}

#[test]
fn random_loss_is_not_taken_for_congestion() {
    for_each("loss", keeps_the_promise);
}

#[test]
fn jitter_is_not_taken_for_congestion() {
    for_each("jitter", keeps_the_promise);
}

#[test]
fn policer_is_found_before_a_layer_fails() {
    for_each("policer", keeps_the_promise);
}

#[test]
fn temporal_layers_are_steps_between_the_layers() {
    for_each("temporal", keeps_the_promise);
}

#[test]
fn encoder_that_follows_the_estimate_fills_the_link() {
    for_each("encoder", |outcome| {
        keeps_the_promise(outcome);
        let share = outcome.shares()[0];
        assert!(share > 0.95, "{share:.2}");
    });
}

#[test]
fn link_is_taken_back_when_a_competing_flow_ends() {
    for_each("TCP", |outcome| {
        let shares = outcome.shares();
        assert!(shares[0] > 0.9 && shares[2] > 0.9, "{shares:.2?}");
        // While it lasts the queue is full of the other's packets, and no pause of ours would empty it.
        let longest = outcome.frozen_ms.1;
        assert!(longest < 3000, "the picture stood for {longest} ms");
        assert!(outcome.audio > 0.99, "audio {:.3}", outcome.audio);
    });
}

#[test]
fn same_seed_gives_the_same_run() {
    let scenario = &scenarios::named("2 % loss")[0];
    let runs = [7, 7, 8].map(|seed| scenario.run(seed).waits);
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
