//! What a packet costs in the core, without sockets: sealing, rewriting and sealing, fan-out
//! to 1 to 1,000 viewers, a storm of NACKs, a stranger's request, a join.
//!
//! Prints one JSON object: for each benchmark nanoseconds (thread CPU time) and, where the
//! machine counts them, instructions, both for one operation; the best of several rounds.
//! `bench/micro.py` compares them with the last commit's.

mod counter;
mod scene;

use std::fmt::Write;
use std::time::Duration;

use stagecast_core::outbox::Outbox;
use stagecast_core::session::Mint;
use stagecast_core::srtp::{Profile, contexts};
use stagecast_proto::rtp::HeaderWriter;
use stagecast_proto::stun::binding_username;

use counter::{Cost, Counter};
use scene::Scene;

const ROUNDS: usize = 7;
const PAYLOAD: usize = 1150;
/// Packets of a frame; 30 of these a second are 2.5 Mbit/s.
const FRAME: usize = 9;

fn main() {
    // Cargo passes `--bench`, and a name to run some only.
    let only = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let wanted = |name: &str| only.as_deref().is_none_or(|text| name.contains(text));
    let mut counter = Counter::open();
    let mut out = String::new();
    let mut report = |name: &str, operations: usize, cost: Cost| {
        let separator = if out.is_empty() { "" } else { "," };
        let per = operations as f64;
        let instructions = cost
            .instructions
            .map_or("null".into(), |n| format!("{:.1}", n as f64 / per));
        write!(
            out,
            "{separator}\n  \"{name}\": {{\"ns\": {:.2}, \"instructions\": {instructions}}}",
            cost.time.as_nanos() as f64 / per
        )
        .expect("a String takes any text");
    };
    for profile in Profile::ALL {
        let name = match profile {
            Profile::Aes128CmSha1_80 => "seal_aes_cm_sha1",
            Profile::AeadAes128Gcm => "seal_aes_128_gcm",
            Profile::AeadAes256Gcm => "seal_aes_256_gcm",
        };
        if wanted(name) {
            let (operations, cost) = best(&mut counter, |counter| seal(counter, profile));
            report(name, operations, cost);
        }
    }
    for viewers in [1, 10, 100, 1000] {
        let name = format!("fan_out_{viewers}");
        if wanted(&name) {
            let mut scene = Scene::new(viewers);
            let (operations, cost) = best(&mut counter, |counter| fan_out(counter, &mut scene));
            report(&name, operations, cost);
        }
    }
    if wanted("nack_storm") {
        let mut scene = Scene::new(100);
        let (operations, cost) = best(&mut counter, |counter| nack_storm(counter, &mut scene));
        report("nack_storm", operations, cost);
    }
    if wanted("stranger") {
        let (operations, cost) = best(&mut counter, stranger);
        report("stranger", operations, cost);
    }
    if wanted("join") {
        let (operations, cost) = best(&mut counter, join);
        report("join", operations, cost);
    }
    println!("{{{out}\n}}");
}

/// The cheapest of several rounds: whatever else the machine did only added.
fn best(
    counter: &mut Counter,
    mut round: impl FnMut(&mut Counter) -> (usize, Cost),
) -> (usize, Cost) {
    let rounds = (0..ROUNDS).map(|_| round(counter));
    let per = |(operations, cost): &(usize, Cost)| cost.time / (*operations).max(1) as u32;
    rounds
        .min_by_key(|r| per(r).max(Duration::from_nanos(1)))
        .expect("there are rounds")
}

/// A header written and a packet sealed in place.
fn seal(counter: &mut Counter, profile: Profile) -> (usize, Cost) {
    const COUNT: usize = 20_000;
    let material = vec![7; profile.keying_material_len()];
    let (sealer, _) = contexts(profile, &material, true).expect("material of its length");
    let mut packet = vec![0; 12 + PAYLOAD + profile.rtp_overhead()];
    let cost = counter.measure(|| {
        for index in 0..COUNT as u64 {
            let header = HeaderWriter {
                payload_type: 96,
                sequence: index as u16,
                ssrc: 1,
                ..HeaderWriter::default()
            };
            let len = header.write(&mut packet).expect("room for a header");
            std::hint::black_box(sealer.seal_rtp(&mut packet, len, 1, index));
        }
    });
    (COUNT, cost)
}

/// Frames to all viewers; an operation is a packet to one viewer.
fn fan_out(counter: &mut Counter, scene: &mut Scene) -> (usize, Cost) {
    let frames = (4000 / scene.viewers.len()).clamp(4, 400);
    let mut total = Cost::default();
    let mut sent = 0;
    for _ in 0..frames {
        scene.ingest_frame();
        let mut out = std::mem::take(&mut scene.out);
        out.clear();
        total += counter.measure(|| scene.deliver(&mut out));
        sent += out
            .runs()
            .iter()
            .map(|r| r.datagrams().count())
            .sum::<usize>();
        scene.out = out;
    }
    assert_eq!(
        sent,
        frames * FRAME * scene.viewers.len(),
        "every viewer got every packet"
    );
    (sent, total)
}

/// Every viewer asks for every fourth packet of the last frames at once; an operation is a
/// packet sent again.
fn nack_storm(counter: &mut Counter, scene: &mut Scene) -> (usize, Cost) {
    let mut total = Cost::default();
    let mut sent = 0;
    for _ in 0..10 {
        for _ in 0..6 {
            scene.ingest_frame();
            let mut out = std::mem::take(&mut scene.out);
            out.clear();
            scene.deliver(&mut out);
            scene.out = out;
        }
        let mut nacks = scene.nacks();
        let mut out = Outbox::default();
        total += counter.measure(|| scene.resend(&mut nacks, &mut out));
        sent += out
            .runs()
            .iter()
            .map(|r| r.datagrams().count())
            .sum::<usize>();
    }
    assert!(
        sent >= 10 * scene.viewers.len() * 10,
        "{sent} packets were sent again"
    );
    (sent, total)
}

/// A binding request of someone who knows a session's name and not its password, on any thread; an operation
/// is one of them.
fn stranger(counter: &mut Counter) -> (usize, Cost) {
    const COUNT: usize = 20_000;
    let mint = Mint::new(&[7; 32]);
    let name = format!("{}:them", mint.issue(1, [7; 8]).ufrag);
    let attribute = |kind: u16, value: &[u8]| {
        let head = [kind.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        [&head, value, &padding].concat()
    };
    // USERNAME, PRIORITY, ICE-CONTROLLING and MESSAGE-INTEGRITY, as a browser sends them.
    let attributes = [
        attribute(0x0006, name.as_bytes()),
        attribute(0x0024, &[1; 4]),
        attribute(0x802a, &[2; 8]),
        attribute(0x0008, &[3; 20]),
    ]
    .concat();
    let len = (attributes.len() as u16).to_be_bytes();
    let request = [
        &[0, 1],
        &len[..],
        &[0x21, 0x12, 0xa4, 0x42],
        &[9; 12],
        &attributes,
    ]
    .concat();
    let cost = counter.measure(|| {
        for _ in 0..COUNT {
            let named = binding_username(std::hint::black_box(&request));
            let (ours, _) = named.expect("a request that names a session");
            assert!(!mint.is_genuine(ours, &request));
        }
    });
    (COUNT, cost)
}

/// The server's part of a join: offer, answer, ICE, DTLS; an operation is one viewer.
fn join(counter: &mut Counter) -> (usize, Cost) {
    const JOINS: usize = 40;
    let mut total = Cost::default();
    for n in 0..JOINS {
        total += scene::join(counter, n);
    }
    (JOINS, total)
}
