//! A short run of every target: its corpus, every cut of it, then seeded mutations of it for a
//! bounded time. `FUZZ_SECONDS` makes it longer; a failure prints the input in hexadecimal.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use stagecast_fuzz::{TARGETS, Target};

/// Seconds a target gets when nothing else is said.
const SECONDS: u64 = 1;
/// Inputs a target gets at least, however slow the machine is.
const AT_LEAST: u64 = 200;
/// Longest mutated input: more than a datagram, and more than an SDP may be.
const MAX_LEN: usize = 80_000;

/// xorshift64*: small, seeded, the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = std::fs::read_dir(&folder).expect("every target has a corpus folder");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn mutate(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'\r', b':', b' '];
    let mut input = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(input.len());
        let span = chance.below(64).min(input.len() - at.min(input.len()));
        match chance.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << chance.below(8),
            1 if !input.is_empty() => input[at] = EDGES[chance.below(EDGES.len())],
            2 => input.truncate(at),
            3 => drop(input.drain(at..at + span)),
            4 => {
                let piece: Vec<u8> = input[at..at + span].to_vec();
                for _ in 0..=chance.below(50) {
                    input.splice(at..at, piece.iter().copied());
                }
            }
            5 => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => {
                let noise: Vec<u8> = (0..span).map(|_| chance.next() as u8).collect();
                input.splice(at..at, noise);
            }
            _ => {
                let number = [0_u64, 1, 255, 65_535, 65_536, u64::MAX][chance.below(6)];
                input.splice(at..at, number.to_string().into_bytes());
            }
        }
        input.truncate(MAX_LEN);
    }
    input
}

fn check((name, target): Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{name} breaks on {} bytes: {input:02x?}", input.len());
        resume_unwind(panic);
    }
}

fn short_run(name: &str) {
    let target = *TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a known target");
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let seeds = corpus(name);
    check(target, &[]);
    for seed in &seeds {
        // Every cut of a short message; of a long one some.
        for len in (0..=seed.len()).step_by(1 + seed.len() / 500) {
            check(target, &seed[..len]);
        }
    }
    let mut chance = Chance(0x5eed_0000 + name.len() as u64);
    let mut done = 0;
    while done < AT_LEAST || Instant::now() < until {
        check(target, &mutate(&seeds, &mut chance));
        done += 1;
    }
}

#[test]
fn any_session_description_is_read_or_refused() {
    short_run("sdp");
}

#[test]
fn any_fragment_is_read_or_refused() {
    short_run("fragment");
}

#[test]
fn any_datagram_is_sorted() {
    short_run("stun");
}

#[test]
fn any_rtp_packet_is_read_or_refused() {
    short_run("rtp");
}

#[test]
fn any_dependency_descriptor_is_read_or_refused() {
    short_run("dependency");
}

#[test]
fn any_payload_says_something_or_nothing() {
    short_run("payload");
}

#[test]
fn any_rtcp_compound_is_read_or_refused() {
    short_run("rtcp");
}

#[test]
fn any_offer_and_any_datagram_leave_a_session_alive_or_ended() {
    short_run("session");
}

#[test]
fn any_playlist_address_is_read_or_refused() {
    short_run("hls");
}

#[test]
fn any_amf_is_read_or_refused() {
    short_run("amf");
}

#[test]
fn any_flv_tag_is_read_or_refused() {
    short_run("flv");
}

#[test]
fn any_handshake_of_rtmp_is_answered_or_refused() {
    short_run("handshake");
}

#[test]
fn any_bytes_after_the_handshake_leave_an_rtmp_connection_alive_or_ended() {
    short_run("rtmp");
}

#[test]
fn any_transport_stream_gives_frames_or_nothing() {
    short_run("ts");
}

#[test]
fn any_datagram_leaves_an_srt_connection_sound() {
    short_run("srt");
}

#[test]
fn any_decoder_configuration_is_read_or_refused() {
    short_run("config");
}

#[test]
fn any_packets_give_frames_or_nothing() {
    short_run("frames");
}
