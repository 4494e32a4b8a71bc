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
