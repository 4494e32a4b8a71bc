//! The sources that are segmented now: started when somebody asks, stopped when nobody does.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use stagecast_core::figures::HlsFigures;
use stagecast_core::id::SourceKey;
use tokio::runtime::Handle;

use super::HlsConfig;
use super::disk::Disk;
use super::doors::Doors;
use super::stream::Stream;
use crate::engine::{lock, random};

/// The segmenters.
pub(super) struct Streams {
    doors: Arc<dyn Doors>,
    /// Where segmenters run.
    runtime: Handle,
    config: HlsConfig,
    running: Mutex<HashMap<SourceKey, Arc<Stream>>>,
}

impl Streams {
    /// Call it in the runtime that segmenters are to run in.
    pub(super) fn new(doors: Arc<dyn Doors>, config: HlsConfig) -> Self {
        if let Some(dir) = &config.dvr_dir {
            Disk::sweep(dir);
        }
        Self {
            doors,
            runtime: Handle::current(),
            config,
            running: Mutex::default(),
        }
    }

    /// The segmenter of a source; started if the source is live, and then not listed before the rungs
    /// of a ladder are there.
    pub(super) fn open(self: &Arc<Self>, key: &SourceKey, ladder: bool) -> Option<Arc<Stream>> {
        let mut running = lock(&self.running);
        let found = running
            .get(key)
            .filter(|s| !s.stopped.load(Ordering::Relaxed));
        if let Some(stream) = found {
            let over = stream.ended.load(Ordering::Relaxed) && self.doors.is_live(key);
            if !over {
                stream.touch_playlist();
                return Some(Arc::clone(stream));
            }
        } else if !self.doors.is_live(key) {
            return None;
        }
        let epoch = u64::from_be_bytes(random());
        let settings = self.config.segmenter();
        let dir = self
            .config
            .dvr_dir
            .as_ref()
            .filter(|_| settings.dvr_us.is_some());
        let disk = dir.map(|dir| Disk::new(dir, epoch));
        let stream = Arc::new(Stream::new(key.clone(), disk, epoch));
        running.insert(key.clone(), Arc::clone(&stream));
        drop(running);
        let idle = (!self.config.always).then(|| self.config.idle());
        let frames = self.doors.read(key.clone());
        let (streams, task) = (Arc::clone(self), Arc::clone(&stream));
        self.runtime.spawn(async move {
            Arc::clone(&task).run(frames, settings, idle, ladder).await;
            streams.close(&task);
        });
        Some(stream)
    }

    /// The segmenter of a source if it runs.
    pub(super) fn find(&self, key: &SourceKey) -> Option<Arc<Stream>> {
        let stream = lock(&self.running).get(key).cloned()?;
        stream.touch();
        Some(stream)
    }

    fn close(&self, stream: &Arc<Stream>) {
        let mut running = lock(&self.running);
        if running
            .get(&stream.key)
            .is_some_and(|now| Arc::ptr_eq(now, stream))
        {
            running.remove(&stream.key);
        }
    }

    /// Start what is live, when the settings say so; to be called now and then.
    pub(super) fn start_live(self: &Arc<Self>) {
        if self.config.always {
            for key in self.doors.live() {
                let running = lock(&self.running).get(&key).cloned();
                if running.is_none_or(|stream| stream.ended.load(Ordering::Relaxed)) {
                    self.open(&key, false);
                }
            }
        }
    }

    pub(super) fn figures(&self) -> Vec<HlsFigures> {
        let running: Vec<_> = lock(&self.running).values().cloned().collect();
        let now = Instant::now();
        let figures = running.iter().map(|stream| {
            let (viewers, seconds) = stream.viewers.count(now);
            HlsFigures {
                stream: stream.key.stream.to_string(),
                source: stream.key.source.as_ref().map(ToString::to_string),
                viewers,
                viewer_seconds: seconds,
            }
        });
        figures.collect()
    }
}
