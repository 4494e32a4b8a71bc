//! What the media path does for every packet must not allocate.

use stagecast_core::srtp::{Profile, contexts};

use super::counting::allocations;
use super::material;

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
