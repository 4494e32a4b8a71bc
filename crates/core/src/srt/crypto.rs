//! Encryption of payloads (§6): AES in counter mode, with keys wrapped by a passphrase.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::key_wrap::{self, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use stagecast_proto::srt::handshake::KeyMaterial;
use std::num::NonZeroU32;

/// §6.1.4.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(2048).unwrap();
/// Bytes of the salt that the wrapping key is derived with.
const SALT_TAIL: usize = 8;

/// The keys of a connection, even and odd, shared by both directions.
pub struct Keys {
    salt: [u8; 16],
    even: Option<Vec<u8>>,
    odd: Option<Vec<u8>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Unwrap a caller's keys; `None` when the passphrase is not the one they were wrapped with, or
    /// for keys of 24 bytes, which are not supported.
    pub fn unwrap(passphrase: &str, material: &KeyMaterial<'_>) -> Option<Self> {
        let mut keys = Self {
            salt: *material.salt,
            even: None,
            odd: None,
        };
        keys.update(passphrase, material).then_some(keys)
    }

    /// Take changed keys; whether they could be unwrapped.
    pub fn update(&mut self, passphrase: &str, material: &KeyMaterial<'_>) -> bool {
        let cipher = match material.key_len {
            16 => &key_wrap::AES_128,
            32 => &key_wrap::AES_256,
            _ => return false,
        };
        let mut wrapping = vec![0; material.key_len];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA1,
            ITERATIONS,
            &material.salt[16 - SALT_TAIL..],
            passphrase.as_bytes(),
            &mut wrapping,
        );
        let mut plain = vec![0; material.wrapped.len()];
        let unwrapped = AesKek::new(cipher, &wrapping).and_then(|kek| {
            kek.unwrap(material.wrapped, &mut plain)
                .map(|keys| keys.to_vec())
        });
        let Ok(unwrapped) = unwrapped else {
            return false;
        };
        self.salt = *material.salt;
        let mut keys = unwrapped.chunks_exact(material.key_len).map(<[u8]>::to_vec);
        if material.keys & 1 != 0 {
            self.even = keys.next();
        }
        if material.keys & 2 != 0 {
            self.odd = keys.next();
        }
        true
    }

    fn key(&self, which: u8) -> Option<UnboundCipherKey> {
        let key = match which {
            1 => self.even.as_ref()?,
            2 => self.odd.as_ref()?,
            _ => return None,
        };
        let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
        UnboundCipherKey::new(algorithm, key).ok()
    }

    /// §6.2.2: salt and sequence number.
    fn counter(&self, sequence: u32) -> FixedLength<16> {
        let mut counter = [0; 16];
        counter[..14].copy_from_slice(&self.salt[..14]);
        for (byte, part) in counter[10..14].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= part;
        }
        FixedLength::from(counter)
    }

    /// Decrypt a payload in place; false without the key it names.
    pub fn decrypt(&self, which: u8, sequence: u32, payload: &mut [u8]) -> bool {
        let context = DecryptionContext::Iv128(self.counter(sequence));
        let key = self.key(which).and_then(|key| DecryptingKey::ctr(key).ok());
        key.is_some_and(|key| key.decrypt(payload, context).is_ok())
    }

    /// Encrypt a payload in place; the key that was used.
    pub fn encrypt(&self, sequence: u32, payload: &mut [u8]) -> u8 {
        let which = if self.even.is_some() { 1 } else { 2 };
        let context = EncryptionContext::Iv128(self.counter(sequence));
        let key = self.key(which).and_then(|key| EncryptingKey::ctr(key).ok());
        let done = key.is_some_and(|key| key.less_safe_encrypt(payload, context).is_ok());
        if done { which } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "ten letters";

    fn wrap(passphrase: &str, salt: &[u8; 16], keys: &[u8]) -> Vec<u8> {
        let mut wrapping = [0; 16];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA1;
        pbkdf2::derive(
            algorithm,
            ITERATIONS,
            &salt[8..],
            passphrase.as_bytes(),
            &mut wrapping,
        );
        let mut wrapped = vec![0; keys.len() + 8];
        let kek = AesKek::new(&key_wrap::AES_128, &wrapping).unwrap();
        kek.wrap(keys, &mut wrapped).unwrap().to_vec()
    }

    #[test]
    fn both_keys_are_unwrapped_and_a_wrong_passphrase_is_noticed() {
        let salt = [5; 16];
        let wrapped = wrap(PASSPHRASE, &salt, &[[1; 16], [2; 16]].concat());
        let material = KeyMaterial {
            keys: 3,
            salt: &salt,
            key_len: 16,
            wrapped: &wrapped,
        };
        assert!(Keys::unwrap("another one", &material).is_none());
        let keys = Keys::unwrap(PASSPHRASE, &material).unwrap();
        let mut payload = b"transport stream".to_vec();
        assert_eq!(keys.encrypt(77, &mut payload), 1);
        assert_ne!(payload, b"transport stream");
        let mut other = payload.clone();
        assert!(keys.decrypt(1, 77, &mut payload));
        assert_eq!(payload, b"transport stream");
        assert!(keys.decrypt(2, 77, &mut other));
        assert_ne!(other, b"transport stream");
    }
}
