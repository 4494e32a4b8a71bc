//! From DTLS keying material to session keys.
//!
//! Owns the split of the exported material by side (RFC 5764 §4.2) and the key
//! derivation (RFC 3711 §4.3, RFC 7714 §11). The key derivation rate is 0, as
//! DTLS-SRTP has it, so session keys are derived once. Every key here is
//! overwritten when dropped.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::{Profile, SrtpError};

const MAX_KEY_LEN: usize = 32;
const MAX_SALT_LEN: usize = 14;

/// Bytes of the key of HMAC-SHA1 (RFC 3711 §8.2).
const AUTH_KEY_LEN: usize = 20;

/// The keys this side seals with; [`super::Sealer::new`] takes them.
pub struct SendKeys(pub(super) MasterKeys);

/// The keys the peer seals with; [`super::Opener::new`] takes them.
pub struct ReceiveKeys(pub(super) MasterKeys);

/// Split what DTLS exported with the label `EXTRACTOR-dtls_srtp` (RFC 5764
/// §4.2): client key, server key, client salt, server salt. Each side sends
/// with its own; `is_server` says whether this side was the DTLS server.
///
/// Material of another length than [`Profile::keying_material_len`] is refused.
pub fn split_keying_material(
    profile: Profile,
    material: &[u8],
    is_server: bool,
) -> Result<(SendKeys, ReceiveKeys), SrtpError> {
    let need = profile.keying_material_len();
    if material.len() != need {
        return Err(SrtpError::KeyingMaterial {
            got: material.len(),
            need,
        });
    }
    let (keys, salts) = material.split_at(2 * profile.key_len());
    let (client_key, server_key) = keys.split_at(profile.key_len());
    let (client_salt, server_salt) = salts.split_at(profile.salt_len());
    let client = MasterKeys::new(profile, client_key, client_salt);
    let server = MasterKeys::new(profile, server_key, server_salt);
    Ok(if is_server {
        (SendKeys(server), ReceiveKeys(client))
    } else {
        (SendKeys(client), ReceiveKeys(server))
    })
}

/// A master key and salt, padded with zeros to the longest profile's.
pub(super) struct MasterKeys {
    pub(super) profile: Profile,
    key: Zeroizing<[u8; MAX_KEY_LEN]>,
    salt: Zeroizing<[u8; MAX_SALT_LEN]>,
}

impl MasterKeys {
    /// `key` and `salt` have the profile's lengths.
    pub(super) fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Self {
        let mut master = Self {
            profile,
            key: Zeroizing::default(),
            salt: Zeroizing::default(),
        };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        master
    }

    pub(super) fn rtp(&self) -> SessionKeys {
        self.derive(0)
    }

    pub(super) fn rtcp(&self) -> SessionKeys {
        self.derive(3)
    }

    /// Three labels in a row: encryption key, authentication key, salt.
    fn derive(&self, first_label: u8) -> SessionKeys {
        let mut session = SessionKeys {
            profile: self.profile,
            key: Zeroizing::default(),
            auth: Zeroizing::default(),
            salt: Zeroizing::default(),
        };
        self.fill(first_label, &mut session.key[..self.profile.key_len()]);
        self.fill(first_label + 1, &mut *session.auth);
        self.fill(
            first_label + 2,
            &mut session.salt[..self.profile.salt_len()],
        );
        session
    }

    /// RFC 3711 §4.3.1 and §4.3.3: the AES-CM key stream whose counter block
    /// starts at `(label << 48 XOR salt) << 16`. A 96-bit salt is padded on the
    /// right to 112 bits (RFC 7714 §11).
    pub(super) fn fill(&self, label: u8, out: &mut [u8]) {
        let mut block = [0; 16];
        block[..MAX_SALT_LEN].copy_from_slice(&*self.salt);
        block[7] ^= label;
        out.fill(0);
        let key = counter_mode(&self.key[..self.profile.key_len()]);
        apply_key_stream(&key, block, out);
    }
}

/// What one direction of RTP or RTCP is protected with.
pub(super) struct SessionKeys {
    pub(super) profile: Profile,
    key: Zeroizing<[u8; MAX_KEY_LEN]>,
    auth: Zeroizing<[u8; AUTH_KEY_LEN]>,
    salt: Zeroizing<[u8; MAX_SALT_LEN]>,
}

impl SessionKeys {
    #[cfg(test)]
    pub(super) fn from_vector(profile: Profile, key: &[u8], auth: &[u8], salt: &[u8]) -> Self {
        let MasterKeys { key, salt, .. } = MasterKeys::new(profile, key, salt);
        let mut session = Self {
            profile,
            key,
            auth: Zeroizing::default(),
            salt,
        };
        session.auth[..auth.len()].copy_from_slice(auth);
        session
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }

    /// Only for [`Profile::Aes128CmSha1_80`].
    pub(super) fn auth(&self) -> &[u8] {
        &*self.auth
    }

    /// As long as the profile's salt; `N` must be that length.
    pub(super) fn salt<const N: usize>(&self) -> Zeroizing<[u8; N]> {
        let mut salt = Zeroizing::new([0; N]);
        salt.copy_from_slice(&self.salt[..N]);
        salt
    }
}

/// AES in counter mode with its key schedule computed, for keys of 16 and 32 bytes.
pub(super) fn counter_mode(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == MAX_KEY_LEN {
        &AES_256
    } else {
        &AES_128
    };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .expect("the length is the profile's, and CTR takes every AES key")
}

/// XOR the key stream that starts at the counter block `iv` into `data`.
pub(super) fn apply_key_stream(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    // "Less safe" because the caller gives the counter block, which RFC 3711 prescribes.
    key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("CTR takes every length and a counter block of 16 bytes");
}
