//! One connection of a client, from its first byte.
//!
//! The driver gives bytes to [`Connection::handle_input`], then takes events and output. After an
//! [`Event::Ask`] the connection reads no further until the driver has said [`Connection::admit`] or
//! [`Connection::refuse`]; a refused connection is to be closed once its output is sent. Before it is
//! admitted a client may send messages of 64 KiB only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use stagecast_proto::amf::Value;
use stagecast_proto::rtmp::chunk::{Reader, Writer};
use stagecast_proto::rtmp::{Message, control, kind};

use super::commands::{self, Capabilities, Command};
use super::handshake::{Handshake, Noise};
use super::media::Ingest;
use super::play::Player;
use super::{Request, RtmpError};
use crate::frame::Frame;

/// Longest message of a client that was not admitted: a `connect` has some hundred bytes.
const LIMIT_BEFORE: usize = 64 << 10;
/// Longest message of a publisher: a keyframe of 4K video at 200 Mbit/s.
const LIMIT_PUBLISHER: usize = 16 << 20;
/// Our chunks; larger ones would only delay audio behind video.
const CHUNK_SIZE: u32 = 8192;
/// How often either side acknowledges, in bytes.
const WINDOW: u32 = 2_500_000;
/// Streams that one connection may create.
const MAX_STREAMS: u32 = 16;

/// Chunk streams of what we send.
mod channel {
    pub const CONTROL: u8 = 2;
    pub const COMMAND: u8 = 3;
    pub const AUDIO: u8 = 4;
    pub const DATA: u8 = 5;
    pub const VIDEO: u8 = 6;
}

/// What a client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send media.
    Publish,
    /// Receive media.
    Play,
}

impl Action {
    /// As the control plane is asked.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

/// What the driver has to act upon.
#[derive(Debug)]
pub enum Event {
    /// May it?
    Ask(Action, Request),
    /// A frame of the publisher.
    Frame(Arc<str>, Frame),
    /// The publisher or player is done; the connection goes on.
    Done,
}

#[derive(Debug)]
enum Role {
    Idle,
    Asking(Action, u32),
    Publishing(u32, Box<Ingest>),
    Playing(u32),
    /// Refused or failed: nothing is read any more.
    Over,
}

/// The server's side of a connection.
#[derive(Debug)]
pub struct Connection {
    handshake: Option<Handshake>,
    reader: Reader,
    writer: Writer,
    out: Vec<u8>,
    events: VecDeque<Event>,
    role: Role,
    /// The application, once connected.
    app: Option<String>,
    capabilities: Capabilities,
    streams: u32,
    received: u64,
    acknowledged: u64,
    /// The peer wants an acknowledgement after so many bytes.
    window: u64,
}

impl Connection {
    /// Waiting for the client's first byte. `noise` is the caller's randomness.
    pub fn new(noise: Noise) -> Self {
        Self {
            handshake: Some(Handshake::new(noise)),
            reader: Reader::new(LIMIT_BEFORE),
            writer: Writer::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            role: Role::Idle,
            app: None,
            capabilities: Capabilities::default(),
            streams: 0,
            received: 0,
            acknowledged: 0,
            window: WINDOW.into(),
        }
    }

    /// Take bytes of the client. After an error the connection is to be closed; what it still has to
    /// say is in the output.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), RtmpError> {
        self.received += bytes.len() as u64;
        match &mut self.handshake {
            Some(handshake) => {
                if let Some(rest) = handshake.handle_input(bytes, &mut self.out)? {
                    self.handshake = None;
                    self.reader.push(&rest);
                }
            }
            None => self.reader.push(bytes),
        }
        self.advance(now)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes for the client.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether the handshake is through.
    pub fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Whether an [`Event::Ask`] waits for its answer.
    pub fn is_asking(&self) -> bool {
        matches!(self.role, Role::Asking(..))
    }

    /// Let the publisher in, and read on.
    pub fn admit(&mut self, now: Instant) -> Result<(), RtmpError> {
        let Role::Asking(Action::Publish, stream) = self.role else {
            return Ok(());
        };
        self.reader.set_limit(LIMIT_PUBLISHER);
        self.role = Role::Publishing(stream, Box::default());
        self.send_control(&control::user_control(control::STREAM_BEGIN, stream));
        self.send_status(stream, "status", "NetStream.Publish.Start", "Publishing.");
        self.advance(now)
    }

    /// Let the player in; its messages are the driver's to make of frames and to [`send`](Self::send).
    pub fn admit_player(&mut self, now: Instant) -> Result<Player, RtmpError> {
        let stream = match self.role {
            Role::Asking(_, stream) => stream,
            _ => 1,
        };
        self.role = Role::Playing(stream);
        self.send_control(&control::user_control(control::STREAM_BEGIN, stream));
        self.send_status(
            stream,
            "status",
            "NetStream.Play.Reset",
            "Playing and resetting.",
        );
        self.send_status(stream, "status", "NetStream.Play.Start", "Playing.");
        let access = [
            Value::string("|RtmpSampleAccess"),
            Value::Boolean(true),
            Value::Boolean(true),
        ];
        self.send(&commands::data(stream, &access));
        self.advance(now)?;
        Ok(Player::new(self.capabilities.clone(), stream))
    }

    /// Say no to what was asked, for this reason of the control plane. The connection is over.
    pub fn refuse(&mut self, code: &str, message: &str) {
        let Role::Asking(action, stream) = self.role else {
            return;
        };
        let status = match (action, code) {
            // What encoders show as "wrong key" rather than try again.
            (Action::Publish, "unauthorized" | "forbidden") => "NetStream.Publish.Unauthorized",
            (Action::Publish, "not_found" | "conflict") => "NetStream.Publish.BadName",
            (Action::Play, "not_found") => "NetStream.Play.StreamNotFound",
            (Action::Play, _) => "NetStream.Play.Failed",
            _ => "NetStream.Failed",
        };
        self.send_status(stream, "error", status, message);
        self.role = Role::Over;
    }

    /// Tell a publisher or player that it is over, from our side.
    pub fn end(&mut self, message: &str) {
        match self.role {
            Role::Publishing(stream, _) => {
                self.send_status(stream, "error", "NetStream.Publish.Failed", message);
            }
            Role::Playing(stream) => {
                self.send_control(&control::user_control(control::STREAM_EOF, stream));
                self.send_status(stream, "status", "NetStream.Play.UnpublishNotify", message);
            }
            _ => {}
        }
        self.role = Role::Over;
    }

    /// Send a player's message.
    pub fn send(&mut self, message: &Message) {
        let channel = match message.kind {
            kind::AUDIO => channel::AUDIO,
            kind::VIDEO => channel::VIDEO,
            kind::DATA => channel::DATA,
            _ => channel::COMMAND,
        };
        self.writer.write(&mut self.out, channel, message);
    }

    fn send_control(&mut self, message: &Message) {
        self.writer.write(&mut self.out, channel::CONTROL, message);
    }

    fn send_status(&mut self, stream: u32, level: &str, code: &str, description: &str) {
        self.send(&commands::status(stream, level, code, description));
    }

    /// Read as far as there is input and nothing to wait for.
    fn advance(&mut self, now: Instant) -> Result<(), RtmpError> {
        while self.handshake.is_none() && !matches!(self.role, Role::Asking(..) | Role::Over) {
            let Some(message) = self.reader.next_message()? else {
                break;
            };
            if let Err(error) = self.on_message(now, &message) {
                if let RtmpError::Unsupported(text) = &error {
                    self.end(text);
                }
                return Err(error);
            }
        }
        if self.handshake.is_none() && self.received - self.acknowledged >= self.window {
            self.acknowledged = self.received;
            self.send_control(&control::acknowledgement(self.received as u32));
        }
        Ok(())
    }

    fn on_message(&mut self, now: Instant, message: &Message) -> Result<(), RtmpError> {
        match message.kind {
            kind::WINDOW_SIZE => {
                if let Some(window) = control::read_number(&message.payload) {
                    // Half of what it wants, so that it never waits for us.
                    self.window = u64::from(window / 2).clamp(4096, WINDOW.into());
                }
            }
            kind::USER_CONTROL => {
                if let Some((control::PING_REQUEST, at)) =
                    control::read_user_control(&message.payload)
                {
                    self.send_control(&control::user_control(control::PING_RESPONSE, at));
                }
            }
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let command = Command::read(message)?;
                self.on_command(&command, message.stream)?;
            }
            kind::AGGREGATE => {
                for part in control::split_aggregate(message) {
                    self.on_media(now, &part)?;
                }
            }
            _ => self.on_media(now, message)?,
        }
        Ok(())
    }

    fn on_media(&mut self, now: Instant, message: &Message) -> Result<(), RtmpError> {
        // Media of nobody who publishes is left out, as what follows a closed stream.
        if let Role::Publishing(_, ingest) = &mut self.role {
            let events = &mut self.events;
            ingest.handle(message, now, &mut |track, frame| {
                events.push_back(Event::Frame(Arc::clone(track), frame));
            })?;
        }
        Ok(())
    }

    fn on_command(&mut self, command: &Command, stream: u32) -> Result<(), RtmpError> {
        let transaction = command.transaction;
        match command.name.as_str() {
            "connect" => self.on_connect(command),
            "createStream" => self.on_create_stream(transaction)?,
            "publish" => self.on_ask(Action::Publish, command, stream)?,
            "play" => self.on_ask(Action::Play, command, stream)?,
            "releaseStream" | "FCPublish" | "FCSubscribe" | "_checkbw" | "getStreamLength" => {
                let length = Value::Number(0.0);
                self.send(&commands::result(transaction, Value::Null, length));
            }
            "deleteStream" => {
                let of = command.number(1).map_or(stream, |number| number as u32);
                self.on_close_stream(of);
            }
            "closeStream" => self.on_close_stream(stream),
            "FCUnpublish" => {
                if let Role::Publishing(stream, _) = self.role {
                    self.on_close_stream(stream);
                }
            }
            // Results of what we never asked, pause, receiveAudio and what clients invent.
            _ => {}
        }
        Ok(())
    }

    fn on_connect(&mut self, command: &Command) {
        let Some(app) = command.property("app").and_then(Value::as_str) else {
            let refused = commands::connect_refused(command.transaction, "connect without an app");
            self.send(&refused);
            self.role = Role::Over;
            return;
        };
        self.app = Some(app.to_owned());
        self.capabilities = Capabilities::read(command);
        let encoding = command
            .property("objectEncoding")
            .and_then(Value::as_number);
        self.send_control(&control::window_size(WINDOW));
        self.send_control(&control::peer_bandwidth(WINDOW));
        self.send_control(&control::set_chunk_size(CHUNK_SIZE));
        self.send(&commands::connected(
            command.transaction,
            encoding.unwrap_or(0.0),
        ));
    }

    fn on_create_stream(&mut self, transaction: f64) -> Result<(), RtmpError> {
        if self.app.is_none() || self.streams >= MAX_STREAMS {
            return Err(RtmpError::Order("createStream".into()));
        }
        self.streams += 1;
        let number = Value::Number(self.streams.into());
        self.send(&commands::result(transaction, Value::Null, number));
        Ok(())
    }

    fn on_ask(&mut self, action: Action, command: &Command, stream: u32) -> Result<(), RtmpError> {
        let out_of_order = || RtmpError::Order(action.name().into());
        let app = self.app.as_deref().ok_or_else(out_of_order)?;
        if !matches!(self.role, Role::Idle) {
            return Err(out_of_order());
        }
        let request = Request::new(app, command.text(1).unwrap_or_default());
        self.role = Role::Asking(action, stream);
        match request {
            Some(request) => self.events.push_back(Event::Ask(action, request)),
            None => self.refuse("not_found", "The stream name is too long."),
        }
        Ok(())
    }

    fn on_close_stream(&mut self, stream: u32) {
        let (code, text) = match self.role {
            Role::Publishing(of, _) if of == stream => {
                ("NetStream.Unpublish.Success", "Stopped publishing.")
            }
            Role::Playing(of) if of == stream => ("NetStream.Play.Stop", "Stopped playing."),
            _ => return,
        };
        self.send_status(stream, "status", code, text);
        self.reader.set_limit(LIMIT_BEFORE);
        self.role = Role::Idle;
        self.events.push_back(Event::Done);
    }
}
