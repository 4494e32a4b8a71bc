//! Segments on disk, for players that seek back.
//!
//! One folder a segmenter, one folder a rendition, one file a segment; all is gone when the segmenter
//! stops. Files are written and read on blocking threads.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stagecast_core::hls::Segment;

/// Begins the names of our folders, so that leftovers of a crash can be told from other files.
const PREFIX: &str = "hls-";

/// The folder of a segmenter.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Remove what a crash has left.
    pub(super) fn sweep(dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX));
            if ours && let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }

    /// A folder of its own in `dir`.
    pub(super) fn new(dir: &Path, random: u64) -> Self {
        Self {
            folder: dir.join(format!("{PREFIX}{random:016x}")),
        }
    }

    fn path(&self, rendition: &str, number: u64) -> PathBuf {
        self.folder.join(rendition).join(format!("{number}.m4s"))
    }

    /// Write a segment.
    pub(super) fn keep(&self, rendition: &str, segment: Arc<Segment>) {
        let path = self.path(rendition, segment.number);
        tokio::task::spawn_blocking(move || {
            let written = path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, &segment.bytes));
            if let Err(error) = written {
                tracing::error!("cannot write {}: {error}", path.display());
            }
        });
    }

    /// Remove the segments before a number.
    pub(super) fn forget(&self, rendition: &str, before: u64) {
        let folder = self.folder.join(rendition);
        tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let number = name.to_str().and_then(|name| name.strip_suffix(".m4s"));
                let number = number.and_then(|number| number.parse::<u64>().ok());
                if number.is_some_and(|number| number < before) {
                    // Gone already is as good.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        });
    }

    /// Read a segment.
    pub(super) async fn read(&self, rendition: &str, number: u64) -> io::Result<Bytes> {
        let path = self.path(rendition, number);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path));
        read.await.map_err(io::Error::other)?.map(Bytes::from)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Some thousand files at most, of a stream that nobody watches any more.
        if self.folder.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!("cannot remove {}: {error}", self.folder.display());
        }
    }
}
