//! Wall-clock time as one integer: stamps, arrivals and differences of both.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970; enough until 2262.
pub fn unix_nanos() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as i64)
}
