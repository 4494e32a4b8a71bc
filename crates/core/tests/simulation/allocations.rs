//! Estimating and choosing must not allocate once a viewer has settled.

use std::time::{Duration, Instant};

use stagecast_core::bwe::{
    Allocator, Bitrate, Config, Estimator, LayerOffer, PacketKind, Stamp, Wishes,
};

use super::counting::allocations;

#[test]
fn viewer_that_has_settled_allocates_nothing() {
    let start = Instant::now();
    let mut estimator = Estimator::new(Config::default(), start);
    let mut allocator = Allocator::new();
    let offers = [150, 500, 1500].map(Bitrate::from_kbps);
    let offers = [0, 1, 2].map(|layer| LayerOffer::new(layer, offers[layer]));
    let mut seq = 0_u64;
    let mut second = |from: u64| {
        for ms in from * 1000..(from + 1) * 1000 {
            let now = start + Duration::from_millis(ms);
            if ms % 5 == 0 {
                estimator.on_sent(now, seq, 1000, PacketKind::Media);
                seq += 1;
            }
            while let Some(probe) = estimator.poll_probe(now) {
                for _ in 0..probe.bytes / probe.packet_bytes {
                    estimator.on_sent(now, seq, probe.packet_bytes, PacketKind::Padding);
                    seq += 1;
                }
            }
            if ms % 100 == 99 {
                let reported = seq.saturating_sub(20)..seq;
                let arrival =
                    |seq: u64| (!seq.is_multiple_of(50)).then_some((ms * 1000 - (1 << 10)) as i64);
                estimator.on_feedback(
                    now,
                    reported.map(|seq| (seq as u16, arrival(seq).map(Stamp::from_micros))),
                );
                let network = estimator.network(now);
                let audio = Bitrate::from_kbps(50);
                let decision = allocator.update(now, audio, &offers, Wishes::default(), &network);
                if let Some(target) = decision.target {
                    allocator.on_switched(target.layer);
                }
                estimator.set_allocated(decision.allocated);
                estimator.want_probe(decision.probe);
                estimator.handle_timeout(now);
            }
        }
    };
    for warming in 0..20 {
        second(warming);
    }
    let count = allocations(|| {
        for settled in 20..40 {
            second(settled);
        }
    });
    assert_eq!(count, 0);
}
