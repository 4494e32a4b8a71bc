//! A timer of microseconds for a poll that counts milliseconds.
//!
//! `epoll_wait` rounds its timeout up to the next millisecond, which a burst that waits for the rest
//! of its frame would have to wait in addition.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

/// A `timerfd` in a poll.
#[derive(Debug)]
pub struct Alarm {
    fd: OwnedFd,
    set: Option<Instant>,
}

impl Alarm {
    /// An alarm that wakes `poll` with `token`.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        // SAFETY: plain system call; the result is checked.
        let fd = unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let interest = Interest::READABLE;
        poll.registry()
            .register(&mut SourceFd(&fd.as_raw_fd()), token, interest)?;
        Ok(Self { fd, set: None })
    }

    /// Wake the poll at `at`, and no more at what was set before.
    pub fn set(&mut self, at: Instant, now: Instant) -> io::Result<()> {
        if self.set == Some(at) && at > now {
            return Ok(());
        }
        self.set = Some(at);
        // Zero would mean never.
        let wait = at
            .saturating_duration_since(now)
            .max(Duration::from_nanos(1));
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let setting = libc::itimerspec {
            it_interval: zero,
            it_value: libc::timespec {
                tv_sec: wait.as_secs() as libc::time_t,
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        // SAFETY: `setting` outlives the call; the old value is not asked for.
        let result = unsafe {
            libc::timerfd_settime(
                self.fd.as_raw_fd(),
                0,
                &raw const setting,
                std::ptr::null_mut(),
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Events;

    fn rings(poll: &mut Poll, events: &mut Events, within: Duration) -> bool {
        poll.poll(events, Some(within)).unwrap();
        events.iter().next().is_some()
    }

    #[test]
    fn alarm_wakes_the_poll_each_time_it_is_set_and_only_at_what_was_set_last() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let mut alarm = Alarm::new(&poll, Token(7)).unwrap();
        let (soon, late) = (Duration::from_millis(1), Duration::from_secs(60));
        for _ in 0..3 {
            let now = Instant::now();
            alarm.set(now + soon, now).unwrap();
            assert!(rings(&mut poll, &mut events, late));
            assert!(now.elapsed() >= soon);
        }
        let now = Instant::now();
        alarm.set(now + soon, now).unwrap();
        alarm.set(now + late, now).unwrap();
        assert!(!rings(&mut poll, &mut events, soon * 20));
    }
}
