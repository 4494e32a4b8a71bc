//! Thread CPU time, and user instructions where the machine counts them (`perf_event_open`).

use std::ops::AddAssign;
use std::time::Duration;

/// What a stretch of work cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Thread CPU time.
    pub time: Duration,
    /// Instructions in user mode.
    pub instructions: Option<u64>,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.time += other.time;
        self.instructions = match (self.instructions, other.instructions) {
            (Some(a), Some(b)) => Some(a + b),
            // The first addition to nothing.
            (one, other) => one.or(other),
        };
    }
}

/// Reads both clocks of this thread.
pub struct Counter {
    descriptor: Option<libc::c_int>,
}

/// `struct perf_event_attr` up to the first version's end; all that is needed.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

const HARDWARE: u32 = 0;
const INSTRUCTIONS: u64 = 1;
/// `exclude_kernel` and `exclude_hv`.
const USER_ONLY: u64 = 1 << 5 | 1 << 6;

impl Counter {
    /// Without hardware counters (many virtual machines, strict `perf_event_paranoid`) only
    /// time is measured, and a line on standard error says so.
    pub fn open() -> Self {
        let attributes = Attributes {
            kind: HARDWARE,
            size: size_of::<Attributes>() as u32,
            config: INSTRUCTIONS,
            flags: USER_ONLY,
            ..Attributes::default()
        };
        // SAFETY: the structure is as long as it says; this thread, any processor, no group.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                0,
                -1,
                -1,
                0,
            )
        };
        let descriptor = libc::c_int::try_from(opened).ok().filter(|fd| *fd >= 0);
        if descriptor.is_none() {
            eprintln!("instructions: skipped, this machine does not count them");
        }
        Self { descriptor }
    }

    /// For work whose cost nobody reads.
    pub fn unused() -> Self {
        Self { descriptor: None }
    }

    /// Do it and say what it cost.
    pub fn measure(&mut self, work: impl FnOnce()) -> Cost {
        let (time, instructions) = (thread_time(), self.read());
        work();
        let (time_after, instructions_after) = (thread_time(), self.read());
        Cost {
            time: time_after.saturating_sub(time),
            instructions: instructions_after
                .zip(instructions)
                .map(|(after, before)| after.saturating_sub(before)),
        }
    }

    fn read(&self) -> Option<u64> {
        let mut value = 0_u64;
        // SAFETY: eight bytes are read into a u64.
        let got = unsafe { libc::read(self.descriptor?, (&raw mut value).cast(), 8) };
        (got == 8).then_some(value)
    }
}

fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is written by the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
