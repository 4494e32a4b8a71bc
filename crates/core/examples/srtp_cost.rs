//! Nanoseconds to seal and open a packet of 1,200 bytes, for each profile.
//!
//! `cargo run --release -p stagecast-core --example srtp_cost`

use std::hint::black_box;
use std::time::Instant;

use stagecast_core::srtp::{Profile, SrtpError, contexts};

const PACKET: usize = 1200;
const HEADER: usize = 24;
/// A round is short, so that the best of many was not interrupted.
const PACKETS: u64 = 200;
const ROUNDS: u64 = 2_000;

fn main() -> Result<(), SrtpError> {
    println!(
        "{:<20} {:>10} {:>10} {:>12}",
        "profile", "seal ns", "open ns", "set-up ns"
    );
    for profile in Profile::ALL {
        let material = vec![7; profile.keying_material_len()];
        let (sealer, _) = contexts(profile, &material, true)?;
        let (_, mut opener) = contexts(profile, &material, false)?;
        let mut packet = vec![0x5a; PACKET + profile.rtp_overhead()];
        packet[..4].copy_from_slice(&[0x90, 96, 0, 0]);
        packet[12..16].copy_from_slice(&[0xbe, 0xde, 0, 2]);
        let ssrc = u32::from_be_bytes([0x5a; 4]);

        let mut best = [u64::MAX; 3];
        for round in 0..ROUNDS {
            let indices = round * PACKETS..(round + 1) * PACKETS;
            best[0] = best[0].min(per_packet(indices.clone(), |index| {
                sealer.seal_rtp(black_box(&mut packet), HEADER, ssrc, index);
            }));
            let mut sealed: Vec<_> = indices
                .clone()
                .map(|index| {
                    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
                    sealer.seal_rtp(&mut packet, HEADER, ssrc, index);
                    packet.clone()
                })
                .collect();
            let mut sealed = sealed.iter_mut();
            best[1] = best[1].min(per_packet(indices, |_| {
                let packet = sealed.next().expect("one was sealed for each");
                opener
                    .open_rtp(black_box(packet), HEADER)
                    .expect("it is authentic");
            }));
            best[2] = best[2].min(per_packet(0..10, |_| {
                black_box(contexts(profile, &material, true)).expect("the length is right");
            }));
        }
        let [seal, open, setup] = best;
        println!(
            "{:<20} {seal:>10} {open:>10} {setup:>12}",
            format!("{profile:?}")
        );
    }
    Ok(())
}

fn per_packet(indices: std::ops::Range<u64>, mut work: impl FnMut(u64)) -> u64 {
    let count = indices.end - indices.start;
    let start = Instant::now();
    indices.for_each(&mut work);
    start.elapsed().as_nanos() as u64 / count
}
