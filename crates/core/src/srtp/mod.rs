//! Secure RTP and RTCP for one peer (RFC 3711, RFC 7714).
//!
//! The DTLS handshake gives keying material, and [`contexts`] makes of it a
//! [`Sealer`] for what this side sends and an [`Opener`] for what the peer
//! sends. A key is bound to its direction by its type, is overwritten when
//! dropped, and its key schedule is computed once, so a packet costs only its
//! bytes. Sealing and opening happen in place and do not allocate.
//!
//! Two rules keep the secrets. A pair of SSRC and packet index is sealed once
//! under one key: for RTP the caller owns that rule (the index is
//! `ROC << 16 | SEQ` and only grows), for RTCP the sealer does. And an opener
//! changes its state (rollover counter, replay window, list of SSRCs) only
//! after the tag was right, so a forged packet changes nothing.
//!
//! Refused: SRTCP without encryption (E flag 0), because no profile negotiated
//! by DTLS-SRTP allows it, and MKI, which is never offered.

mod keys;
mod opener;
mod replay;
mod sealer;
#[cfg(test)]
mod tests;
mod transform;

pub use keys::{ReceiveKeys, SendKeys, split_keying_material};
pub use opener::{OpenedRtp, Opener};
pub use sealer::Sealer;

/// The contexts of one side, from what DTLS exported: see [`split_keying_material`].
pub fn contexts(
    profile: Profile,
    material: &[u8],
    is_server: bool,
) -> Result<(Sealer, Opener), SrtpError> {
    let (send, receive) = split_keying_material(profile, material, is_server)?;
    Ok((Sealer::new(send), Opener::new(receive)))
}

/// The fixed part of an RTP header in bytes (RFC 3550 §5.1).
const RTP_HEADER_LEN: usize = 12;

/// The part of an RTCP packet that stays readable: header and sender SSRC.
const RTCP_HEADER_LEN: usize = 8;

/// The E flag and the SRTCP index at the end of an SRTCP packet.
const RTCP_INDEX_LEN: usize = 4;

/// A protection profile of DTLS-SRTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764 §4.1.2), for old clients.
    Aes128CmSha1_80,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714 §14.2).
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714 §14.2).
    AeadAes256Gcm,
}

impl Profile {
    /// Every profile, the preferred first.
    pub const ALL: [Self; 3] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::Aes128CmSha1_80,
    ];

    /// The profile of an id in the `use_srtp` extension (IANA registry of RFC 5764).
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128CmSha1_80),
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0008 => Some(Self::AeadAes256Gcm),
            _ => None,
        }
    }

    /// The id in the `use_srtp` extension (IANA registry of RFC 5764).
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// Bytes of a master key, and of a session key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt, and of a session salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes that sealing adds to an RTP packet: the tag.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes that sealing adds to an RTCP packet: the tag and the SRTCP index.
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + RTCP_INDEX_LEN
    }

    /// Bytes to export from DTLS: a key and a salt for each side (RFC 5764 §4.2).
    pub const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }
}

/// Why a packet was not sealed or opened. All but [`SrtpError::IndexExhausted`]
/// and [`SrtpError::KeyingMaterial`] are the peer's fault, or the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// The exported keying material does not fit the profile.
    #[error("DTLS gave {got} bytes of keying material, the profile needs {need}.")]
    KeyingMaterial {
        /// Bytes given.
        got: usize,
        /// [`Profile::keying_material_len`].
        need: usize,
    },
    /// Too short to hold what its kind must hold.
    #[error("A packet of {0} bytes is too short.")]
    Truncated(usize),
    /// The tag is wrong: other key, other direction, or changed on its way.
    #[error("The packet's tag is wrong.")]
    Authentication,
    /// Seen before, or too old to know.
    #[error("The packet with index {0} was seen before or is too old.")]
    Replayed(u64),
    /// SRTCP with E flag 0.
    #[error("The RTCP packet is not encrypted.")]
    NotEncrypted,
    /// The peer sends from more SSRCs than an opener remembers.
    #[error("The peer sends from more than {0} SSRCs.")]
    TooManyStreams(usize),
    /// All packet indices of a key are used (RFC 3711 §9.2); a new handshake is needed.
    #[error("Every packet index of this key is used. Connect again.")]
    IndexExhausted,
}

impl SrtpError {
    /// Stable name for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::KeyingMaterial { .. } => "srtp.keying_material",
            Self::Truncated(_) => "srtp.truncated",
            Self::Authentication => "srtp.authentication",
            Self::Replayed(_) => "srtp.replayed",
            Self::NotEncrypted => "srtp.not_encrypted",
            Self::TooManyStreams(_) => "srtp.too_many_streams",
            Self::IndexExhausted => "srtp.index_exhausted",
        }
    }
}
