//! Wakes a thread once for any number of messages, and never too late.
//!
//! This file is also compiled by `crates/io/tests/bell`, where loom's atomics stand in for these and every
//! order of the threads' steps is tried.

use super::atomic::{AtomicBool, Ordering};

/// Rung by senders after they have sent, answered by the receiver before it looks.
#[derive(Debug)]
pub struct Bell(AtomicBool);

impl Bell {
    /// A bell that nobody has rung.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// A message was sent: whether the receiver has to be woken for it.
    pub fn ring(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The receiver is awake and about to look for messages.
    pub fn answer(&self) {
        // Not a plain store: who rang before this and was not told to wake us must have been
        // heard, and only reading what that one wrote makes its message visible here.
        self.0.swap(false, Ordering::AcqRel);
    }
}
