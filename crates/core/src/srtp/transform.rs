//! The two packet transforms, keyed for one direction of RTP or RTCP.
//!
//! AES-GCM (RFC 7714) or AES counter mode with HMAC-SHA1 (RFC 3711 §4.1.1,
//! §4.2.1). Knows neither headers nor state: the caller says which bytes are
//! readable, which are secret, and which 48-bit index they have. Key schedules
//! are computed when keyed and kept, and nothing allocates.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::keys::{SessionKeys, apply_key_stream, counter_mode};
use super::{Profile, SrtpError};

/// Bytes of the tag of HMAC-SHA1-80.
const HMAC_TAG_LEN: usize = 10;

/// A keyed transform. `aws-lc-rs` overwrites the key objects when dropped.
pub(super) enum Transform {
    Gcm(Gcm),
    CmHmac(Box<CmHmac>),
}

impl Transform {
    pub(super) fn new(keys: &SessionKeys) -> Self {
        match keys.profile {
            Profile::Aes128CmSha1_80 => Self::CmHmac(Box::new(CmHmac::new(keys))),
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => Self::Gcm(Gcm::new(keys)),
        }
    }
}

/// AES-GCM of RFC 7714.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; 12]>,
}

impl Gcm {
    fn new(keys: &SessionKeys) -> Self {
        let algorithm = match keys.key().len() {
            32 => &AES_256_GCM,
            _ => &AES_128_GCM,
        };
        let key = UnboundKey::new(algorithm, keys.key()).expect("the length is the profile's");
        Self {
            key: LessSafeKey::new(key),
            salt: keys.salt(),
        }
    }

    /// Encrypt `body` and write the tag over `aad` and `body` to `tag`.
    pub(super) fn seal(&self, iv: Iv, aad: &[u8], body: &mut [u8], tag: &mut [u8]) {
        let made = self
            .key
            .seal_in_place_separate_tag(self.nonce(iv), Aad::from(aad), body)
            .expect("a packet is far below the length limit of GCM");
        tag.copy_from_slice(made.as_ref());
    }

    /// Verify `tag` and decrypt `body`; after an error its content is undefined.
    pub(super) fn open(
        &self,
        iv: Iv,
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        self.key
            .open_in_place_separate_tag(self.nonce(iv), Aad::from(aad), tag, body)
            .map(drop)
            .map_err(|_| SrtpError::Authentication)
    }

    /// RFC 7714 §8.1 and §9.1: two zero bytes, SSRC, index, XOR salt. The 31-bit
    /// SRTCP index stands where ROC and SEQ do.
    fn nonce(&self, Iv { ssrc, index }: Iv) -> Nonce {
        let mut nonce = *self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// AES counter mode and HMAC-SHA1-80 of RFC 3711.
pub(super) struct CmHmac {
    key: EncryptingKey,
    salt: Zeroizing<[u8; 14]>,
    auth: hmac::Key,
}

impl CmHmac {
    fn new(keys: &SessionKeys) -> Self {
        Self {
            key: counter_mode(keys.key()),
            salt: keys.salt(),
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, keys.auth()),
        }
    }

    /// Encrypt, or decrypt.
    pub(super) fn apply(&self, iv: Iv, body: &mut [u8]) {
        apply_key_stream(&self.key, self.counter_block(iv), body);
    }

    /// The tag over `packet` and `trailer`, which for RTP is the rollover counter (§4.2).
    pub(super) fn tag(&self, packet: &[u8], trailer: &[u8]) -> [u8; HMAC_TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(packet);
        context.update(trailer);
        let mut tag = [0; HMAC_TAG_LEN];
        tag.copy_from_slice(&context.sign().as_ref()[..HMAC_TAG_LEN]);
        tag
    }

    /// In constant time.
    pub(super) fn verify(
        &self,
        packet: &[u8],
        trailer: &[u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        verify_slices_are_equal(&self.tag(packet, trailer), tag)
            .map_err(|_| SrtpError::Authentication)
    }

    /// RFC 3711 §4.1.1: `salt << 16 XOR SSRC << 64 XOR index << 16`.
    fn counter_block(&self, Iv { ssrc, index }: Iv) -> [u8; 16] {
        let mut block = [0; 16];
        block[..14].copy_from_slice(&*self.salt);
        xor(&mut block[4..8], &ssrc.to_be_bytes());
        xor(&mut block[8..14], &index.to_be_bytes()[2..]);
        block
    }
}

/// What makes a packet's key stream its own: sealed once under one key.
#[derive(Clone, Copy)]
pub(super) struct Iv {
    pub(super) ssrc: u32,
    /// 48 bits for RTP, 31 for RTCP.
    pub(super) index: u64,
}

impl Iv {
    /// The rollover counter, which HMAC covers though it is not sent.
    pub(super) fn roc(self) -> [u8; 4] {
        ((self.index >> 16) as u32).to_be_bytes()
    }
}

fn xor(to: &mut [u8], with: &[u8]) {
    for (to, with) in to.iter_mut().zip(with) {
        *to ^= with;
    }
}
