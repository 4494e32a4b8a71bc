//! Fragmented MP4 as CMAF wants it: one track a file, an initialization segment and media fragments.
//!
//! Written here are just the boxes that HLS and recordings need (ISO/IEC 14496-12 and -15, CMAF is
//! ISO/IEC 23000-19): [`init`] for `ftyp` and `moov`, [`fragment`] for `prft`, `emsg`, `moof` and
//! `mdat`. A fragment is written into one buffer of the right size, so that the payload of a frame
//! is copied once on its way to the players. Nothing is read, except by the tests.

mod boxes;
pub mod fragment;
pub mod init;

pub use fragment::{Event, Fragment, ProducerTime, Sample};
pub use init::{Track, init_segment};

/// The only track of a file.
const TRACK_ID: u32 = 1;
