//! Prints what viewers get on simulated links, by our estimator and by str0m's.
//!
//! ```text
//! cargo run -p stagecast-core --example simulation [-- --write] [PART OF A NAME]
//! ```
//! `--write` puts the table into `bench/simulation.md`, the plot beside it as `simulation.svg` and all
//! figures as `simulation.json`. `bench/simulation.md` says how to read them.

#[path = "../../tests/simulation/model/mod.rs"]
mod model;
mod oracle;
mod plot;
mod report;

use std::io;
use std::path::Path;

use model::outcome::Outcome;
use model::run::Scenario;
use report::Row;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let write = arguments.iter().any(|argument| argument == "--write");
    let part = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let scenarios = model::scenarios::named(part.map_or("", String::as_str));

    let mut rows = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        eprint!(
            "\r{:>3} of {} {:40}",
            index + 1,
            scenarios.len(),
            scenario.name
        );
        rows.push(row("ours", scenario, Scenario::run));
        rows.push(row("str0m", scenario, oracle::run));
    }
    eprint!("\r{:60}\r", "");
    let table = report::table(&rows);
    print!("{table}");
    if write {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench");
        report::replace_table(&bench.join("simulation.md"), &table)?;
        std::fs::write(bench.join("simulation.json"), report::json(&rows))?;
        std::fs::write(bench.join("simulation.svg"), plot::svg(&rows))?;
    }
    Ok(())
}

fn row(who: &'static str, scenario: &Scenario, run: impl Fn(&Scenario, u64) -> Outcome) -> Row {
    Row {
        who,
        outcomes: SEEDS.map(|seed| run(scenario, seed)).collect(),
    }
}
