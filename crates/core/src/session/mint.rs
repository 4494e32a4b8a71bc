//! Names and secrets of sessions, so made that every thread can tell who was told them.
//!
//! The kernel gives a new peer's first datagram to any thread. Its password follows from its user fragment
//! by a key that all threads have: the one that got it checks it before it troubles the session's thread, and
//! whoever guesses, repeats or spoofs costs some hundred nanoseconds and no memory.

use aws_lc_rs::hmac;

use super::Credentials;
use crate::viewer::connection::is_sealed;

/// Bytes of a password before they are written as hexadecimal digits.
const SECRET: usize = 16;

/// Makes credentials, and knows them again.
#[derive(Debug)]
pub struct Mint {
    key: hmac::Key,
}

impl Mint {
    /// `secret` is the caller's randomness; credentials hold as long as it does.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// Credentials of a session on a thread; `nonce` is the caller's randomness. The first two characters of
    /// the user fragment name the thread, so any thread can route a binding request.
    pub fn issue(&self, thread: usize, nonce: [u8; 8]) -> Credentials {
        let ufrag = format!("{thread:02x}{:016x}", u64::from_be_bytes(nonce));
        let password = self.password(&ufrag);
        Credentials {
            password: String::from_utf8_lossy(&password).into_owned(),
            ufrag,
        }
    }

    /// Whether a binding request to the session of this user fragment is from someone who was told its
    /// password (RFC 8489 §9.1).
    pub fn is_genuine(&self, ufrag: &str, request: &[u8]) -> bool {
        is_sealed(request, &self.password(ufrag))
    }

    fn password(&self, ufrag: &str) -> [u8; 2 * SECRET] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let tag = hmac::sign(&self.key, ufrag.as_bytes());
        let mut text = [0; 2 * SECRET];
        for (pair, byte) in text.chunks_exact_mut(2).zip(tag.as_ref()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::connection::tests::request;

    #[test]
    fn request_with_the_password_that_was_issued_is_genuine_and_no_other() {
        let mint = Mint::new(&[1; 32]);
        let Credentials { ufrag, password } = mint.issue(7, [9; 8]);
        assert!(ufrag.starts_with("07") && password.len() == 32);
        let name = format!("{ufrag}:theirs");
        assert!(mint.is_genuine(&ufrag, &request(&name, &password)));
        assert!(!mint.is_genuine(&ufrag, &request(&name, "another password of them")));
        let other = mint.issue(7, [8; 8]);
        assert!(!mint.is_genuine(&ufrag, &request(&name, &other.password)));
        assert!(!Mint::new(&[2; 32]).is_genuine(&ufrag, &request(&name, &password)));
        assert!(!mint.is_genuine(&ufrag, b"no STUN at all"));
    }
}
