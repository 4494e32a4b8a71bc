//! Asking the control plane who may come in.
//!
//! Protocols whose requests do not pass through the control plane (RTMP, SRT, HLS) put a
//! [`Question`] into the event queue and wait, with a time limit and without blocking a thread, for
//! the [`Verdict`] that the control plane gives to whoever [`Admissions::take`] finds.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::engine::{Engine, EngineError, Shared};
use crate::events::Event;

/// How long the control plane may think.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions without an answer at a time; more are refused at once.
const MAX_WAITING: usize = 4096;

/// Who asks for what.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Question {
    /// Names the question in the answer.
    pub question: u64,
    /// `rtmp`, `rtmps`, `srt` or `hls`.
    pub protocol: &'static str,
    /// `publish` or `play`.
    pub action: &'static str,
    /// What was asked for, without query: `v2/pub/mystream`, `live/KEY`, the resource of an SRT
    /// stream id, or the playback id of an HLS address.
    pub path: String,
    /// Parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// The peer.
    pub remote: IpAddr,
    /// The `Origin` header of an HLS request.
    pub origin: Option<String>,
}

/// What the control plane says.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// Come in.
    Admit {
        /// Stream key, `"<account>/<stream name>"`.
        stream: String,
        /// Source id; `None` is the main source.
        #[serde(default)]
        source: Option<String>,
        /// To play by HLS: smaller pictures are made while somebody plays.
        #[serde(default)]
        ladder: bool,
    },
    /// Stay out.
    Refuse {
        /// Stable name: `unauthorized`, `forbidden`, `not_found`, `conflict`, `unavailable`.
        code: String,
        /// For a person.
        message: String,
    },
}

/// The questions that wait for an answer. `S` is how an asker waits, such as a oneshot channel.
#[derive(Debug)]
pub struct Admissions<S> {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, S>>,
}

impl<S> Default for Admissions<S> {
    fn default() -> Self {
        Self {
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
        }
    }
}

impl<S> Admissions<S> {
    /// Keep an asker until its answer comes; the number of its question. `None` when too many wait.
    pub fn ask(&self, asker: S) -> Option<u64> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        waiting.insert(number, asker);
        Some(number)
    }

    /// The asker of a question, once: to be given the answer, or to be forgotten when it gave up.
    pub fn take(&self, question: u64) -> Option<S> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&question)
    }
}

/// The door, to be given to protocol servers.
#[derive(Clone, Debug)]
pub struct Doorkeeper {
    pub(crate) shared: Arc<Shared>,
}

impl Doorkeeper {
    /// Ask the control plane; `question` is numbered here. No answer in time is a refusal.
    pub async fn ask(&self, question: Question) -> Verdict {
        let unavailable = |message: &str| Verdict::Refuse {
            code: "unavailable".into(),
            message: message.into(),
        };
        let (asker, answer) = oneshot::channel();
        let admissions = &self.shared.admissions;
        let Some(number) = admissions.ask(asker) else {
            return unavailable("The server is busy; try again.");
        };
        let question = Question {
            question: number,
            ..question
        };
        self.shared.events.push(Event::AdmissionAsked(question));
        if let Ok(Ok(verdict)) = tokio::time::timeout(PATIENCE, answer).await {
            return verdict;
        }
        admissions.take(number);
        unavailable("The server did not decide in time; try again.")
    }
}

impl Engine {
    /// The door for servers whose peers the control plane has to admit.
    pub fn doorkeeper(&self) -> Doorkeeper {
        Doorkeeper {
            shared: self.shared(),
        }
    }

    /// The control plane's answer to a question, as JSON. One that came too late is forgotten.
    pub fn decide(&self, question: u64, verdict: &[u8]) -> Result<(), EngineError> {
        let verdict: Verdict = serde_json::from_slice(verdict)
            .map_err(|error| EngineError::Verdict(error.to_string()))?;
        if let Some(asker) = self.shared().admissions.take(question) {
            // The asker may have given up just now.
            let _ = asker.send(verdict);
        }
        Ok(())
    }
}
