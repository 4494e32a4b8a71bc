//! The threads of a run: each drives its peers with an `epoll` of its own, takes commands, and
//! tells what it saw when asked.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Token, Waker};

use crate::Error;
use crate::ledger::{Report, Tally};

/// Wakes a thread for a command.
pub const WAKE: Token = Token(usize::MAX);
/// Threads of one run.
const MAX_THREADS: usize = 64;
/// How long a thread may take to tell; on a machine that is too busy it takes seconds.
const REPLY: Duration = Duration::from_secs(10);

struct Thread<C, T: Tally> {
    commands: Mutex<Sender<C>>,
    waker: Waker,
    handle: Mutex<Option<JoinHandle<()>>>,
    /// What it told last.
    last: Mutex<Report<T>>,
}

/// Threads that obey commands `C` and tell of peers `T`. All calls may come from any thread.
pub struct Threads<C, T: Tally> {
    threads: Vec<Thread<C, T>>,
}

impl<C: Send + 'static, T: Tally> Threads<C, T> {
    /// Start `count` threads, which are named by their number, too.
    pub fn start(
        count: usize,
        name: &str,
        run: impl FnOnce(Poll, Receiver<C>) + Clone + Send + 'static,
    ) -> Result<Self, Error> {
        if !(1..=MAX_THREADS).contains(&count) {
            return Err(Error::Config(format!("1 to {MAX_THREADS} threads, please")));
        }
        let mut all = Self {
            threads: Vec::new(),
        };
        for number in 0..count {
            all.add(format!("{name}-{number}"), run.clone())?;
        }
        Ok(all)
    }

    /// Start one more thread. What it runs gets commands whenever [`WAKE`] is told.
    pub fn add(
        &mut self,
        name: String,
        run: impl FnOnce(Poll, Receiver<C>) + Send + 'static,
    ) -> Result<(), Error> {
        let poll = Poll::new().map_err(Error::System)?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(Error::System)?;
        let (commands, inbox) = channel();
        let handle = thread::Builder::new()
            .name(name)
            .spawn(move || run(poll, inbox))
            .map_err(Error::System)?;
        self.threads.push(Thread {
            commands: Mutex::new(commands),
            waker,
            handle: Mutex::new(Some(handle)),
            last: Mutex::default(),
        });
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Have a thread, counted from zero, do something.
    pub fn send(&self, thread: usize, command: C) {
        self.threads[thread].send(command);
    }

    /// Ask all what they saw.
    pub fn collect(&self, ask: fn(SyncSender<Report<T>>) -> C) -> Report<T> {
        let mut replies = Vec::new();
        for thread in &self.threads {
            let (reply, answer) = sync_channel(1);
            thread.send(ask(reply));
            replies.push(answer);
        }
        let mut all = Report::default();
        for (thread, answer) in self.threads.iter().zip(replies) {
            let mut last = lock(&thread.last);
            if let Ok(report) = answer.recv_timeout(REPLY) {
                *last = report;
            } else {
                // What it said before is better than to say that its peers are gone.
                last.samples = T::Samples::default();
                last.late = REPLY;
            }
            all.append(&last);
        }
        all
    }

    /// Have all end, and wait for that; idempotent.
    pub fn stop(&self, command: fn() -> C) {
        for thread in &self.threads {
            thread.send(command());
        }
        for thread in &self.threads {
            if let Some(handle) = lock(&thread.handle).take() {
                let _ = handle.join();
            }
        }
    }
}

impl<C, T: Tally> Thread<C, T> {
    fn send(&self, command: C) {
        if lock(&self.commands).send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

/// What the mutex guards, also after a panic of another thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
