//! What the media path does for every packet must not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use stagecast_core::srtp::{Profile, contexts};

use super::material;

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

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(Box::new(1_u8)))),
        1
    );
}

#[test]
fn sealing_rtp_does_not_allocate() {
    for profile in Profile::ALL {
        let (sealer, _) = contexts(profile, &material(profile), true).unwrap();
        let mut packet = [0x80; 1200];
        let count = allocations(|| {
            for index in 0..1000 {
                sealer.seal_rtp(&mut packet, 20, 7, index);
            }
        });
        assert_eq!(count, 0, "{profile:?}");
    }
}

#[test]
fn sealing_rtcp_with_capacity_does_not_allocate() {
    for profile in Profile::ALL {
        let (mut sealer, _) = contexts(profile, &material(profile), true).unwrap();
        let mut packet = Vec::with_capacity(200);
        let count = allocations(|| {
            for _ in 0..1000 {
                packet.clear();
                packet.extend_from_slice(&[0x80; 100]);
                sealer.seal_rtcp(&mut packet).unwrap();
            }
        });
        assert_eq!(count, 0, "{profile:?}");
    }
}

#[test]
fn opening_a_known_ssrc_or_a_forgery_does_not_allocate() {
    for profile in Profile::ALL {
        let (mut sealer, _) = contexts(profile, &material(profile), true).unwrap();
        let (_, mut opener) = contexts(profile, &material(profile), false).unwrap();
        let mut packets: Vec<_> = (0..100)
            .map(|_| {
                let mut packet = vec![0x80; 100];
                sealer.seal_rtcp(&mut packet).unwrap();
                packet
            })
            .collect();
        opener.open_rtcp(&mut packets[0]).unwrap();
        let count = allocations(|| {
            for packet in &mut packets[1..] {
                opener.open_rtcp(packet).unwrap();
            }
            let mut forgery = [0x80; 100];
            for ssrc in 0..100_u8 {
                forgery[7] = ssrc;
                assert!(opener.open_rtcp(&mut forgery).is_err());
                assert!(opener.open_rtp(&mut forgery, 12).is_err());
            }
        });
        assert_eq!(count, 0, "{profile:?}");
    }
}
