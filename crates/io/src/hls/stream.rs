//! One source that is segmented: the task that feeds its segmenter, and what players read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stagecast_core::hls::{Change, Muxer, Settings, Wall};
use stagecast_core::id::SourceKey;
use stagecast_proto::hls::multivariant;
use tokio::sync::watch;

use super::channel::Channel;
use super::disk::Disk;
use super::doors::Frames;
use super::viewers::Viewers;
use crate::frames::FrameEvent;

/// A publisher that comes back within this time goes on with the same playlists.
const RECONNECT: Duration = Duration::from_secs(10);
/// How often idleness and the end are looked at.
const TICK: Duration = Duration::from_millis(500);
/// A publisher that was asked for a keyframe is not asked again before.
const ASK_AGAIN: Duration = Duration::from_millis(400);
/// Events that are taken before what changed is shown.
const BATCH: usize = 256;
/// How long frames gather at least, as less saves nothing, and at most, as some publishers are ahead of
/// their time.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// A player that asks for no playlist for this long is gone.
const VIEWER_GONE: Duration = Duration::from_secs(10);

/// What a multivariant playlist lists, written with marks for the query.
pub(super) type Listing = Arc<str>;

/// A source that is segmented.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: SourceKey,
    /// By name; a list, as there are few.
    channels: RwLock<Vec<(Arc<str>, Arc<Channel>)>>,
    pub(super) listing: watch::Sender<Option<Listing>>,
    pub(super) viewers: Viewers,
    pub(super) disk: Option<Disk>,
    /// Tells its entity tags from those of earlier segmenters.
    epoch: u64,
    began: Instant,
    /// Milliseconds after `began` at which somebody asked for something.
    asked: AtomicU64,
    /// The publisher did not come back: nothing will follow.
    pub(super) ended: AtomicBool,
    /// The task has stopped.
    pub(super) stopped: AtomicBool,
}

impl Stream {
    pub(super) fn new(key: SourceKey, disk: Option<Disk>, epoch: u64) -> Self {
        Self {
            key,
            channels: RwLock::default(),
            listing: watch::Sender::new(None),
            viewers: Viewers::new(VIEWER_GONE),
            disk,
            epoch,
            began: Instant::now(),
            asked: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }

    /// Somebody asks for something: the segmenter is not idle.
    pub(super) fn touch(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        self.asked.store(now, Ordering::Relaxed);
    }

    /// Somebody asks for a playlist. One that has ended is asked for by players who wait for the next
    /// broadcast, too: they do not keep it.
    pub(super) fn touch_playlist(&self) {
        if !self.ended.load(Ordering::Relaxed) {
            self.touch();
        }
    }

    fn idle(&self) -> Duration {
        let asked = Duration::from_millis(self.asked.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(asked)
    }

    pub(super) fn channel(&self, name: &str) -> Option<Arc<Channel>> {
        let channels = self.channels.read().ok()?;
        let found = channels.iter().find(|(of, _)| **of == *name);
        found.map(|(_, channel)| Arc::clone(channel))
    }

    /// Show players what changed.
    fn show(&self, muxer: &mut Muxer) {
        let changes = muxer.changes();
        if changes.is_empty() {
            return;
        }
        for change in changes {
            match change {
                Change::View { name, view } => self.show_view(&name, view),
                Change::Keep { name, segment } => {
                    if let Some(disk) = &self.disk {
                        disk.keep(&name, segment);
                    }
                }
                Change::Forget { name, before } => {
                    if let Some(disk) = &self.disk {
                        disk.forget(&name, before);
                    }
                }
            }
        }
        if let Ok(channels) = self.channels.read() {
            for (name, channel) in channels.iter() {
                channel.stale.store(muxer.is_stale(name), Ordering::Relaxed);
            }
        }
        if let Some(renditions) = muxer.listing() {
            let text = multivariant::write(&renditions);
            self.listing.send_if_modified(|listing| {
                let changed = listing.as_deref() != Some(&text);
                if changed {
                    *listing = Some(text.into());
                }
                changed
            });
        }
    }

    fn show_view(&self, name: &Arc<str>, view: stagecast_core::hls::View) {
        if let Some(channel) = self.channel(name) {
            channel.show(view);
        } else if let Ok(mut channels) = self.channels.write() {
            channels.push((Arc::clone(name), Arc::new(Channel::new(self.epoch, view))));
        }
    }

    /// Feed the segmenter until nobody wants it any more.
    pub(super) async fn run(
        self: Arc<Self>,
        mut frames: Box<dyn Frames>,
        settings: Settings,
        idle: Option<Duration>,
        ladder: bool,
    ) {
        let mut muxer = Muxer::new(settings, wall());
        if ladder {
            muxer.expect_ladder();
        }
        let mut gone: Option<Instant> = Some(Instant::now());
        let mut asked: Option<Instant> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = frames.next(), if !self.ended.load(Ordering::Relaxed) => {
                    let Some(event) = event else { break };
                    take(&mut muxer, event, &mut gone);
                    for _ in 0..BATCH {
                        let Some(event) = frames.try_next() else { break };
                        take(&mut muxer, event, &mut gone);
                    }
                    self.show(&mut muxer);
                    let waited = asked.is_none_or(|at| at.elapsed() > ASK_AGAIN);
                    if waited && muxer.wants_keyframe() {
                        asked = Some(Instant::now());
                        frames.ask_keyframes();
                    }
                    let rest = muxer.rest().min(REST.1);
                    if rest >= REST.0 && self.listing.borrow().is_some() {
                        frames.rest(rest).await;
                    }
                }
                _ = tick.tick() => {
                    let ended = self.ended.load(Ordering::Relaxed);
                    if !ended && gone.is_some_and(|since| since.elapsed() > RECONNECT) {
                        muxer.end();
                        self.show(&mut muxer);
                        self.ended.store(true, Ordering::Relaxed);
                    }
                    let idle = idle.or(ended.then_some(RECONNECT * 3));
                    if idle.is_some_and(|idle| self.idle() > idle) {
                        break;
                    }
                }
            }
        }
        muxer.end();
        self.show(&mut muxer);
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn take(muxer: &mut Muxer, event: FrameEvent, gone: &mut Option<Instant>) {
    match event {
        FrameEvent::Begin { .. } => {
            *gone = None;
            muxer.begin();
        }
        FrameEvent::Frame {
            track,
            layer,
            frame,
        } => {
            *gone = None;
            muxer.push(&track, &layer, &frame);
        }
        FrameEvent::Rungs { track, layers } => muxer.expect_rungs(&track, &layers),
        FrameEvent::Lost => muxer.lost(),
        FrameEvent::End => {
            *gone = Some(Instant::now());
            muxer.pause();
        }
    }
}

/// The clocks, read at once.
fn wall() -> Wall {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Wall {
        instant: Instant::now(),
        unix_us: unix.map_or(0, |since| since.as_micros() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_that_has_ended_is_kept_by_those_who_play_it_only() {
        const SOME: Duration = Duration::from_millis(5);
        let stream = Stream::new(SourceKey::new("a/s", None), None, 1);
        let grow_idle = || {
            while stream.idle() < SOME {
                std::thread::yield_now();
            }
        };
        grow_idle();
        stream.touch_playlist();
        assert!(stream.idle() < SOME);
        grow_idle();
        stream.ended.store(true, Ordering::Relaxed);
        stream.touch_playlist();
        assert!(stream.idle() >= SOME);
        stream.touch();
        assert!(stream.idle() < SOME);
    }
}
