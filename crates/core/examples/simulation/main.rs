fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for s in model::scenarios::all() {
        if !s.name.contains(&only) {
            continue;
        }
        for (who, o) in [("ours", s.run(1)), ("str0m", oracle::run(&s, 1))] {
            println!(
                "{:32} {:6} {:?} q {:.0}/{:.0} chg {:.1} ({}) frozen {:?} audio {:.3} est {:?}",
                o.name,
                who,
                o.shares()
                    .iter()
                    .map(|s| (s * 100.0) as i32)
                    .collect::<Vec<_>>(),
                o.queue_ms(0.5),
                o.queue_ms(0.95),
                o.changes_a_minute(),
                o.changes.len(),
                o.frozen_ms,
                o.audio,
                o.seconds
                    .iter()
                    .skip(4)
                    .step_by(10)
                    .map(|s| s.estimate)
                    .collect::<Vec<_>>()
            );
        }
    }
}
#[path = "../../tests/simulation/model/mod.rs"]
mod model;
mod oracle;
