//! When the thread wakes by itself: timers of sessions and readers, sources that are due, and the tick.

use std::time::Instant;

use super::{Entry, REPORT, Shard, TICK};
use crate::webrtc::tcp;

impl Shard {
    /// When there is something to do, whatever comes.
    pub(super) fn next_wake(&self) -> Instant {
        let timer = self.timers.next();
        let due = self
            .awaited
            .iter()
            .filter_map(|&feed| self.feeds.get(feed)?.due)
            .min();
        let look = self.looks.then_some(self.next_look);
        timer
            .into_iter()
            .chain(due)
            .chain(look)
            .fold(self.next_tick, Instant::min)
    }

    /// Look at the session at this time, or before.
    pub(super) fn schedule(&mut self, slot: usize, at: Instant) {
        let Some(entry) = self.sessions.get_mut(slot) else {
            return;
        };
        // An earlier timer that is already set will look again.
        if entry.wake.is_none_or(|wake| at < wake) {
            entry.wake = Some(at);
            self.timers.arm(slot, at);
        }
    }

    /// Serve the sessions that are due.
    pub(super) fn run_timers(&mut self, now: Instant) {
        while let Some(slot) = self.timers.pop(now) {
            let Some(entry) = self.sessions.get_mut(slot) else {
                continue;
            };
            if entry.reader_wake.is_some_and(|wake| wake <= now) {
                entry.reader_wake = None;
                let feed = entry.feed;
                self.deliver(feed, slot, now);
            }
            let Some(entry) = self.sessions.get_mut(slot) else {
                continue;
            };
            if entry.wake.is_some_and(|wake| wake <= now) {
                entry.wake = None;
                let connected = entry.session.handle_timeout(now, &mut self.outbox);
                if connected {
                    self.on_connected(slot, now);
                }
                self.drive(slot, now);
            }
            // The wheel has one time a session: the other one, or one that was not due yet.
            let Some(entry) = self.sessions.get(slot) else {
                continue;
            };
            for at in [entry.wake, entry.reader_wake].into_iter().flatten() {
                self.timers.arm(slot, at);
            }
        }
    }

    /// Whether nobody waits for packets: there are publishers, and nobody but readers of frames.
    fn is_leisurely(&self) -> bool {
        let waits = |entry: &Entry| entry.session.is_viewer() || !entry.session.is_connected();
        let elsewhere = self
            .feeds
            .iter()
            .any(|(_, feed)| !feed.subscribers.is_empty());
        !self.sessions.is_empty()
            && !self.sessions.iter().any(|(_, entry)| waits(entry))
            && !elsewhere
            && self.routes.is_empty()
    }

    /// What is done some times a second.
    pub(super) fn tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        let feeds: Vec<usize> = self.feeds.iter().map(|(i, _)| i).collect();
        for feed in feeds {
            for (track, layer) in self.feeds[feed].source.due_keyframe_requests(now) {
                self.ask_keyframe(feed, track, layer, now);
            }
        }
        self.watch_transcoding(now);
        self.weigh_layers(now);
        self.look_or_listen();
        self.leisurely = self.is_leisurely();
        let late: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, c)| !c.known && now > c.accepted + tcp::STRANGER_TIMEOUT)
            .map(|(i, _)| i)
            .collect();
        for connection in late {
            self.unregister(connection);
        }
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.report(now);
        }
        if self
            .closing
            .is_some_and(|by| self.sessions.is_empty() || now >= by)
        {
            self.flush();
            self.closed = true;
        }
    }
}
