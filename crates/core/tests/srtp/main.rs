//! SRTP from outside the crate: against str0m's contexts, and counting allocations.

mod allocations;
#[path = "../counting/mod.rs"]
mod counting;
mod str0m;

use stagecast_core::srtp::Profile;

/// Keying material of which each byte differs from its neighbours.
fn material(profile: Profile) -> Vec<u8> {
    (0..profile.keying_material_len())
        .map(|i| (i as u8).wrapping_mul(73) ^ 0x5a)
        .collect()
}
