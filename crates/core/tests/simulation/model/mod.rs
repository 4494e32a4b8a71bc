//! A network in memory with virtual time, and a viewer behind it.

// A test and an example share this; each leaves something unused.
#![allow(dead_code)]

pub mod link;
pub mod media;
pub mod outcome;
pub mod random;
pub mod run;
pub mod scenarios;
pub mod selection;
pub mod tcp;
pub mod viewer;

use std::collections::VecDeque;

/// The first of a queue by time, if its time has come.
pub fn pop_due<T>(queue: &mut VecDeque<(u64, T)>, now: u64) -> Option<(u64, T)> {
    queue
        .front()
        .is_some_and(|first| first.0 <= now)
        .then(|| queue.pop_front())?
}
