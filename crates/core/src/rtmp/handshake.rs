//! The first bytes (§5.2), in the simple form and in the one with digests.
//!
//! Flash clients and ffmpeg put an HMAC somewhere into their 1536 bytes and expect one in ours;
//! others send time and noise and expect them back. Which it is shows in the bytes themselves.

use aws_lc_rs::hmac;

use super::RtmpError;

const VERSION: u8 = 3;
/// Length of C1, C2, S1 and S2.
const LEN: usize = 1536;
const DIGEST: usize = 32;
const SERVER_KEY: &[u8; 36] = b"Genuine Adobe Flash Media Server 001";
const CLIENT_KEY: &[u8; 30] = b"Genuine Adobe Flash Player 001";
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57,
    0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];
/// Where the four bytes stand whose sum places the digest behind them, in both layouts.
const LAYOUTS: [usize; 2] = [8, 772];

/// Random bytes of a server's handshake.
pub type Noise = [u8; LEN - 8];

/// The server's side.
#[derive(Debug)]
pub struct Handshake {
    noise: Box<Noise>,
    input: Vec<u8>,
    answered: bool,
}

impl Handshake {
    /// Waiting for the client. `noise` is the caller's randomness.
    pub fn new(noise: Noise) -> Self {
        Self {
            noise: Box::new(noise),
            input: Vec::new(),
            answered: false,
        }
    }

    /// Take bytes and answer into `out`. When all is said, what came behind the handshake.
    pub fn handle_input(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, RtmpError> {
        self.input.extend_from_slice(bytes);
        match self.input.first() {
            Some(&VERSION) | None => {}
            Some(&other) => return Err(RtmpError::Version(other)),
        }
        if !self.answered && self.input.len() > LEN {
            let c1 = self.input[1..].first_chunk().expect("it is that long");
            self.answer(c1, out);
            self.answered = true;
        }
        // C2 repeats S1; clients are not held to it, as several get it wrong.
        if self.input.len() < 1 + 2 * LEN {
            return Ok(None);
        }
        Ok(Some(self.input.split_off(1 + 2 * LEN)))
    }

    fn answer(&self, c1: &[u8; LEN], out: &mut Vec<u8>) {
        out.push(VERSION);
        let mut s1 = [0; LEN];
        s1[8..].copy_from_slice(&self.noise[..]);
        let Some((layout, digest)) = find_digest(c1, CLIENT_KEY) else {
            out.extend_from_slice(&s1);
            out.extend_from_slice(c1);
            return;
        };
        // A version of Flash Media Server that knows digests.
        s1[4..8].copy_from_slice(&[4, 5, 0, 1]);
        let at = digest_at(&s1, layout);
        let own = sign_around(&s1, at, SERVER_KEY);
        s1[at..at + DIGEST].copy_from_slice(&own);
        out.extend_from_slice(&s1);
        let key = sign(&[&SERVER_KEY[..], &KEY_TAIL].concat(), &[&digest]);
        let s2 = &self.noise[..LEN - DIGEST];
        out.extend_from_slice(s2);
        out.extend_from_slice(&sign(&key, &[s2]));
    }
}

fn digest_at(message: &[u8; LEN], layout: usize) -> usize {
    let sum: usize = message[layout..layout + 4]
        .iter()
        .map(|byte| usize::from(*byte))
        .sum();
    layout + 4 + sum % 728
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

/// The digest of all but the place where it stands.
fn sign_around(message: &[u8; LEN], at: usize, key: &[u8]) -> [u8; DIGEST] {
    sign(key, &[&message[..at], &message[at + DIGEST..]])
}

fn find_digest(message: &[u8; LEN], key: &[u8]) -> Option<(usize, [u8; DIGEST])> {
    LAYOUTS.into_iter().find_map(|layout| {
        let at = digest_at(message, layout);
        let digest = sign_around(message, at, key);
        (message[at..at + DIGEST] == digest).then_some((layout, digest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise() -> Noise {
        std::array::from_fn(|index| (index * 7 % 251) as u8)
    }

    #[test]
    fn a_plain_client_gets_its_bytes_back() {
        let mut handshake = Handshake::new(noise());
        let mut out = Vec::new();
        let c1 = [0x5a; LEN];
        let hello = [&[3][..], &c1].concat();
        // In two pieces, the second byte by byte.
        for piece in [&hello[..700], &hello[700..]] {
            assert_eq!(handshake.handle_input(piece, &mut out), Ok(None));
        }
        assert_eq!(out.len(), 1 + 2 * LEN);
        assert_eq!(out[1 + LEN..], c1);
        let c2 = [&out[1..=LEN], b"rest"].concat();
        assert_eq!(
            handshake.handle_input(&c2, &mut out),
            Ok(Some(b"rest".to_vec()))
        );
        assert_eq!(out.len(), 1 + 2 * LEN, "said once");
    }

    #[test]
    fn a_client_with_a_digest_gets_digests_in_its_layout() {
        for layout in LAYOUTS {
            let mut c1: [u8; LEN] = std::array::from_fn(|index| (index * 31 % 256) as u8);
            let at = digest_at(&c1, layout);
            let digest = sign_around(&c1, at, CLIENT_KEY);
            c1[at..at + DIGEST].copy_from_slice(&digest);
            let mut out = Vec::new();
            let hello = [&[3][..], &c1].concat();
            Handshake::new(noise())
                .handle_input(&hello, &mut out)
                .unwrap();
            let s1: &[u8; LEN] = out[1..].first_chunk().unwrap();
            let (found, _) = find_digest(s1, SERVER_KEY).expect("a digest of the server");
            assert_eq!(found, layout);
            let (s2, tag) = out[1 + LEN..].split_at(LEN - DIGEST);
            let key = sign(&[&SERVER_KEY[..], &KEY_TAIL].concat(), &[&digest]);
            assert_eq!(tag, sign(&key, &[s2]));
        }
    }

    #[test]
    fn what_is_not_rtmp_is_refused_at_its_first_byte() {
        let mut handshake = Handshake::new(noise());
        let error = handshake.handle_input(b"GET / HTTP/1.1", &mut Vec::new());
        assert_eq!(error, Err(RtmpError::Version(b'G')));
    }
}
