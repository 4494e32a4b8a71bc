//! Some of the runs drawn: link, estimate and goodput over time, and the layer below.

use std::fmt::Write;

use crate::model::outcome::{Outcome, Second};
use crate::report::Row;

/// What is worth a drawing.
const DRAWN: [&str; 8] = [
    "steps 1 - 0.3 - 10 - 2",
    "step down 10 - 0.7",
    "step up 0.3 - 3",
    "steady 2 Mbit/s",
    "2 Mbit/s, 50 ms jitter",
    "4 Mbit/s, 5 % loss",
    "policer 1 Mbit/s, 30 kB",
    "4 Mbit/s, TCP from 20 to 40 s",
];
const CELL: (f64, f64) = (430.0, 190.0);
const AREA: (f64, f64) = (360.0, 110.0);
const LEFT: f64 = 50.0;
const TOP: f64 = 30.0;
/// Nothing, and the layers from the lowest.
const LAYER_COLOURS: [&str; 5] = ["#d9d9d9", "#c6dbef", "#9ecae1", "#4292c6", "#084594"];

/// A drawing with a line for each scenario: ours to the left, str0m's to the right.
pub fn svg(rows: &[Row]) -> String {
    let lines: Vec<_> = DRAWN
        .iter()
        .map(|name| rows.iter().filter(|row| row.name() == *name).collect())
        .filter(|line: &Vec<&Row>| !line.is_empty())
        .collect();
    let (width, height) = (CELL.0 * 2.0, CELL.1 * lines.len() as f64 + 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (y, line) in lines.iter().enumerate() {
        for (x, row) in line.iter().enumerate() {
            let at = (x as f64 * CELL.0, y as f64 * CELL.1);
            let _ = writeln!(svg, "<g transform=\"translate({},{})\">", at.0, at.1);
            cell(&mut svg, row.who, &row.outcomes[0]);
            svg += "</g>\n";
        }
    }
    legend(&mut svg, height - 8.0);
    svg + "</svg>\n"
}

fn cell(svg: &mut String, who: &str, outcome: &Outcome) {
    let top_rung = outcome.rungs.last().copied().unwrap_or(0);
    let scale = f64::from(top_rung.max(1000)) * 1.4;
    let seconds = outcome.seconds.len() as f64;
    let x = |second: f64| LEFT + second / seconds * AREA.0;
    let y = |kbps: u32| TOP + AREA.1 * (1.0 - (f64::from(kbps) / scale).min(1.0));
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}: {who}</text>",
        outcome.name.replace('&', "&amp;")
    );
    for mbps in 0..=(scale / 1e3) as u32 {
        let at = y(mbps * 1000);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.0}h{}\" stroke=\"#eee\"/>\
             <text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{mbps}</text>",
            AREA.0,
            LEFT - 6.0,
            at + 4.0
        );
    }
    let mut line = |figure: fn(&Second) -> u32, style: &str| {
        let points: Vec<_> = outcome
            .seconds
            .iter()
            .enumerate()
            .map(|(i, s)| format!("{:.0},{:.0}", x(i as f64 + 0.5), y(figure(s))))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" {style}/>");
    };
    line(|s| s.link, "stroke=\"#999\" stroke-width=\"2\"");
    line(
        |s| s.estimate,
        "stroke=\"#d95f02\" stroke-dasharray=\"4 2\"",
    );
    line(|s| s.goodput, "stroke=\"#1b7837\" stroke-width=\"2\"");
    layers(svg, outcome, x);
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\">queue p95 {:.0} ms, {:.1} changes a minute, \
         picture stood {:.1} s</text>",
        TOP + AREA.1 + 36.0,
        outcome.queue_ms(0.95),
        outcome.changes_a_minute(),
        outcome.frozen_ms.0 as f64 / 1e3
    );
}

fn layers(svg: &mut String, outcome: &Outcome, x: impl Fn(f64) -> f64) {
    let end = (outcome.seconds.len() as u32 * 1000, None);
    let ends = outcome.changes.iter().skip(1).chain([&end]);
    for ((from, target), (to, _)) in outcome.changes.iter().zip(ends) {
        let colour = LAYER_COLOURS[target.map_or(0, |(layer, _)| (layer + 1).min(4))];
        let (from, to) = (x(f64::from(*from) / 1e3), x(f64::from(*to) / 1e3));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" fill=\"{colour}\"/>",
            TOP + AREA.1 + 6.0,
            to - from
        );
    }
}

fn legend(svg: &mut String, y: f64) {
    let texts = [
        ("#999", "link, Mbit/s"),
        ("#d95f02", "estimate"),
        ("#1b7837", "goodput"),
        (LAYER_COLOURS[0], "no video"),
        (LAYER_COLOURS[1], "150 kbit/s"),
        (LAYER_COLOURS[2], "500 kbit/s"),
        (LAYER_COLOURS[3], "1.5 Mbit/s"),
        (LAYER_COLOURS[4], "2.5 Mbit/s"),
    ];
    for (index, (colour, text)) in texts.iter().enumerate() {
        let x = LEFT + index as f64 * 100.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{:.0}\" width=\"14\" height=\"8\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y:.0}\">{text}</text>",
            y - 8.0,
            x + 18.0
        );
    }
}
