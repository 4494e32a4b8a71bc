//! Outgoing packets: encrypt and tag in place.

use super::keys::SendKeys;
use super::transform::{Iv, Transform};
use super::{Profile, RTCP_HEADER_LEN, RTCP_INDEX_LEN, RTP_HEADER_LEN, SrtpError};

/// Marks an SRTCP packet as encrypted (RFC 3711 §3.4).
pub(super) const E_FLAG: u32 = 0x8000_0000;

/// RTP packet indices have 48 bits (RFC 3711 §3.3.1).
pub(super) const RTP_INDEX_END: u64 = 1 << 48;

/// Seals what this side sends to one peer.
pub struct Sealer {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    next_rtcp_index: u32,
}

impl Sealer {
    /// Derives the session keys; the master keys are overwritten.
    pub fn new(keys: SendKeys) -> Self {
        let SendKeys(master) = keys;
        Self {
            profile: master.profile,
            rtp: Transform::new(&master.rtp()),
            rtcp: Transform::new(&master.rtcp()),
            next_rtcp_index: 0,
        }
    }

    /// The profile of its keys.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Seal an RTP packet in place and return its length, which is `buf`'s.
    ///
    /// `buf` is header, payload and [`Profile::rtp_overhead`] bytes of room for
    /// the tag. The header (`header_len` bytes, with CSRCs and extensions) is
    /// authenticated and stays readable. `ssrc` is the header's; `index` is
    /// `ROC << 16 | SEQ` with the header's sequence number, and the rollover
    /// counter of a new SSRC is 0. Never seal two packets with one SSRC and
    /// index: that gives away the key of the tags (RFC 7714 §10.1). To repeat a
    /// packet send the sealed bytes again, or use RTX.
    ///
    /// # Panics
    /// When `buf` has no room for header and tag, or `index` has more than 48
    /// bits: a packet that cannot be sealed must not leave as it is.
    pub fn seal_rtp(&self, buf: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> usize {
        let total = buf.len();
        let tag_len = self.profile.rtp_overhead();
        assert!(
            header_len >= RTP_HEADER_LEN && header_len + tag_len <= total && index < RTP_INDEX_END,
            "an RTP packet to seal has a header, room for the tag and an index of 48 bits"
        );
        let iv = Iv { ssrc, index };
        let (packet, tag) = buf.split_at_mut(total - tag_len);
        match &self.rtp {
            Transform::Gcm(gcm) => {
                let (header, payload) = packet.split_at_mut(header_len);
                gcm.seal(iv, header, payload, tag);
            }
            Transform::CmHmac(cm) => {
                cm.apply(iv, &mut packet[header_len..]);
                tag.copy_from_slice(&cm.tag(packet, &iv.roc()));
            }
        }
        total
    }

    /// Seal a compound RTCP packet in place; it grows by
    /// [`Profile::rtcp_overhead`] and allocates only without that capacity.
    ///
    /// Each packet takes the next SRTCP index, whatever its SSRC. Refused: less
    /// than a header and an SSRC, and the packet after 2³¹ of them.
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let plain_len = packet.len();
        if plain_len < RTCP_HEADER_LEN {
            return Err(SrtpError::Truncated(plain_len));
        }
        if self.next_rtcp_index >= E_FLAG {
            return Err(SrtpError::IndexExhausted);
        }
        let trailer = (E_FLAG | self.next_rtcp_index).to_be_bytes();
        let iv = Iv {
            ssrc: sender_ssrc(packet),
            index: self.next_rtcp_index.into(),
        };
        self.next_rtcp_index += 1;

        packet.resize(plain_len + self.profile.rtcp_overhead(), 0);
        match &self.rtcp {
            // Body, tag, index (RFC 7714 §9.2).
            Transform::Gcm(gcm) => {
                let aad = rtcp_aad(packet, trailer);
                let (sealed, end) = packet.split_at_mut(plain_len);
                let (tag, index) = end.split_at_mut(end.len() - RTCP_INDEX_LEN);
                gcm.seal(iv, &aad, &mut sealed[RTCP_HEADER_LEN..], tag);
                index.copy_from_slice(&trailer);
            }
            // Body, index, tag (RFC 3711 §3.4).
            Transform::CmHmac(cm) => {
                cm.apply(iv, &mut packet[RTCP_HEADER_LEN..plain_len]);
                let (sealed, tag) = packet.split_at_mut(plain_len + RTCP_INDEX_LEN);
                sealed[plain_len..].copy_from_slice(&trailer);
                tag.copy_from_slice(&cm.tag(sealed, &[]));
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn from_session_keys(keys: &super::keys::SessionKeys, next_rtcp_index: u32) -> Self {
        Self {
            profile: keys.profile,
            rtp: Transform::new(keys),
            rtcp: Transform::new(keys),
            next_rtcp_index,
        }
    }
}

/// The SSRC of the first packet in a compound of at least [`RTCP_HEADER_LEN`] bytes.
pub(super) fn sender_ssrc(compound: &[u8]) -> u32 {
    u32::from_be_bytes([compound[4], compound[5], compound[6], compound[7]])
}

/// What GCM authenticates besides the body: header, SSRC, E flag and index (RFC 7714 §9.2).
pub(super) fn rtcp_aad(compound: &[u8], trailer: [u8; 4]) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..RTCP_HEADER_LEN].copy_from_slice(&compound[..RTCP_HEADER_LEN]);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&trailer);
    aad
}
