//! The door for transcode workers: a Unix domain socket that only this user can open.
//!
//! A worker is a process of its own, so that a fault of a codec ends it and nothing else. It connects,
//! says what it makes of what, is given frames of one track and gives back frames of another, which
//! joins the same source. The control plane starts workers when
//! [`Event::TranscodeWanted`](crate::events::Event::TranscodeWanted) says so, and starts them again.
//!
//! Messages of both directions have one form: length of what follows (32 bits, big-endian like all
//! numbers), kind (8 bits), body.
//!
//! | kind | body |
//! |---|---|
//! | 0 hello, from the worker, once | JSON: `stream`, `source`, and the codecs `from` and `to` |
//! | 1 configuration | generation (32 bits), sample rate (32), channels (8), record of `Config` |
//! | 2 frame | generation (32), presentation time in µs (64, signed), `Frame::data` |
//! | 3 end of a generation, to the worker | generation (32) |
//! | 4 picture, to the worker | generation (32), presentation time in µs (64, signed), keyframe (8), `Frame::data` |
//! | 5 rungs, from the worker | generation (32), JSON: the names of the layers that it makes |
//! | 6 configuration of a rung | generation (32), rung (8), width and height (16 each), record |
//! | 7 picture of a rung | generation (32), rung (8), presentation time (64), keyframe (8), `Frame::data` |
//!
//! A generation is a publisher's; the worker answers frames of one with frames of the same. Sound comes
//! and goes as 1 and 2. A worker of a ladder is given pictures as 1 and 4 and answers with 5 to 7, its
//! keyframes at the times of those that it was given.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use stagecast_core::frame::{Config, Frame};
use stagecast_core::id::SourceKey;
use stagecast_core::{Codec, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::engine::{lock, random};
use crate::frames::{CompanionSink, FrameEvent, FrameHub, FrameStream, LadderSink};
use crate::runtime::Runtime;

/// An audio frame takes a kilobyte or two.
const MAX_MESSAGE: usize = 256 << 10;
/// A picture takes more.
const MAX_PICTURE: usize = 16 << 20;
/// Layers that a worker makes.
const MAX_RUNGS: usize = 8;
/// Workers at a time.
const MAX_WORKERS: usize = 1000;
/// Two frames of sound: to wake all that they go through for each of them costs more than to transcode it.
const GATHER: Duration = Duration::from_millis(35);
/// For the first message.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

const HELLO: u8 = 0;
const CONFIG: u8 = 1;
const FRAME: u8 = 2;
const END: u8 = 3;
const PICTURE: u8 = 4;
const RUNGS: u8 = 5;
const RUNG_CONFIG: u8 = 6;
const RUNG_PICTURE: u8 = 7;

/// The socket; dropping it takes its folder away.
#[derive(Debug)]
pub struct Door {
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    stream: String,
    source: Option<String>,
    from: String,
    to: String,
}

/// The newest frame that was given to the worker: what it makes is captured and named by it.
#[derive(Debug)]
struct Newest {
    generation: u32,
    track: Arc<str>,
    pts_us: i64,
    capture: Instant,
}

type Reference = Mutex<Option<Newest>>;

impl Newest {
    /// Capture time of a time on the source's timeline.
    fn capture(&self, pts_us: i64) -> Instant {
        let apart = Duration::from_micros(pts_us.abs_diff(self.pts_us));
        let capture = if pts_us >= self.pts_us {
            self.capture.checked_add(apart)
        } else {
            self.capture.checked_sub(apart)
        };
        capture.unwrap_or_else(Instant::now)
    }
}

impl Door {
    /// Open the socket in a new folder that only this user may enter.
    pub fn open(runtime: &Runtime, hub: FrameHub) -> io::Result<Self> {
        let name = format!("stagecast-{:016x}", u64::from_be_bytes(random()));
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        let door = Self { folder };
        let _context = runtime.handle().enter();
        let listener = UnixListener::bind(door.path())?;
        let mut closing = runtime.closing();
        runtime.handle().spawn(async move {
            tokio::select! {
                () = closing.wait() => {}
                () = accept(listener, hub) => {}
            }
        });
        Ok(door)
    }

    /// Where workers connect.
    pub fn path(&self) -> PathBuf {
        self.folder.join("core")
    }

    /// The folder of the socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "a folder stays behind");
        }
    }
}

async fn accept(listener: UnixListener, hub: FrameHub) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_WORKERS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let hub = hub.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &hub).await {
                        tracing::info!(%error, "a worker's connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a worker");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, hub: &FrameHub) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let (kind, body) = tokio::time::timeout(HELLO_TIMEOUT, receive(&mut read, MAX_MESSAGE))
        .await
        .map_err(late)??;
    let hello: Hello = serde_json::from_slice(&body).map_err(io::Error::other)?;
    let codec = |name: &str| {
        Codec::from_name(name)
            .ok_or_else(|| io::Error::other(format!("{name} is the name of no codec")))
    };
    if kind != HELLO {
        return Err(io::Error::other("the first message is no hello"));
    }
    let (from, to) = (codec(&hello.from)?, codec(&hello.to)?);
    let key = SourceKey::new(&hello.stream, hello.source.as_deref());
    let frames = hub.read_for_transcoding(key.clone(), from.kind());
    let reference = Reference::default();
    if (from.kind(), to) == (Kind::Video, Codec::H264) {
        let ladder = hub.ladder(key);
        return tokio::select! {
            down = feed(frames, from, write, &reference, None) => down,
            up = collect_rungs(read, &ladder, &reference) => up,
        };
    }
    if (from.kind(), to.kind()) != (Kind::Audio, Kind::Audio) {
        return Err(io::Error::other(format!(
            "no worker makes {} of {}",
            to.name(),
            from.name()
        )));
    }
    let companion = hub.accompany(key, &format!("audio-{}", to.name()));
    // Who reads it as segments waits longer for anything else.
    let gather = (!to.is_webrtc()).then_some(GATHER);
    tokio::select! {
        down = feed(frames, from, write, &reference, gather) => down,
        up = collect(read, to, &companion, &reference) => up,
    }
}

/// Give the worker the frames of the source's first track of codec `from`, of video from a keyframe on: each
/// when it comes, or those together that come within a time.
async fn feed(
    mut frames: FrameStream,
    from: Codec,
    mut write: OwnedWriteHalf,
    reference: &Reference,
    gather: Option<Duration>,
) -> io::Result<()> {
    let mut generation = 0;
    let mut told: Option<(Arc<str>, Arc<Config>)> = None;
    let mut message = Vec::new();
    loop {
        let mut event = frames.try_next();
        if event.is_none() || message.len() > MAX_MESSAGE {
            write.write_all(&message).await?;
            message.clear();
        }
        if event.is_none() {
            if let Some(gather) = gather {
                frames.rest(gather).await;
            }
            event = frames.next().await;
        }
        let Some(event) = event else {
            return Ok(());
        };
        match event {
            FrameEvent::Begin { generation: new } => {
                (generation, told) = (new, None);
            }
            FrameEvent::Frame { track, frame, .. } if frame.config.codec == from => {
                let other = told.as_ref().is_some_and(|(name, _)| *name != track);
                if other || (told.is_none() && !frame.keyframe) {
                    continue;
                }
                if told
                    .as_ref()
                    .is_none_or(|(_, config)| **config != *frame.config)
                {
                    put(&mut message, CONFIG, |body| {
                        body.extend(generation.to_be_bytes());
                        body.extend(frame.config.sample_rate.to_be_bytes());
                        body.push(frame.config.channels);
                        body.extend(&*frame.config.record);
                    });
                    told = Some((Arc::clone(&track), Arc::clone(&frame.config)));
                }
                let video = from.kind() == Kind::Video;
                put(&mut message, if video { PICTURE } else { FRAME }, |body| {
                    body.extend(generation.to_be_bytes());
                    body.extend(frame.pts_us.to_be_bytes());
                    if video {
                        body.push(u8::from(frame.keyframe));
                    }
                    body.extend(&*frame.data);
                });
                *lock(reference) = Some(Newest {
                    generation,
                    track,
                    pts_us: frame.pts_us,
                    capture: frame.capture,
                });
            }
            FrameEvent::End => put(&mut message, END, |body| {
                body.extend(generation.to_be_bytes());
            }),
            FrameEvent::Frame { .. } | FrameEvent::Rungs { .. } | FrameEvent::Lost => {}
        }
    }
}

/// Take what the worker has made.
async fn collect(
    mut read: BufReader<OwnedReadHalf>,
    to: Codec,
    companion: &CompanionSink,
    reference: &Reference,
) -> io::Result<()> {
    let mut config: Option<(u32, Arc<Config>)> = None;
    loop {
        let (kind, body) = receive(&mut read, MAX_MESSAGE).await?;
        let (generation, body) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
        let generation = u32::from_be_bytes(*generation);
        match kind {
            CONFIG => {
                let (rate, body) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
                let (&channels, record) = body.split_first().ok_or_else(malformed)?;
                let made = Config {
                    codec: to,
                    record: record.into(),
                    resolution: (0, 0),
                    sample_rate: u32::from_be_bytes(*rate),
                    channels,
                };
                config = Some((generation, Arc::new(made)));
            }
            FRAME => {
                let (pts, data) = body.split_first_chunk::<8>().ok_or_else(malformed)?;
                let pts_us = i64::from_be_bytes(*pts);
                let Some((_, config)) = config.as_ref().filter(|(g, _)| *g == generation) else {
                    continue;
                };
                let newest = lock(reference);
                let Some(newest) = newest.as_ref().filter(|n| n.generation == generation) else {
                    continue;
                };
                let frame = Frame {
                    config: Arc::clone(config),
                    pts_us,
                    dts_us: pts_us,
                    keyframe: true,
                    capture: newest.capture(pts_us),
                    data: data.into(),
                };
                companion.push(generation, frame);
            }
            _ => {
                return Err(io::Error::other(format!(
                    "a worker's message of kind {kind}"
                )));
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::other("a worker's message is cut short")
}

/// Take the rungs that a worker has made.
async fn collect_rungs(
    mut read: BufReader<OwnedReadHalf>,
    ladder: &LadderSink,
    reference: &Reference,
) -> io::Result<()> {
    let mut rungs: Vec<(Arc<str>, Option<Arc<Config>>)> = Vec::new();
    let mut made_of = 0;
    loop {
        let (kind, body) = receive(&mut read, MAX_PICTURE).await?;
        let (generation, body) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
        let generation = u32::from_be_bytes(*generation);
        if kind == RUNGS {
            let names: Vec<Arc<str>> = serde_json::from_slice::<Vec<String>>(body)
                .map_err(io::Error::other)?
                .into_iter()
                .take(MAX_RUNGS)
                .map(Arc::from)
                .collect();
            made_of = generation;
            rungs = names.iter().map(|name| (Arc::clone(name), None)).collect();
            let newest = lock(reference);
            if let Some(newest) = newest.as_ref().filter(|n| n.generation == generation) {
                ladder.announce(generation, Arc::clone(&newest.track), names);
            }
            continue;
        }
        let (&rung, body) = body.split_first().ok_or_else(malformed)?;
        let unknown = || io::Error::other(format!("a worker's rung {rung} has no name"));
        let (layer, config) = rungs.get_mut(usize::from(rung)).ok_or_else(unknown)?;
        match kind {
            RUNG_CONFIG => {
                let (size, record) = body.split_first_chunk::<4>().ok_or_else(malformed)?;
                let [w0, w1, h0, h1] = *size;
                *config = Some(Arc::new(Config {
                    codec: Codec::H264,
                    record: record.into(),
                    resolution: (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])),
                    sample_rate: 0,
                    channels: 0,
                }));
            }
            RUNG_PICTURE => {
                let (pts, body) = body.split_first_chunk::<8>().ok_or_else(malformed)?;
                let (&keyframe, data) = body.split_first().ok_or_else(malformed)?;
                let pts_us = i64::from_be_bytes(*pts);
                let newest = lock(reference);
                let newest = newest.as_ref().filter(|n| n.generation == generation);
                if let (Some(newest), Some(config), true) = (newest, config, made_of == generation)
                {
                    let frame = Frame {
                        config: Arc::clone(config),
                        pts_us,
                        dts_us: pts_us,
                        keyframe: keyframe != 0,
                        capture: newest.capture(pts_us),
                        data: data.into(),
                    };
                    let (track, layer) = (Arc::clone(&newest.track), Arc::clone(layer));
                    ladder.push(generation, track, layer, frame);
                }
            }
            _ => {
                return Err(io::Error::other(format!(
                    "a worker's message of kind {kind}"
                )));
            }
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.push(kind);
    body(out);
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

async fn receive(read: &mut BufReader<OwnedReadHalf>, most: usize) -> io::Result<(u8, Vec<u8>)> {
    let len = read.read_u32().await? as usize;
    if !(1..=most).contains(&len) {
        return Err(io::Error::other(format!(
            "a worker's message of {len} bytes"
        )));
    }
    let kind = read.read_u8().await?;
    let mut body = vec![0; len - 1];
    read.read_exact(&mut body).await?;
    Ok((kind, body))
}
