//! The threads that players are served on: each has connections of its own.
//!
//! A thousand players want the same part at the same moment, and then ask again one by one. What
//! an answer costs is mostly waking up for the next question, so a thread that has just answered
//! several naps before it waits: what comes meanwhile is answered at once then. Nothing moves from
//! thread to thread, and what makes media ([`super::streams`]) is elsewhere.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// More threads would only fight the media threads for cores.
const MAX_THREADS: usize = 8;
/// How long questions gather at least and at most: little beside a part, much beside the time an
/// answer takes.
const NAP: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));
/// The more there was to answer, the more is to come.
const NAP_PER_ANSWER: Duration = Duration::from_micros(300);
/// A thread that answered fewer since it last waited has nothing to gather.
const BUSY: u32 = 2;

thread_local! {
    /// Answers since this thread last waited.
    static ANSWERED: Cell<u32> = const { Cell::new(0) };
}

/// A player got an answer on this thread.
pub(super) fn answered() {
    ANSWERED.set(ANSWERED.get().saturating_add(1));
}

fn nap() {
    let answered = ANSWERED.take();
    if answered >= BUSY {
        thread::sleep((NAP_PER_ANSWER * answered).clamp(NAP.0, NAP.1));
    }
}

/// The threads; they stop when this is dropped.
#[derive(Debug)]
pub(super) struct Threads {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Its end is theirs.
    _alive: watch::Sender<()>,
}

impl Threads {
    /// Start the threads, `hls-0` and so on: one for two cores.
    pub(super) fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let alive = watch::Sender::new(());
        let mut handles = Vec::new();
        for number in 0..(cores / 2).clamp(1, MAX_THREADS) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_park(nap)
                .build()?;
            handles.push(runtime.handle().clone());
            let mut end = alive.subscribe();
            thread::Builder::new()
                .name(format!("hls-{number}"))
                .spawn(move || {
                    // It is never sent to: this is the sender's end.
                    let _ = runtime.block_on(end.changed());
                    runtime.shutdown_background();
                })?;
        }
        Ok(Self {
            handles,
            next: AtomicUsize::new(0),
            _alive: alive,
        })
    }

    /// Serve a connection on one of the threads.
    pub(super) fn serve<F>(
        &self,
        socket: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        // Another thread's events are to tell of it from now on.
        let Ok(socket) = socket.into_std() else {
            return;
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        self.handles[number].spawn(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                serve(socket).await;
            }
        });
    }
}
