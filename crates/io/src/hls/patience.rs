//! How long a connection may take for one thing after the other, with one timer.
//!
//! A timer for each step would be moved for each request, thousands of times a second, and never
//! fire. This one is moved when it fires too early, or would fire too late, and looked at when there
//! is a reason to.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

/// The patience with one connection.
#[derive(Debug)]
pub(super) struct Patience {
    timer: Pin<Box<Sleep>>,
    /// Whom it wakes when it fires.
    wakes: Option<Waker>,
}

impl Patience {
    /// Call it in a runtime.
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(sleep(Duration::from_secs(60))),
            wakes: None,
        }
    }

    /// What comes of it, or nothing when it takes longer than this.
    pub(super) async fn limit<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut deadline = None;
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            // What is done at once needs no clock.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            if self.timer.deadline() > deadline {
                self.reset(deadline);
            }
            while self.poll_timer(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                self.reset(deadline);
            }
            Poll::Pending
        })
        .await
    }

    fn reset(&mut self, deadline: Instant) {
        self.timer.as_mut().reset(deadline);
        self.wakes = None;
    }

    /// Polls the timer unless it runs and wakes this task already.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let wakes = self.wakes.as_ref();
        if wakes.is_some_and(|waker| waker.will_wake(context.waker())) && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.wakes = Some(context.waker().clone());
        // A timer without budget would tell this task to come again, and not have listened.
        pin!(unconstrained(self.timer.as_mut())).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn each_step_has_its_own_limit() {
        let mut patience = Patience::new();
        let short = Duration::from_millis(5);
        let long = Duration::from_millis(25);
        assert_eq!(patience.limit(short, ready(1)).await, Some(1));
        for limit in [long, short, long] {
            let began = Instant::now();
            assert_eq!(patience.limit(limit, pending::<()>()).await, None);
            assert!(began.elapsed() >= limit);
        }
        let later = async {
            sleep(short).await;
            2
        };
        assert_eq!(patience.limit(Duration::from_secs(9), later).await, Some(2));
    }
}
