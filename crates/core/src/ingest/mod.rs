//! What RTMP and SRT publishers have in common: from what encoders send to [`Frame`]s.
//!
//! [`arrival`] gives frames their capture time, [`config`] reads decoder configurations, [`nal`]
//! brings H.264 and H.265 into the one form that frames have, [`ts`] reads and writes transport streams.
//!
//! [`Frame`]: crate::frame::Frame

pub mod arrival;
pub mod config;
pub mod nal;
pub mod ts;
