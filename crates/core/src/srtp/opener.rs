//! Incoming packets: verify, refuse what was seen before, decrypt in place.

use std::ops::Range;

use super::keys::ReceiveKeys;
use super::replay::Streams;
use super::sealer::{E_FLAG, rtcp_aad, sender_ssrc};
use super::transform::{Iv, Transform};
use super::{Profile, RTCP_HEADER_LEN, RTCP_INDEX_LEN, RTP_HEADER_LEN, SrtpError};

/// RTCP comes in order or nearly so: a window of 64.
type RtcpStreams = Streams<1>;

/// Half a second of video at 20 Mbit/s may be late or out of order: 1,024.
type RtpStreams = Streams<16>;

/// Opens what one peer sends. After a refusal the packet's content is undefined.
pub struct Opener {
    profile: Profile,
    rtp: Transform,
    rtcp: Transform,
    rtp_streams: RtpStreams,
    rtcp_streams: RtcpStreams,
}

/// An RTP packet that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedRtp {
    /// Where the plain payload is, with its padding if the header's P bit is set.
    pub payload: Range<usize>,
    /// `ROC << 16 | SEQ`: the sequence number without wrapping.
    pub index: u64,
}

impl Opener {
    /// Derives the session keys; the master keys are overwritten.
    pub fn new(keys: ReceiveKeys) -> Self {
        let ReceiveKeys(master) = keys;
        Self::with(
            master.profile,
            Transform::new(&master.rtp()),
            Transform::new(&master.rtcp()),
        )
    }

    /// The profile of its keys.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Open an SRTCP packet in place and return the plain compound in it.
    ///
    /// Never allocates for a packet of an SSRC it has seen, nor for a forged one.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], SrtpError> {
        let overhead = self.profile.rtcp_overhead();
        if packet.len() < RTCP_HEADER_LEN + overhead {
            return Err(SrtpError::Truncated(packet.len()));
        }
        let plain_len = packet.len() - overhead;
        let ssrc = sender_ssrc(packet);
        let trailer = match &self.rtcp {
            Transform::Gcm(_) => packet.last_chunk(),
            Transform::CmHmac(_) => packet[plain_len..].first_chunk(),
        };
        let trailer: [u8; RTCP_INDEX_LEN] = *trailer.expect("the length was checked");
        let word = u32::from_be_bytes(trailer);
        if word & E_FLAG == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        let index = u64::from(word & !E_FLAG);
        self.rtcp_streams.window(ssrc)?.check(index)?;

        let iv = Iv { ssrc, index };
        match &self.rtcp {
            Transform::Gcm(gcm) => {
                let aad = rtcp_aad(packet, trailer);
                let (sealed, end) = packet.split_at_mut(plain_len);
                let tag = &end[..end.len() - RTCP_INDEX_LEN];
                gcm.open(iv, &aad, &mut sealed[RTCP_HEADER_LEN..], tag)?;
            }
            Transform::CmHmac(cm) => {
                let (sealed, tag) = packet.split_at_mut(plain_len + RTCP_INDEX_LEN);
                cm.verify(sealed, &[], tag)?;
                cm.apply(iv, &mut sealed[RTCP_HEADER_LEN..plain_len]);
            }
        }
        self.rtcp_streams.accept(ssrc, index);
        Ok(&mut packet[..plain_len])
    }

    /// Open an SRTP packet in place. `header_len` is the length of its header
    /// with CSRCs and extensions, as the RTP parser found it.
    pub fn open_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<OpenedRtp, SrtpError> {
        let tag_len = self.profile.rtp_overhead();
        let plain_len = packet.len().saturating_sub(tag_len);
        if !(RTP_HEADER_LEN..=plain_len).contains(&header_len) {
            return Err(SrtpError::Truncated(packet.len()));
        }
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let window = self.rtp_streams.window(ssrc)?;
        let index = window
            .estimate(seq)
            .ok_or(SrtpError::Replayed(seq.into()))?;
        window.check(index)?;

        let iv = Iv { ssrc, index };
        let (sealed, tag) = packet.split_at_mut(plain_len);
        match &self.rtp {
            Transform::Gcm(gcm) => {
                let (header, payload) = sealed.split_at_mut(header_len);
                gcm.open(iv, header, payload, tag)?;
            }
            Transform::CmHmac(cm) => {
                cm.verify(sealed, &iv.roc(), tag)?;
                cm.apply(iv, &mut sealed[header_len..]);
            }
        }
        self.rtp_streams.accept(ssrc, index);
        Ok(OpenedRtp {
            payload: header_len..plain_len,
            index,
        })
    }

    fn with(profile: Profile, rtp: Transform, rtcp: Transform) -> Self {
        Self {
            profile,
            rtp,
            rtcp,
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn from_session_keys(keys: &super::keys::SessionKeys) -> Self {
        Self::with(keys.profile, Transform::new(keys), Transform::new(keys))
    }
}
