//! The links that are simulated.

use super::link::LinkSpec;
use super::run::Scenario;

/// Simulcast layers in kbit/s.
pub const LAYERS: &[u32] = &[150, 500, 1500, 2500];

/// A simulcast publisher over a link.
pub fn ladder(name: &'static str, link: LinkSpec) -> Scenario {
    Scenario {
        name,
        link,
        layers: LAYERS,
        temporal: false,
        competing: None,
        seconds: 60,
    }
}

/// An encoder for one viewer over a link.
pub fn elastic(name: &'static str, link: LinkSpec) -> Scenario {
    Scenario {
        layers: &[],
        ..ladder(name, link)
    }
}

/// Those whose name contains this.
pub fn named(part: &str) -> Vec<Scenario> {
    let found: Vec<_> = all()
        .into_iter()
        .filter(|s| s.name.contains(part))
        .collect();
    assert!(!found.is_empty(), "no scenario has {part} in its name");
    found
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    let steady = LinkSpec::steady;
    let up_down = &[(0, 1000), (15, 300), (30, 10_000), (45, 2000)];
    let rtt = |kbps, rtt_ms| LinkSpec {
        rtt_ms,
        ..steady(kbps)
    };
    let loss = |kbps, loss| LinkSpec {
        loss,
        ..steady(kbps)
    };
    let jitter = |kbps, jitter_ms| LinkSpec {
        jitter_ms,
        ..steady(kbps)
    };
    let policer = |kbps, bytes| LinkSpec {
        policer_bytes: Some(bytes),
        ..steady(kbps)
    };
    vec![
        ladder("steady 300 kbit/s", steady(300)),
        ladder("steady 700 kbit/s", steady(700)),
        // What a browser makes of three layers, the best of which is tried first and is far too much.
        Scenario {
            layers: &[110, 320, 900],
            ..ladder(
                "steady 500 kbit/s, short queue",
                LinkSpec {
                    queue_ms: 200,
                    rtt_ms: 2,
                    ..steady(500)
                },
            )
        },
        ladder("steady 1 Mbit/s", steady(1000)),
        ladder("steady 2 Mbit/s", steady(2000)),
        ladder("steady 3 Mbit/s", steady(3000)),
        ladder("steady 10 Mbit/s", steady(10_000)),
        ladder("steps 1 - 0.3 - 10 - 2", LinkSpec::steps(up_down)),
        ladder(
            "step down 10 - 0.7",
            LinkSpec::steps(&[(0, 10_000), (30, 700)]),
        ),
        ladder("step up 0.3 - 3", LinkSpec::steps(&[(0, 300), (30, 3000)])),
        ladder("3 Mbit/s, 20 ms round trip", rtt(3000, 20)),
        ladder("3 Mbit/s, 300 ms round trip", rtt(3000, 300)),
        ladder("700 kbit/s, 300 ms round trip", rtt(700, 300)),
        ladder("3 Mbit/s, 2 % loss", loss(3000, 0.02)),
        ladder("4 Mbit/s, 5 % loss", loss(4000, 0.05)),
        ladder("4 Mbit/s, 10 % loss", loss(4000, 0.10)),
        ladder("700 kbit/s, 5 % loss", loss(700, 0.05)),
        ladder("3 Mbit/s, 20 ms jitter", jitter(3000, 20.0)),
        ladder("2 Mbit/s, 50 ms jitter", jitter(2000, 50.0)),
        ladder("policer 1 Mbit/s, 30 kB", policer(1000, 30_000)),
        ladder("policer 3 Mbit/s, 60 kB", policer(3000, 60_000)),
        Scenario {
            competing: Some((20, 40)),
            ..ladder("4 Mbit/s, TCP from 20 to 40 s", steady(4000))
        },
        Scenario {
            temporal: true,
            ..ladder("temporal layers, 1.2 Mbit/s", steady(1200))
        },
        Scenario {
            temporal: true,
            ..ladder("temporal layers, steps", LinkSpec::steps(up_down))
        },
        elastic("encoder, 1 Mbit/s", steady(1000)),
        elastic("encoder, 5 Mbit/s", steady(5000)),
        elastic(
            "encoder, 1 - 4 - 2 Mbit/s",
            LinkSpec::steps(&[(0, 1000), (20, 4000), (40, 2000)]),
        ),
    ]
}
