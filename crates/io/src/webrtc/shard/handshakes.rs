//! How many DTLS handshakes an address may begin: each costs a signature.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);
/// A whole audience may come from behind one address; more a second is an attack or will come again.
const MAX_A_WINDOW: u32 = 200;
/// Addresses counted at a time; who comes when there are more waits for the next window.
const MAX_ADDRESSES: usize = 10_000;

/// Counts handshakes by address, anew in each window.
#[derive(Debug)]
pub struct Handshakes {
    began: Instant,
    counts: HashMap<IpAddr, u32>,
}

impl Handshakes {
    /// Nobody has been heard.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            counts: HashMap::new(),
        }
    }

    /// Whether this datagram may be served: all may but the beginning of one handshake too many.
    pub fn admit(&mut self, from: IpAddr, datagram: &[u8], now: Instant) -> bool {
        if !is_client_hello(datagram) {
            return true;
        }
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.counts.clear();
            self.began = now;
        }
        let from = network(from);
        if self.counts.len() >= MAX_ADDRESSES && !self.counts.contains_key(&from) {
            return false;
        }
        let count = self.counts.entry(from).or_default();
        *count += 1;
        *count <= MAX_A_WINDOW
    }
}

/// A handshake record (RFC 6347 §4.1) that holds a `ClientHello` (§4.2.2).
fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.first() == Some(&22) && datagram.get(13) == Some(&1)
}

/// Who has one IPv6 address has the 2⁶⁴ beside it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) & !u128::from(u64::MAX)).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 14] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

    #[test]
    fn one_address_begins_so_many_and_no_more_until_the_next_window() {
        let now = Instant::now();
        let mut handshakes = Handshakes::new(now);
        let (greedy, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let admitted = (0..500)
            .filter(|_| handshakes.admit(greedy, &HELLO, now))
            .count();
        assert_eq!(admitted, MAX_A_WINDOW as usize);
        assert!(handshakes.admit(other, &HELLO, now));
        assert!(
            handshakes.admit(greedy, &[22, 254, 253], now),
            "what is under way goes on"
        );
        assert!(handshakes.admit(greedy, &HELLO, now + WINDOW));
    }

    #[test]
    fn neighbours_in_an_ipv6_network_count_as_one() {
        let now = Instant::now();
        let mut handshakes = Handshakes::new(now);
        let address = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let admitted = (0..500)
            .filter(|n| handshakes.admit(address(*n), &HELLO, now))
            .count();
        assert_eq!(admitted, MAX_A_WINDOW as usize);
    }
}
