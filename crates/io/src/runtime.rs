//! The threads of everything that is not WebRTC: RTMP, SRT, HLS, recorders and workers.
//!
//! One tokio runtime a process, started with the engine and stopped by [`Runtime::close`]. Media
//! threads never wait for it and it never waits for them: they talk by mailboxes and bounded queues.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::lock;

/// More threads would only fight the media threads for cores.
const MAX_THREADS: usize = 4;
/// What tasks get to say goodbye in, once the engine closes.
const GOODBYE: Duration = Duration::from_millis(500);
/// What blocking work gets to finish in after that.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// The runtime, and how its tasks learn that it is about to stop.
#[derive(Debug)]
pub struct Runtime {
    threads: Mutex<Option<tokio::runtime::Runtime>>,
    handle: Handle,
    closing: watch::Sender<bool>,
}

/// Told once when the engine closes; who holds one is waited for, for a short time.
#[derive(Debug, Clone)]
pub struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Returns when the engine closes.
    pub async fn wait(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

impl Runtime {
    /// Start the threads, `net-0` and so on: one for two cores. A thread that finds work wakes the
    /// next one to look for more, which at some hundred frames a second is most of what they do.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads((cores / 2).clamp(1, MAX_THREADS))
            .thread_name_fn(move || format!("net-{}", next.fetch_add(1, Ordering::Relaxed)))
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            threads: Mutex::new(Some(runtime)),
            closing: watch::Sender::new(false),
        })
    }

    /// For spawning tasks.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// For a task that has a goodbye to say.
    pub fn closing(&self) -> Closing {
        Closing(self.closing.subscribe())
    }

    /// Tell the tasks, wait a little for those that hold a [`Closing`], stop the threads. Idempotent;
    /// not to be called from a task.
    pub fn close(&self) {
        let Some(runtime) = lock(&self.threads).take() else {
            return;
        };
        self.closing.send_replace(true);
        // Those that do not make it are cut off.
        let _ =
            runtime.block_on(async { tokio::time::timeout(GOODBYE, self.closing.closed()).await });
        runtime.shutdown_timeout(SHUTDOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn tasks_that_hold_closing_say_goodbye_before_the_threads_stop() {
        let runtime = Runtime::start().unwrap();
        let said = Arc::new(AtomicBool::new(false));
        let (mut closing, said_by_task) = (runtime.closing(), Arc::clone(&said));
        runtime.handle().spawn(async move {
            closing.wait().await;
            tokio::task::yield_now().await;
            said_by_task.store(true, Ordering::SeqCst);
        });
        runtime.close();
        assert!(said.load(Ordering::SeqCst));
        runtime.close();
    }

    #[test]
    fn task_that_never_ends_does_not_hold_up_the_close() {
        let runtime = Runtime::start().unwrap();
        let closing = runtime.closing();
        runtime.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(closing);
        });
        let begun = std::time::Instant::now();
        runtime.close();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
