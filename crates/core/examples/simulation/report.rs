//! The runs as a table for people and as JSON for programs.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::model::outcome::Outcome;

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";

/// One scenario with one estimator, run with some seeds.
pub struct Row {
    /// Whose estimator.
    pub who: &'static str,
    /// One for each seed.
    pub outcomes: Vec<Outcome>,
}

impl Row {
    /// The scenario's name.
    pub fn name(&self) -> &'static str {
        self.outcomes[0].name
    }

    /// The worst of the seeds.
    pub fn most(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        self.outcomes.iter().map(figure).fold(f64::MIN, f64::max)
    }

    fn mean(&self, figure: impl Fn(&Outcome) -> f64) -> f64 {
        self.outcomes.iter().map(figure).sum::<f64>() / self.outcomes.len() as f64
    }

    /// For each phase the worst goodput of the seeds, over what is reachable.
    fn shares(&self) -> Vec<f64> {
        let all: Vec<_> = self.outcomes.iter().map(Outcome::shares).collect();
        (0..all[0].len())
            .map(|phase| {
                all.iter()
                    .map(|shares| shares[phase])
                    .fold(f64::MAX, f64::min)
            })
            .collect()
    }
}

/// A table in Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| link | estimator | goodput, % of reachable | queue p50 / p95, ms | changes a minute | \
         picture stood, % | longest, ms | audio lost, % |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut last = "";
    for row in rows {
        let name = if row.name() == last { "" } else { row.name() };
        last = row.name();
        let shares: Vec<_> = row
            .shares()
            .iter()
            .map(|share| format!("{:.0}", share * 100.0))
            .collect();
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {:.0} / {:.0} | {:.1} | {:.1} | {:.0} | {:.1} |",
            row.who,
            shares.join(" · "),
            row.most(|o| o.queue_ms(0.5)),
            row.most(|o| o.queue_ms(0.95)),
            row.most(Outcome::changes_a_minute),
            row.mean(Outcome::frozen) * 100.0,
            row.most(|o| o.frozen_ms.1 as f64),
            row.mean(|o| 1.0 - o.audio) * 100.0,
        );
    }
    table
}

/// Puts the table where the page has the old one.
pub fn replace_table(page: &Path, table: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let missing = || io::Error::other(format!("{} has no place for the table", page.display()));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    std::fs::write(page, format!("{before}{BEGIN}{table}{END}{after}"))
}

/// Every figure of every run, and the seconds of ours with the first seed.
pub fn json(rows: &[Row]) -> String {
    let mut json = String::from("[\n");
    for (index, row) in rows.iter().enumerate() {
        let runs: Vec<_> = row.outcomes.iter().map(run).collect();
        let seconds = match row.who {
            "ours" => format!(",\n {}", seconds(&row.outcomes[0])),
            _ => String::new(),
        };
        let _ = write!(
            json,
            "{{\"link\":\"{}\",\"estimator\":\"{}\",\"runs\":[\n {}]{seconds}}}{}\n",
            row.name(),
            row.who,
            runs.join(",\n "),
            if index + 1 < rows.len() { "," } else { "" },
        );
    }
    json + "]\n"
}

fn run(outcome: &Outcome) -> String {
    let shares: Vec<_> = outcome.shares().iter().map(|s| format!("{s:.3}")).collect();
    format!(
        "{{\"seed\":{},\"goodput_shares\":[{}],\"queue_p50_ms\":{:.1},\"queue_p95_ms\":{:.1},\
         \"changes_per_minute\":{:.2},\"frozen_ms\":{},\"longest_freeze_ms\":{},\
         \"audio_arrived\":{:.4},\"bytes\":{},\"probe_bytes\":{},\"resent_bytes\":{}}}",
        outcome.seed,
        shares.join(","),
        outcome.queue_ms(0.5),
        outcome.queue_ms(0.95),
        outcome.changes_a_minute(),
        outcome.frozen_ms.0,
        outcome.frozen_ms.1,
        outcome.audio,
        outcome.bytes.0,
        outcome.bytes.1,
        outcome.bytes.2,
    )
}

fn seconds(outcome: &Outcome) -> String {
    let column = |name: &str, figure: fn(&crate::model::outcome::Second) -> u32| {
        let figures: Vec<_> = outcome
            .seconds
            .iter()
            .map(|s| figure(s).to_string())
            .collect();
        format!("\"{name}\":[{}]", figures.join(","))
    };
    let layers: Vec<_> = outcome
        .changes
        .iter()
        .map(|(ms, target)| match target {
            Some((layer, temporal)) => format!("[{ms},{layer},{temporal}]"),
            None => format!("[{ms},null,null]"),
        })
        .collect();
    [
        column("link_kbps", |s| s.link),
        column("estimate_kbps", |s| s.estimate),
        column("goodput_kbps", |s| s.goodput),
        column("queue_p95_ms", |s| s.queue_ms),
        format!("\"layers\":[{}]", layers.join(",")),
    ]
    .join(",\n ")
}
