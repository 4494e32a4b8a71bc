//! RTCP: compound packets read without copying, and one writer for each packet we send.
//!
//! [`Compound`] walks a datagram; each [`Packet`] borrows from it and was checked when it came out,
//! so its accessors are total. One file a packet: its layout, `parse` and `write`. A writer appends
//! to a buffer that the caller keeps, so steady sending allocates nothing. Follows RFC 3550 §6
//! (reports, SDES, BYE), RFC 4585 §6 (NACK, PLI), RFC 5104 §4.3.1 (FIR), RFC 3611 §4 (XR) and the
//! drafts named in `remb.rs` and `twcc.rs`. Reduced-size packets (RFC 5506) are welcome: no order
//! of packets is asked for.

mod bye;
mod fir;
mod frame;
mod nack;
mod pli;
mod receiver_report;
mod remb;
mod report_block;
mod sdes;
mod sender_report;
mod twcc;
mod xr;

pub use crate::ntp::Ntp;
pub use bye::Bye;
pub use fir::{Fir, FirEntry};
pub use nack::Nack;
pub use pli::Pli;
pub use receiver_report::ReceiverReport;
pub use remb::Remb;
pub use report_block::ReportBlock;
pub use sdes::{Sdes, SdesChunk};
pub use sender_report::{SenderInfo, SenderReport};
pub use twcc::{Twcc, TwccHeader, TwccPackets};
pub use xr::{Dlrr, Xr, XrBlock};

use frame::Frame;

/// Most packets in one datagram: a full MTU of the shortest feedback, twelve bytes each.
pub const MAX_PACKETS: usize = 128;

/// Why bytes are no RTCP packet. Always the sender's fault.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtcpError {
    /// The datagram ends inside a packet.
    #[error("RTCP ends inside a packet, {left} bytes left")]
    Truncated {
        /// Bytes from the start of that packet.
        left: usize,
    },
    /// The version is not 2.
    #[error("RTCP version {version}, only 2 is known")]
    Version {
        /// What the packet says.
        version: u8,
    },
    /// The padding is empty or longer than the packet.
    #[error("RTCP padding of {padding} bytes does not fit its packet")]
    Padding {
        /// What the last byte says.
        padding: u8,
    },
    /// More than [`MAX_PACKETS`] in a datagram.
    #[error("more than {MAX_PACKETS} RTCP packets in a datagram")]
    TooMany,
    /// A packet that is well framed, but whose body is not what its type says.
    #[error("malformed RTCP {packet}")]
    Malformed {
        /// The packet by its RFC's name.
        packet: &'static str,
    },
}

impl RtcpError {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "rtcp.truncated",
            Self::Version { .. } => "rtcp.version",
            Self::Padding { .. } => "rtcp.padding",
            Self::TooMany => "rtcp.too_many",
            Self::Malformed { .. } => "rtcp.malformed",
        }
    }
}

/// One RTCP packet, borrowed from its datagram.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// What a sender sent, and its reports on others.
    SenderReport(SenderReport<'a>),
    /// Reports of one that does not send.
    ReceiverReport(ReceiverReport<'a>),
    /// Names of sources.
    Sdes(Sdes<'a>),
    /// Sources that leave.
    Bye(Bye<'a>),
    /// Packets to send again.
    Nack(Nack<'a>),
    /// A keyframe is needed: a picture was lost.
    Pli(Pli),
    /// A keyframe is needed, by command.
    Fir(Fir<'a>),
    /// When which packets arrived, across all streams of a transport.
    Twcc(Twcc<'a>),
    /// The receiver's estimate of the bitrate it can take.
    Remb(Remb<'a>),
    /// Extended reports.
    Xr(Xr<'a>),
    /// Any other, well framed.
    Unknown {
        /// Packet type, the second byte.
        packet_type: u8,
        /// The five bits after version and padding: a count or a format.
        count: u8,
        /// What follows the header, padding left out.
        body: &'a [u8],
    },
}

impl<'a> Packet<'a> {
    fn from_frame(frame: &Frame<'a>) -> Result<Self, RtcpError> {
        let &Frame {
            packet_type,
            count,
            body,
        } = frame;
        let (name, packet) = match (packet_type, count) {
            (sender_report::TYPE, _) => (
                "SR",
                SenderReport::parse(count, body).map(Self::SenderReport),
            ),
            (receiver_report::TYPE, _) => (
                "RR",
                ReceiverReport::parse(count, body).map(Self::ReceiverReport),
            ),
            (sdes::TYPE, _) => ("SDES", Sdes::parse(count, body).map(Self::Sdes)),
            (bye::TYPE, _) => ("BYE", Bye::parse(count, body).map(Self::Bye)),
            (frame::RTPFB, nack::FORMAT) => ("NACK", Nack::parse(body).map(Self::Nack)),
            (frame::RTPFB, twcc::FORMAT) => ("TWCC", Twcc::parse(body).map(Self::Twcc)),
            (frame::PSFB, pli::FORMAT) => ("PLI", Pli::parse(body).map(Self::Pli)),
            (frame::PSFB, fir::FORMAT) => ("FIR", Fir::parse(body).map(Self::Fir)),
            (frame::PSFB, remb::FORMAT) if Remb::is_remb(body) => {
                ("REMB", Remb::parse(body).map(Self::Remb))
            }
            (xr::TYPE, _) => ("XR", Xr::parse(body).map(Self::Xr)),
            _ => {
                return Ok(Self::Unknown {
                    packet_type,
                    count,
                    body,
                });
            }
        };
        packet.ok_or(RtcpError::Malformed { packet: name })
    }
}

/// The packets of one datagram in order.
///
/// A malformed body costs that packet only: the walk goes on behind it. A broken frame ends the
/// walk, because nothing says where the next packet would begin.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Compound<'a> {
    /// Walks an RTCP datagram, decrypted.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self {
            rest: datagram,
            left: MAX_PACKETS,
        }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = if self.left == 0 {
            Err(RtcpError::TooMany)
        } else {
            Frame::split(self.rest)
        };
        match split {
            Ok((frame, rest)) => {
                self.left -= 1;
                self.rest = rest;
                Some(Packet::from_frame(&frame))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests;
