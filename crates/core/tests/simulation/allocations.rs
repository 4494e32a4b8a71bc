//! Estimating and choosing must not allocate once a viewer has settled.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use stagecast_core::bwe::{
    Allocator, Bitrate, Config, Estimator, LayerOffer, PacketKind, Stamp, Wishes,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what this thread asks for, so that tests beside it do not matter.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; the counter is a
// constant-initialised thread local without a destructor, so it never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(old, layout, new_size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

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
    let before = COUNT.get();
    for settled in 20..40 {
        second(settled);
    }
    assert_eq!(COUNT.get() - before, 0);
}
