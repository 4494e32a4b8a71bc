//! What datagrams of strangers cost: no memory, and no answer that could be sent to somebody else.

use std::time::Instant;

use stagecast_core::outbox::{Outbox, Path};
use stagecast_core::session::Mint;
use stagecast_proto::stun::binding_username;

use super::counting::allocations;
use super::{Ours, Scene, server};

/// STUN message (RFC 8489 §5) of a kind and attributes.
fn stun(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in attributes {
        body.extend(name.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = kind.to_be_bytes().to_vec();
    message.extend((body.len() as u16).to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42]);
    message.extend([7; 12]);
    message.extend(body);
    message
}

/// What a flood consists of: requests with the right name and without its password, and everything else that
/// may come in on the port.
fn flood(name: &str) -> Vec<Vec<u8>> {
    let (username, integrity) = (0x0006, 0x0008);
    let mut datagrams = vec![
        stun(1, &[(username, name.as_bytes())]),
        stun(1, &[(username, name.as_bytes()), (integrity, &[9; 20])]),
        stun(1, &[(username, b"00guess:peer"), (integrity, &[9; 20])]),
        stun(0x0101, &[(integrity, &[9; 20])]),
    ];
    let mut record = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1];
    record.resize(73, 3);
    for first in [128, 144, 0, 20, 63, 64, 191, 255] {
        let mut other = vec![first, 200];
        other.resize(1200, 5);
        datagrams.push(other);
    }
    datagrams.push(record);
    datagrams
}

#[test]
fn strangers_take_no_memory_and_get_no_answer() {
    let mut scene = Scene::new(true);
    let Ours::Lean(viewer) = &mut scene.ours else {
        unreachable!("a lean scene")
    };
    let name = format!("{}:peer", viewer.ufrag());
    let mut out = Outbox::default();
    let mut datagrams = flood(&name);
    let mut asked = |datagrams: &mut Vec<Vec<u8>>| {
        allocations(|| {
            for (port, datagram) in datagrams.iter_mut().enumerate() {
                let from = Path {
                    remote: ([192, 0, 2, 1], 1000 + port as u16).into(),
                    local: Some(server().ip()),
                    tcp: false,
                };
                // Handshakes belong to a path that has been proved; the driver finds none for a stranger.
                if !(20..64).contains(&datagram[0]) {
                    let handled = viewer.handle_datagram(Instant::now(), from, datagram, &mut out);
                    assert!(!handled.taken);
                }
            }
        })
    };
    asked(&mut datagrams);
    assert_eq!(asked(&mut datagrams), 0);
    assert!(out.runs().is_empty(), "nothing to amplify");
    assert_eq!(viewer.path(), None);
}

#[test]
fn thread_that_does_not_know_the_session_sorts_strangers_out_without_memory() {
    let mint = Mint::new(&[3; 32]);
    let session = mint.issue(1, [5; 8]);
    let datagrams = flood(&format!("{}:peer", session.ufrag));
    let check = || {
        let mut named = 0;
        let asked = allocations(|| {
            for datagram in &datagrams {
                if let Some((ours, _)) = binding_username(datagram) {
                    named += 1;
                    assert!(!mint.is_genuine(ours, datagram));
                }
            }
        });
        (named, asked)
    };
    check();
    assert_eq!(check(), (3, 0));
}
