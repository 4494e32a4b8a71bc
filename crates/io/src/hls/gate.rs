//! Who may play: asks the control plane, once for many requests.
//!
//! A verdict holds for some seconds for the same playback id, parameters, address and page. A good one
//! that gets old still holds while it is asked again, so that no player waits; a bad one is asked
//! again soon. Requests that come while a question waits share its answer.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stagecast_core::id::SourceKey;
use tokio::sync::watch;

use super::doors::{Ask, Doors};
use crate::admission::Verdict;
use crate::engine::lock;

/// A good verdict is asked again after this time …
const FRESH: Duration = Duration::from_secs(5);
/// … and holds no longer than this.
const STALE: Duration = Duration::from_secs(20);
/// A bad verdict is asked again after this time.
const REFUSED: Duration = Duration::from_secs(1);
/// Verdicts that are remembered.
const MAX_VERDICTS: usize = 50_000;

/// The status, the name and the words of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) message: Arc<str>,
}

/// What a player may play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) source: SourceKey,
    /// Smaller pictures are made of it.
    pub(super) ladder: bool,
}

pub(super) type Outcome = Result<Admitted, Refused>;

#[derive(Debug)]
struct Slot {
    outcome: Option<(Outcome, Instant)>,
    asking: Option<watch::Receiver<()>>,
}

/// The verdicts that hold.
pub(super) struct Gate {
    doors: Arc<dyn Doors>,
    hashers: [RandomState; 2],
    slots: Mutex<HashMap<u128, Slot>>,
}

impl Gate {
    pub(super) fn new(doors: Arc<dyn Doors>) -> Self {
        Self {
            doors,
            hashers: [RandomState::new(), RandomState::new()],
            slots: Mutex::default(),
        }
    }

    /// Whether somebody may play, and what. `ask` is called when the control plane must be asked.
    pub(super) async fn check(
        self: &Arc<Self>,
        key: (&str, &str, std::net::IpAddr, Option<&str>),
        ask: impl FnOnce() -> Ask,
    ) -> Outcome {
        let key = self.hash(key);
        let known = self.look(key, Instant::now());
        match known {
            Known::Fresh(outcome) => outcome,
            Known::Old(outcome, told) => {
                let gate = Arc::clone(self);
                let ask = ask();
                tokio::spawn(async move { gate.ask(key, ask, told).await });
                outcome
            }
            Known::Asking(mut told) => {
                // The sender is dropped with the answer in place.
                let _ = told.changed().await;
                let slots = lock(&self.slots);
                let outcome = slots.get(&key).and_then(|slot| slot.outcome.as_ref());
                outcome.map_or_else(|| Err(unavailable()), |(outcome, _)| outcome.clone())
            }
            Known::Nothing(told) => self.ask(key, ask(), told).await,
        }
    }

    fn hash(&self, key: impl Hash) -> u128 {
        let half = |hasher: &RandomState| u128::from(hasher.hash_one(&key));
        half(&self.hashers[0]) << 64 | half(&self.hashers[1])
    }

    fn look(&self, key: u128, now: Instant) -> Known {
        let mut slots = lock(&self.slots);
        if slots.len() >= MAX_VERDICTS && !slots.contains_key(&key) {
            slots.retain(|_, slot| match &slot.outcome {
                Some((_, at)) => now.saturating_duration_since(*at) < STALE,
                None => slot.asking.is_some(),
            });
        }
        let full = slots.len() >= MAX_VERDICTS && !slots.contains_key(&key);
        if full {
            return Known::Nothing(watch::Sender::new(()));
        }
        let slot = slots.entry(key).or_insert(Slot {
            outcome: None,
            asking: None,
        });
        let age = slot
            .outcome
            .as_ref()
            .map(|(_, at)| now.saturating_duration_since(*at));
        if let (Some((outcome, _)), Some(age)) = (&slot.outcome, age) {
            let fresh = if outcome.is_ok() { FRESH } else { REFUSED };
            if age < fresh || (slot.asking.is_some() && outcome.is_ok() && age < STALE) {
                return Known::Fresh(outcome.clone());
            }
            if slot.asking.is_none() && outcome.is_ok() && age < STALE {
                return Known::Old(outcome.clone(), begin(&mut slot.asking));
            }
        }
        if let Some(asking) = &slot.asking {
            return Known::Asking(asking.clone());
        }
        Known::Nothing(begin(&mut slot.asking))
    }

    async fn ask(&self, key: u128, ask: Ask, tell: watch::Sender<()>) -> Outcome {
        // A caller that gives up must not leave others waiting for nobody.
        let guard = Asking {
            gate: self,
            key,
            _tell: tell,
        };
        let outcome = match self.doors.ask(ask).await {
            Verdict::Admit {
                stream,
                source,
                ladder,
            } => Ok(Admitted {
                source: SourceKey::new(&stream, source.as_deref()),
                ladder,
            }),
            Verdict::Refuse { code, message } => Err(Refused {
                status: status(&code),
                message: message.into(),
            }),
        };
        if let Some(slot) = lock(&self.slots).get_mut(&key) {
            slot.outcome = Some((outcome.clone(), Instant::now()));
        }
        drop(guard);
        outcome
    }
}

/// A question is asked from now on; dropping what is returned tells that it was answered.
fn begin(asking: &mut Option<watch::Receiver<()>>) -> watch::Sender<()> {
    let (tell, told) = watch::channel(());
    *asking = Some(told);
    tell
}

/// A question that waits for its answer.
struct Asking<'a> {
    gate: &'a Gate,
    key: u128,
    /// Dropped last: wakes those who wait.
    _tell: watch::Sender<()>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut slots = lock(&self.gate.slots);
        if let Some(slot) = slots.get_mut(&self.key) {
            slot.asking = None;
            if slot.outcome.is_none() {
                slots.remove(&self.key);
            }
        }
    }
}

/// What is known about a key.
enum Known {
    Fresh(Outcome),
    /// It holds; this caller has to ask again.
    Old(Outcome, watch::Sender<()>),
    /// Another one asks.
    Asking(watch::Receiver<()>),
    /// This caller has to ask.
    Nothing(watch::Sender<()>),
}

fn status(code: &str) -> u16 {
    match code {
        "unauthorized" => 401,
        "forbidden" => 403,
        "not_found" => 404,
        _ => 503,
    }
}

fn unavailable() -> Refused {
    Refused {
        status: 503,
        message: "Nobody could say who may play; try again.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::doors::{Boxed, Frames};

    #[derive(Default)]
    struct Counting {
        asked: AtomicUsize,
    }

    impl Doors for Counting {
        fn is_live(&self, _: &SourceKey) -> bool {
            true
        }
        fn live(&self) -> Vec<SourceKey> {
            Vec::new()
        }
        fn read(&self, _: SourceKey) -> Box<dyn Frames> {
            unreachable!("the gate reads nothing")
        }
        fn ask(&self, ask: Ask) -> Boxed<'_, Verdict> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::task::yield_now().await;
                if ask.path == "good" {
                    Verdict::Admit {
                        stream: "a/s".into(),
                        source: None,
                        ladder: false,
                    }
                } else {
                    Verdict::Refuse {
                        code: "forbidden".into(),
                        message: "No.".into(),
                    }
                }
            })
        }
    }

    fn ask(path: &str) -> Ask {
        Ask {
            path: path.into(),
            query: Vec::new(),
            remote: [127, 0, 0, 1].into(),
            origin: None,
        }
    }

    #[tokio::test]
    async fn thousand_requests_ask_once() {
        let doors = Arc::new(Counting::default());
        let gate = Arc::new(Gate::new(Arc::clone(&doors) as Arc<dyn Doors>));
        let mut tasks = Vec::new();
        for _ in 0..1000 {
            let gate = Arc::clone(&gate);
            tasks.push(tokio::spawn(async move {
                let key = ("good", "token=1", [127, 0, 0, 1].into(), None);
                gate.check(key, || ask("good")).await
            }));
        }
        for task in tasks {
            let source = task.await.unwrap().map(|admitted| admitted.source);
            assert_eq!(source, Ok(SourceKey::new("a/s", None)));
        }
        assert_eq!(doors.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn another_token_is_another_question_and_a_refusal_keeps_its_status() {
        let doors = Arc::new(Counting::default());
        let gate = Arc::new(Gate::new(Arc::clone(&doors) as Arc<dyn Doors>));
        for token in ["token=1", "token=2", "token=2"] {
            let key = ("bad", token, [127, 0, 0, 1].into(), None);
            let refused = gate.check(key, || ask("bad")).await.unwrap_err();
            assert_eq!((refused.status, &*refused.message), (403, "No."));
        }
        assert_eq!(doors.asked.load(Ordering::SeqCst), 2);
    }
}
