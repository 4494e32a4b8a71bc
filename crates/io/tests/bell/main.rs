//! The bell of a mailbox under every order in which threads may take their steps and see each other's
//! writes, as loom has it. A message that stays behind a silent bell is a deadlock of the model.

#[path = "../../src/webrtc/bell.rs"]
mod bell;

/// What the bell is made of here.
mod atomic {
    pub use loom::sync::atomic::{AtomicBool, Ordering};
}

use bell::Bell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

/// A mailbox: messages are counted only, by the least that any queue promises (who sees a message sees
/// what its sender did before), and the poll is loom's.
struct Model {
    bell: Bell,
    sent: AtomicUsize,
    poll: Notify,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Bell::new(),
            sent: AtomicUsize::new(0),
            poll: Notify::new(),
        })
    }

    /// As `Mailbox::send`.
    fn send(&self) {
        self.sent.fetch_add(1, Ordering::Release);
        if self.bell.ring() {
            self.poll.notify();
        }
    }

    /// As the loop of a media thread, until so many messages are there.
    fn receive(&self, all: usize) {
        let mut seen = 0;
        while seen < all {
            self.poll.wait();
            self.bell.answer();
            seen = self.sent.load(Ordering::Acquire);
        }
    }
}

#[test]
fn message_of_a_sender_that_did_not_wake_is_seen() {
    loom::model(|| {
        let mailbox = Model::new();
        let sender = thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.send();
                mailbox.send();
            }
        });
        mailbox.receive(2);
        sender.join().unwrap();
    });
}

#[test]
fn two_senders_wake_their_receiver_for_both() {
    loom::model(|| {
        let mailbox = Model::new();
        let senders = [(), ()].map(|()| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send())
        });
        mailbox.receive(2);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}
