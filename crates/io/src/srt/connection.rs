//! One caller, from its conclusion to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::id::SourceKey;
use stagecast_core::ingest::ts::{TsEgress, TsIngest};
use stagecast_core::rtmp::Action;
use stagecast_core::session::Ended;
use stagecast_core::srt::{Connection, Event, Opening, Refusal, Request, refusal};
use stagecast_proto::srt::handshake::Handshake;
use stagecast_proto::srt::{MAX_PAYLOAD, Packet};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::admission::{Doorkeeper, Question, Verdict};
use crate::frames::{FrameEvent, FrameHub, FrameSink};
use crate::runtime::Closing;

/// How often a connection does what is due.
const TICK: Duration = Duration::from_millis(10);
/// Datagrams taken in one go.
const BATCH: usize = 64;
/// How long a player waits for a publisher, or for one to come back.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) frames: FrameHub,
    pub(super) door: Doorkeeper,
    pub(super) closing: Closing,
    pub(super) latency_ms: u16,
    pub(super) passphrase: Option<String>,
    pub(super) stall_timeout: Duration,
}

/// Who calls.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) id: u32,
    pub(super) remote: SocketAddr,
    pub(super) request: Request,
    pub(super) opening: Opening,
    /// Its last handshake, to be refused with.
    pub(super) conclusion: Vec<u8>,
    pub(super) socket: Arc<UdpSocket>,
}

type Inbox = mpsc::Receiver<Vec<u8>>;

/// Ask for the caller, and serve it until it is gone.
pub(super) async fn run(caller: Caller, inbox: Inbox, context: &Context) {
    let question = Question {
        question: 0,
        protocol: "srt",
        action: caller.request.action.name(),
        path: caller.request.address.path.clone(),
        query: caller.request.address.query.clone(),
        remote: caller.remote.ip().to_canonical(),
        origin: None,
    };
    let key = match context.door.ask(question).await {
        Verdict::Admit { stream, source, .. } => SourceKey::new(&stream, source.as_deref()),
        Verdict::Refuse { code, message } => {
            tracing::info!(remote = %caller.remote, code, message, "srt: refused");
            return refuse(&caller, Refusal::from_code(&code)).await;
        }
    };
    let remote = caller.remote;
    let sink = match caller.request.action {
        Action::Play => None,
        Action::Publish => match context.frames.publish(key.clone(), "srt", remote) {
            Ok(sink) => Some(sink),
            Err(error) => {
                tracing::warn!(%remote, %error, "srt: cannot publish");
                return refuse(&caller, Refusal::Busy).await;
            }
        },
    };
    let passphrase = context.passphrase.as_deref();
    let now = Instant::now();
    let connection = Connection::new(
        caller.opening,
        caller.id,
        context.latency_ms,
        passphrase,
        now,
    );
    let mut link = Link {
        connection,
        socket: caller.socket,
        remote,
        inbox,
    };
    let ended = match sink {
        Some(sink) => {
            let ended = publish(&mut link, &sink, context).await;
            sink.end(ended.clone());
            ended
        }
        None => play(&mut link, key, context).await,
    };
    let lost = link.connection.lost();
    tracing::info!(%remote, reason = ended.reason(), lost, "srt: connection over");
    link.connection.close(Instant::now());
    link.flush().await;
}

async fn refuse(caller: &Caller, why: Refusal) {
    if let Some(Packet::Control(control)) = Packet::parse(&caller.conclusion)
        && let Some(asked) = Handshake::parse(control.body)
    {
        // A lost answer: the caller asks again, and is refused again.
        let _ = caller
            .socket
            .send_to(&refusal(&asked, why), caller.remote)
            .await;
    }
}

/// A connection with its way to the peer.
struct Link {
    connection: Connection,
    socket: Arc<UdpSocket>,
    remote: SocketAddr,
    inbox: Inbox,
}

impl Link {
    async fn flush(&mut self) {
        while let Some(datagram) = self.connection.poll_output() {
            // What does not go out is lost on the way, like any other.
            let _ = self.socket.send_to(&datagram, self.remote).await;
        }
    }

    /// A datagram, and what else waits.
    fn take(&mut self, first: &[u8]) {
        let now = Instant::now();
        self.connection.handle_input(first, now);
        for _ in 1..BATCH {
            let Ok(datagram) = self.inbox.try_recv() else {
                break;
            };
            self.connection.handle_input(&datagram, now);
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn closed(why: &'static str) -> Ended {
    match why {
        "peer_closed" => Ended::PeerClosed,
        _ => Ended::ConsentLost,
    }
}

async fn publish(link: &mut Link, sink: &FrameSink, context: &Context) -> Ended {
    let mut closing = context.closing.clone();
    let mut ticks = ticks();
    let mut ingest = TsIngest::default();
    let mut last_media = Instant::now();
    loop {
        link.flush().await;
        tokio::select! {
            datagram = link.inbox.recv() => match datagram {
                Some(datagram) => link.take(&datagram),
                None => return Ended::Shutdown,
            },
            _ = ticks.tick() => link.connection.handle_timeout(Instant::now()),
            () = closing.wait() => return Ended::Shutdown,
        }
        let now = Instant::now();
        while let Some(event) = link.connection.poll_event(now) {
            match event {
                Event::Payload(payload) => ingest.push(&payload, now, &mut |track, frame| {
                    last_media = now;
                    sink.push(track, frame);
                }),
                Event::Closed(why) => {
                    ingest.finish(now, &mut |track, frame| sink.push(track, frame));
                    return closed(why);
                }
            }
        }
        if let Some(ended) = sink.is_ended() {
            return ended;
        }
        if last_media.elapsed() > context.stall_timeout {
            return Ended::Requested("stalled".into());
        }
    }
}

async fn play(link: &mut Link, key: SourceKey, context: &Context) -> Ended {
    let mut closing = context.closing.clone();
    let mut ticks = ticks();
    let mut frames = context.frames.read(key);
    let mut egress = TsEgress::default();
    let mut stream = Vec::new();
    let mut last_frame = Instant::now();
    loop {
        link.flush().await;
        let mut next = None;
        tokio::select! {
            datagram = link.inbox.recv() => match datagram {
                Some(datagram) => link.take(&datagram),
                None => return Ended::Shutdown,
            },
            event = frames.next() => match event {
                Some(event) => next = Some(event),
                None => return Ended::Shutdown,
            },
            _ = ticks.tick() => link.connection.handle_timeout(Instant::now()),
            () = closing.wait() => return Ended::Shutdown,
        }
        let now = Instant::now();
        while let Some(event) = link.connection.poll_event(now) {
            if let Event::Closed(why) = event {
                return closed(why);
            }
        }
        match next {
            Some(FrameEvent::Frame {
                track,
                layer,
                frame,
            }) => {
                last_frame = now;
                stream.clear();
                egress.write(&mut stream, &track, &layer, &frame);
                for payload in stream.chunks(MAX_PAYLOAD) {
                    if !link.connection.send(payload, now) {
                        return Ended::Requested("stalled".into());
                    }
                }
            }
            Some(FrameEvent::Begin { .. }) => egress.restart(),
            Some(FrameEvent::Lost) => return Ended::Requested("stalled".into()),
            Some(FrameEvent::End | FrameEvent::Rungs { .. }) | None => {}
        }
        if last_frame.elapsed() > PATIENCE {
            return Ended::Requested("source_ended".into());
        }
    }
}
