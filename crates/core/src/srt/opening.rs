//! Before there is a connection: cookies without memory, what a caller says of itself, refusals.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use stagecast_proto::srt::handshake::{
    CONCLUSION, Handshake, INDUCTION, KeyMaterial, MAGIC, REFUSED, Terms, VERSION, extension,
};
use stagecast_proto::srt::{Control, Packet, control};

use super::{Keys, WINDOW};

/// How long a cookie is good for, at least; twice that at most.
const COOKIE_AGE: Duration = Duration::from_secs(30);
/// Longest packet with IP and UDP headers.
const MTU: u32 = 1500;

/// Cookies that prove a caller's address without anything being kept for it (§4.3.1.1).
#[derive(Debug)]
pub struct Cookies {
    key: hmac::Key,
    began: Instant,
}

impl Cookies {
    /// Cookies of this process, from the caller's randomness.
    pub fn new(secret: [u8; 32], now: Instant) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            began: now,
        }
    }

    fn at(&self, peer: SocketAddr, period: u64) -> u32 {
        let text = format!("{peer}/{period}");
        let tag = hmac::sign(&self.key, text.as_bytes());
        let first = tag.as_ref().first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(first)
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / COOKIE_AGE.as_secs()
    }

    /// The cookie for an address now.
    pub fn give(&self, peer: SocketAddr, now: Instant) -> u32 {
        self.at(peer, self.period(now))
    }

    /// Whether it was given to this address not long ago.
    pub fn is_good(&self, cookie: u32, peer: SocketAddr, now: Instant) -> bool {
        let period = self.period(now);
        let before = period.checked_sub(1);
        [Some(period), before]
            .into_iter()
            .flatten()
            .any(|p| self.at(peer, p) == cookie)
    }
}

/// The answer to an induction, if it is one.
pub fn induction_answer(asked: &Handshake<'_>, cookie: u32, encrypted: bool) -> Option<Vec<u8>> {
    if asked.kind != INDUCTION {
        return None;
    }
    let answer = Handshake {
        version: VERSION,
        encryption: if encrypted { 2 } else { 0 },
        extension: MAGIC,
        sequence: asked.sequence,
        mtu: MTU.min(asked.mtu.max(576)),
        window: WINDOW,
        kind: INDUCTION,
        socket: 0,
        cookie,
        extensions: Vec::new(),
    };
    Some(packet(&answer, asked.socket))
}

/// Why a caller is sent away, as SRT numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The handshake is no version 5.
    Version,
    /// Its keys cannot be unwrapped: another passphrase.
    Secret,
    /// It encrypts and the server does not, or the other way round.
    Unsecured,
    /// No room.
    Busy,
    /// What the control plane says, by its name.
    Code(u32),
}

impl Refusal {
    /// From the name of a verdict.
    pub fn from_code(code: &str) -> Self {
        match code {
            "unauthorized" => Self::Code(1401),
            "forbidden" => Self::Code(1403),
            "not_found" => Self::Code(1404),
            "conflict" => Self::Code(1409),
            _ => Self::Busy,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Version => 8,
            Self::Secret => 10,
            Self::Unsecured => 11,
            Self::Busy => 1503,
            Self::Code(code) => code,
        }
    }
}

/// The answer to a conclusion that is refused.
pub fn refusal(asked: &Handshake<'_>, why: Refusal) -> Vec<u8> {
    let answer = Handshake {
        version: VERSION,
        kind: REFUSED + why.number(),
        extension: 0,
        encryption: 0,
        extensions: Vec::new(),
        ..asked.clone()
    };
    packet(&answer, asked.socket)
}

/// A handshake as a datagram to a peer's socket.
pub(super) fn packet(handshake: &Handshake<'_>, to: u32) -> Vec<u8> {
    let body = handshake.to_bytes();
    let packet = Packet::Control(Control {
        kind: control::HANDSHAKE,
        subtype: 0,
        number: 0,
        timestamp: 0,
        socket: to,
        body: &body,
    });
    packet.to_bytes()
}

/// What a caller's conclusion says.
#[derive(Debug)]
pub struct Opening {
    /// The caller's socket.
    pub peer_socket: u32,
    /// First sequence number, of both sides.
    pub sequence: u32,
    /// Stream id; empty if there is none.
    pub stream_id: String,
    /// Its latencies and flags.
    pub terms: Terms,
    /// Its keys.
    pub keys: Option<Keys>,
    /// Its key message, to be sent back.
    pub(super) key_message: Option<Vec<u8>>,
    pub(super) mtu: u32,
}

impl Opening {
    /// Read a conclusion whose cookie is good.
    pub fn read(asked: &Handshake<'_>, passphrase: Option<&str>) -> Result<Self, Refusal> {
        if asked.kind != CONCLUSION || asked.version != VERSION {
            return Err(Refusal::Version);
        }
        let terms = asked
            .extension(extension::HS_REQUEST)
            .and_then(Terms::parse);
        let terms = terms.ok_or(Refusal::Version)?;
        let message = asked.extension(extension::KEY_REQUEST);
        let keys = match (passphrase, message) {
            (Some(passphrase), Some(message)) => {
                let material = KeyMaterial::parse(message).ok_or(Refusal::Unsecured)?;
                Some(Keys::unwrap(passphrase, &material).ok_or(Refusal::Secret)?)
            }
            (None, None) => None,
            _ => return Err(Refusal::Unsecured),
        };
        Ok(Self {
            peer_socket: asked.socket,
            sequence: asked.sequence,
            stream_id: asked.stream_id().unwrap_or_default(),
            terms,
            keys,
            key_message: message.map(<[u8]>::to_vec),
            mtu: MTU.min(asked.mtu.max(576)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_address_and_for_some_time() {
        let t0 = Instant::now();
        let cookies = Cookies::new([1; 32], t0);
        let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
        let other = SocketAddr::from(([192, 0, 2, 1], 4001));
        let cookie = cookies.give(peer, t0);
        assert!(cookies.is_good(cookie, peer, t0 + COOKIE_AGE));
        assert!(!cookies.is_good(cookie, other, t0));
        assert!(!cookies.is_good(cookie, peer, t0 + 3 * COOKIE_AGE));
    }
}
