//! Lean LL-HLS players of any server, thousands to a thread.
//!
//! A player asks as a low-latency player asks and plays nothing. It takes the multivariant playlist,
//! and then for its video and its audio rendition, all the time: a blocking reload of the playlist,
//! and at once the part that the playlist hints at, each on a connection of its own. Life of an
//! answer: [`driver`] (a thread with `epoll`) → [`http`] → [`player`] (what to ask next, what was
//! missed) → [`figures`]. Plain HTTP/1.1 only: what TLS costs is another question.

mod ages;
mod driver;
mod figures;
mod http;
mod load;
mod player;
mod playlist;

pub use figures::{Polled, Span, Sums};
pub use load::{Config, Load};
