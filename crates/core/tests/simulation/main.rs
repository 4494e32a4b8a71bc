//! The estimator and the allocator over simulated links.

#[path = "model/mod.rs"]
mod model;

use model::scenarios;

#[test]
fn table() {
    let seeds: u64 = std::env::var("SEEDS").map_or(1, |s| s.parse().unwrap());
    for scenario in scenarios::all() {
        if std::env::var("ONLY").is_ok_and(|only| !scenario.name.contains(&only)) {
            continue;
        }
        for seed in 1..=seeds {
            if std::env::var("SEED").is_ok_and(|only| only != seed.to_string()) {
                continue;
            }
            let begun = std::time::Instant::now();
            let o = scenario.run(seed);
            let shares: Vec<_> = o.shares().iter().map(|s| format!("{:.2}", s)).collect();
            let bad = o.shares().iter().any(|s| *s < 0.9)
                || o.queue_ms(0.95) > 100.0
                || o.changes_a_minute() >= 4.0;
            if seeds > 1 && !bad {
                continue;
            }
            println!(
                "{:32} {:2} shares {:26} queue {:4.0}/{:4.0} frozen {:5} max {:5} chg/min {:4.1} ({:2}) audio {:.3} probe {:.1}% rtx {:.1}% est {:?} {:?}",
                o.name,
                seed,
                shares.join(" "),
                o.queue_ms(0.5),
                o.queue_ms(0.95),
                o.frozen_ms.0,
                o.frozen_ms.1,
                o.changes_a_minute(),
                o.changes.len(),
                o.audio.1 as f64 / o.audio.0 as f64,
                o.bytes.1 as f64 * 100.0 / o.bytes.0 as f64,
                o.bytes.2 as f64 * 100.0 / o.bytes.0 as f64,
                o.seconds
                    .iter()
                    .skip(4)
                    .step_by(10)
                    .map(|s| s.estimate)
                    .collect::<Vec<_>>(),
                begun.elapsed()
            );
        }
    }
}
