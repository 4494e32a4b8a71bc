//! MPEG transport streams (ISO/IEC 13818-1), as SRT carries them: one program of H.264, H.265, AAC in
//! ADTS and Opus.
//!
//! [`Demuxer`] gives whole PES packets with their times; [`Muxer`] makes packets of 188 bytes. What
//! stands in a PES packet is split and framed by [`audio`] or is a byte stream of NAL units.

pub mod audio;
mod demux;
mod mux;
mod section;

pub use demux::{Demuxer, Event, Pes, Stream};
pub use mux::{Muxer, Unit};

/// Length of a packet.
pub const PACKET: usize = 188;
/// First byte of a packet.
const SYNC: u8 = 0x47;
/// Units of a time stamp a second.
pub const CLOCK: i64 = 90_000;
/// Where the program association table is.
const PAT_PID: u16 = 0;
/// Nothing but filling.
const NULL_PID: u16 = 0x1fff;

/// Stream types of program maps (table 2-34).
mod stream_type {
    pub const PRIVATE: u8 = 0x06;
    pub const AAC_ADTS: u8 = 0x0f;
    pub const H264: u8 = 0x1b;
    pub const H265: u8 = 0x24;
}

/// Descriptors of program maps.
mod descriptor {
    pub const REGISTRATION: u8 = 0x05;
    /// "DVB extension", whose first byte says which; 0x80 is Opus.
    pub const EXTENSION: u8 = 0x7f;
    pub const EXTENSION_OPUS: u8 = 0x80;
    pub const OPUS: &[u8] = b"Opus";
}

#[cfg(test)]
mod tests;
