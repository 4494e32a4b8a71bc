//! A network in memory with virtual time, and a viewer behind it.

pub mod link;
pub mod media;
pub mod outcome;
pub mod random;
pub mod run;
pub mod scenarios;
pub mod tcp;
pub mod viewer;
