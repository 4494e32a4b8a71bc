//! From frames to packets and back, once a track and only where somebody reads the other face.
//!
//! [`Packetizer`] cuts an access unit into RTP payloads, [`FramePublisher`] gives them their place in
//! a layer's RTP stream, with B-frames kept away from decoders that cannot reorder. [`Assembler`] is
//! the way back: reordering, loss, and access units again, on the common [`Timeline`]. [`Face`] keeps
//! the frames since the last keyframe for readers that join late.

mod assemble;
mod depacketize;
mod face;
mod order;
mod packetize;
mod publisher;
mod timeline;

pub use assemble::{Assembler, Unit};
pub use face::{Face, FaceLayer, FaceTrack};
pub use packetize::{MAX_PAYLOAD, Packetizer};
pub use publisher::FramePublisher;
pub use timeline::{Timeline, settle};
