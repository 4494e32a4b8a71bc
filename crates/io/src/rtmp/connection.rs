//! One client, from its first byte to its last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stagecast_core::id::SourceKey;
use stagecast_core::rtmp::{Action, Connection, Event, Request, RtmpError};
use stagecast_core::session::Ended;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::player;
use crate::admission::{Doorkeeper, Question, Verdict};
use crate::engine::random;
use crate::frames::{FrameHub, FrameSink};
use crate::runtime::Closing;

const BUFFER: usize = 64 << 10;
/// How often a connection looks whether it was ended from elsewhere, or stalls.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// What a client that is sent away gets to take our last words in.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) frames: FrameHub,
    pub(super) door: Doorkeeper,
    pub(super) closing: Closing,
    pub(super) connect_timeout: Duration,
    pub(super) stall_timeout: Duration,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    /// The client is gone, or its network.
    #[error("the connection was closed")]
    Closed,
    /// The client broke the protocol.
    #[error("{code}: {0}", code = .0.code())]
    Protocol(#[from] RtmpError),
    /// It was not let in, and told so.
    #[error("refused: {0}")]
    Refused(String),
    /// It did not say what it wants.
    #[error("nothing was asked for in time")]
    Idle,
    /// It sends or takes no media.
    #[error("no media for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The hub or the control plane ended it.
    #[error("{}", .0.reason())]
    Ended(Ended),
}

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self::Closed
    }
}

impl Over {
    /// As the session's end is told.
    fn to_ended(&self) -> Ended {
        match self {
            Self::Closed => Ended::PeerClosed,
            Self::Stalled(_) => Ended::Requested("stalled".into()),
            Self::Ended(ended) => ended.clone(),
            other => Ended::Error(other.to_string()),
        }
    }
}

/// A connection with its socket.
pub(super) struct Client<'a, S> {
    pub(super) stream: S,
    pub(super) connection: Connection,
    pub(super) context: &'a Context,
    pub(super) protocol: &'static str,
    pub(super) remote: SocketAddr,
    sink: Option<FrameSink>,
    /// The last frame, or since when nothing is published.
    last_media: Instant,
}

/// Serve a client until it is gone.
pub(super) async fn run<S>(stream: S, protocol: &'static str, remote: SocketAddr, context: &Context)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut client = Client {
        stream,
        connection: Connection::new(random()),
        context,
        protocol,
        remote,
        sink: None,
        last_media: Instant::now(),
    };
    let over = match client.serve().await {
        Err(over) => over,
        Ok(()) => Over::Closed,
    };
    tracing::info!(%remote, protocol, reason = %over, "rtmp: connection over");
    match &over {
        Over::Stalled(_) | Over::Ended(_) => client.connection.end(&over.to_string()),
        _ => {}
    }
    if let Some(sink) = client.sink.take() {
        sink.end(over.to_ended());
    }
    let last_words = async {
        client.flush().await?;
        client.stream.shutdown().await?;
        // Let the client read them before a reset may overtake them.
        let mut rest = [0; 4096];
        while client.stream.read(&mut rest).await? > 0 {}
        Ok::<_, Over>(())
    };
    let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Client<'_, S> {
    async fn serve(&mut self) -> Result<(), Over> {
        let mut buffer = vec![0; BUFFER];
        let mut closing = self.context.closing.clone();
        loop {
            let read = tokio::select! {
                read = self.stream.read(&mut buffer) => Some(read?),
                () = tokio::time::sleep(LOOK) => None,
                () = closing.wait() => return Err(Over::Ended(Ended::Shutdown)),
            };
            match read {
                Some(0) => return Err(Over::Closed),
                Some(len) => {
                    let outcome = self.connection.handle_input(Instant::now(), &buffer[..len]);
                    self.settle(outcome).await?;
                }
                None => {}
            }
            if let Some(ended) = self.sink.as_ref().and_then(FrameSink::is_ended) {
                return Err(Over::Ended(ended));
            }
            let silence = self.last_media.elapsed();
            match &self.sink {
                None if silence > self.context.connect_timeout => return Err(Over::Idle),
                Some(_) if silence > self.context.stall_timeout => {
                    return Err(Over::Stalled(self.context.stall_timeout));
                }
                _ => {}
            }
        }
    }

    /// Act upon what input led to, and send what it calls for.
    async fn settle(&mut self, mut outcome: Result<(), RtmpError>) -> Result<(), Over> {
        loop {
            while let Some(event) = self.connection.poll_event() {
                match event {
                    Event::Frame(track, frame) => {
                        self.last_media = Instant::now();
                        if let Some(sink) = &self.sink {
                            sink.push(&track, frame);
                        }
                    }
                    Event::Ask(Action::Publish, request) => {
                        outcome = self.publish(request).await?;
                    }
                    Event::Ask(Action::Play, request) => {
                        let key = self.ask(Action::Play, request).await?;
                        return player::run(self, key).await;
                    }
                    Event::Done => {
                        self.sink = None;
                        self.last_media = Instant::now();
                    }
                }
            }
            // Reading on after an answer may have brought more.
            if outcome.is_err() || !self.connection.is_asking() {
                break;
            }
        }
        self.flush().await?;
        Ok(outcome?)
    }

    /// Ask, and begin; what follows in the input is read then.
    async fn publish(&mut self, request: Request) -> Result<Result<(), RtmpError>, Over> {
        let key = self.ask(Action::Publish, request).await?;
        match self.context.frames.publish(key, self.protocol, self.remote) {
            Ok(sink) => self.sink = Some(sink),
            Err(error) => return Err(self.refuse("unavailable", &error.to_string())),
        }
        self.last_media = Instant::now();
        Ok(self.connection.admit(Instant::now()))
    }

    async fn ask(&mut self, action: Action, request: Request) -> Result<SourceKey, Over> {
        // What was said so far must not wait for the answer.
        self.flush().await?;
        let question = Question {
            question: 0,
            protocol: self.protocol,
            action: action.name(),
            path: request.path,
            query: request.query,
            remote: self.remote.ip().to_canonical(),
            origin: None,
        };
        match self.context.door.ask(question).await {
            Verdict::Admit { stream, source, .. } => Ok(SourceKey::new(&stream, source.as_deref())),
            Verdict::Refuse { code, message } => Err(self.refuse(&code, &message)),
        }
    }

    fn refuse(&mut self, code: &str, message: &str) -> Over {
        self.connection.refuse(code, message);
        Over::Refused(message.to_owned())
    }

    /// Send what there is to say; a client that does not take it in time is gone.
    pub(super) async fn flush(&mut self) -> Result<(), Over> {
        let output = self.connection.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.context.stall_timeout, write).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Over::Stalled(self.context.stall_timeout)),
        }
    }
}
