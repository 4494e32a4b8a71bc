//! One admitted caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use stagecast_proto::srt::handshake::{
    CONCLUSION, Handshake, KeyMaterial, Terms, VERSION as HANDSHAKE, extension, follows,
};
use stagecast_proto::srt::{
    Ack, Control, Data, MAX_PAYLOAD, Packet, control, read_lost, write_lost,
};

use super::opening::packet;
use super::receiver::Receiver;
use super::sender::Sender;
use super::{Keys, Opening, VERSION, WINDOW};

/// What we can do: TSBPD both ways, encryption, dropping what is too late, periodic reports, marking
/// repetitions, message boundaries off.
const FLAGS: u32 = 0x3f;
/// Acknowledgements (§4.8.1).
const ACK_EVERY: Duration = Duration::from_millis(10);
/// Longest time between two reports of the same hole, while round trips are not measured yet.
const REPORT_MAX: Duration = Duration::from_millis(40);
/// Said when there is nothing to say: every second.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A peer silent for this time is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest latency that is agreed to.
const MAX_LATENCY_MS: u16 = 8000;
/// Acknowledgements whose answer is waited for, to measure round trips.
const MAX_PENDING: usize = 64;

/// What the driver has to act upon.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A payload, in order.
    Payload(Vec<u8>),
    /// The peer is gone: it said so, or fell silent.
    Closed(&'static str),
}

/// A connection with a caller.
#[derive(Debug)]
pub struct Connection {
    peer_socket: u32,
    began: Instant,
    /// The answer to its conclusion, repeated when the caller repeats that.
    welcome: Vec<u8>,
    passphrase: Option<String>,
    keys: Option<Keys>,
    receiver: Receiver,
    sender: Sender,
    message: u32,
    /// Microseconds.
    round_trip: (u32, u32),
    ack_number: u32,
    /// Acknowledgements by number and time.
    pending: VecDeque<(u32, Instant)>,
    last_ack: Instant,
    acknowledged: u32,
    last_sent: Instant,
    last_heard: Instant,
    out: VecDeque<Vec<u8>>,
    closed: Option<&'static str>,
}

impl Connection {
    /// Welcome a caller; `socket` is our name for it, `latency_ms` the least that we want.
    pub fn new(
        opening: Opening,
        socket: u32,
        latency_ms: u16,
        passphrase: Option<&str>,
        now: Instant,
    ) -> Self {
        let receive_ms = latency_ms.max(opening.terms.send_ms).min(MAX_LATENCY_MS);
        let send_ms = latency_ms.max(opening.terms.receive_ms).min(MAX_LATENCY_MS);
        let welcome = welcome(&opening, socket, receive_ms, send_ms);
        let ms = |ms: u16| Duration::from_millis(ms.into());
        Self {
            peer_socket: opening.peer_socket,
            began: now,
            out: VecDeque::from([welcome.clone()]),
            welcome,
            passphrase: passphrase.map(str::to_owned),
            receiver: Receiver::new(opening.sequence, ms(receive_ms)),
            sender: Sender::new(opening.sequence, ms(send_ms)),
            keys: opening.keys,
            message: 1,
            round_trip: (100_000, 50_000),
            ack_number: 0,
            pending: VecDeque::new(),
            last_ack: now,
            acknowledged: opening.sequence,
            last_sent: now,
            last_heard: now,
            closed: None,
        }
    }

    /// Take a datagram of the peer.
    pub fn handle_input(&mut self, datagram: &[u8], now: Instant) {
        self.last_heard = now;
        match Packet::parse(datagram) {
            Some(Packet::Data(data)) => self.on_data(&data, now),
            Some(Packet::Control(control)) => self.on_control(&control, now),
            None => {}
        }
    }

    /// Do what is due; to be called every ten milliseconds at least.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_heard) >= SILENCE {
            self.closed.get_or_insert("silent");
        }
        if now >= self.last_ack + ACK_EVERY {
            self.acknowledge(now);
        }
        // Oftener than libsrt does: a repetition too many costs less than a picture.
        let interval = Duration::from_micros(u64::from(self.round_trip.0) / 2);
        let lost = self.receiver.report(now, interval.min(REPORT_MAX), false);
        self.report(&lost, now);
        if now >= self.last_sent + KEEP_ALIVE {
            self.send_control(control::KEEP_ALIVE, 0, 0, &[0; 4], now);
        }
    }

    /// What happened.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        if let Some(payload) = self.receiver.pop(now) {
            return Some(Event::Payload(payload));
        }
        self.closed.map(Event::Closed)
    }

    /// The next datagram to send.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Send a payload of up to [`MAX_PAYLOAD`] bytes; false when the peer acknowledges too little for
    /// that, or it is too long.
    pub fn send(&mut self, payload: &[u8], now: Instant) -> bool {
        if self.sender.is_full() || payload.len() > MAX_PAYLOAD {
            return false;
        }
        let sequence = self.sender.next();
        let mut payload = payload.to_vec();
        let key = match &self.keys {
            Some(keys) => keys.encrypt(sequence, &mut payload),
            None => 0,
        };
        let packet = Packet::Data(Data {
            sequence,
            key,
            again: false,
            message: self.message,
            timestamp: self.timestamp(now),
            socket: self.peer_socket,
            payload: &payload,
        });
        self.out.push_back(packet.to_bytes());
        self.last_sent = now;
        self.sender.push(payload, key, self.message, now);
        self.message = (self.message + 1) & 0x03ff_ffff;
        true
    }

    /// Say goodbye.
    pub fn close(&mut self, now: Instant) {
        self.send_control(control::SHUTDOWN, 0, 0, &[0; 4], now);
    }

    /// Packets of the peer that never came.
    pub fn lost(&self) -> u64 {
        self.receiver.lost
    }

    fn timestamp(&self, at: Instant) -> u32 {
        at.saturating_duration_since(self.began).as_micros() as u32
    }

    fn on_data(&mut self, data: &Data<'_>, now: Instant) {
        let mut payload = data.payload.to_vec();
        if data.key != 0 {
            let decrypted = self
                .keys
                .as_ref()
                .is_some_and(|keys| keys.decrypt(data.key, data.sequence, &mut payload));
            if !decrypted {
                return;
            }
        }
        if self.receiver.push(data.sequence, payload, now) {
            let lost = self.receiver.report(now, Duration::ZERO, true);
            self.report(&lost, now);
        }
    }

    fn on_control(&mut self, control: &Control<'_>, now: Instant) {
        match control.kind {
            control::HANDSHAKE => self.out.push_back(self.welcome.clone()),
            control::ACK => {
                if let Some(sequence) = Ack::sequence(control.body) {
                    self.sender.acknowledge(sequence);
                }
                // Light acknowledgements have no number and want no answer.
                if control.number != 0 {
                    self.send_control(control::ACK_ACK, 0, control.number, &[0; 4], now);
                }
            }
            control::NAK => self.repeat(&read_lost(control.body), now),
            control::ACK_ACK => self.on_ack_ack(control.number, now),
            control::DROP => {
                if let Some([a, b, c, d, e, f, g, h]) = control.body.first_chunk() {
                    let first = u32::from_be_bytes([*a, *b, *c, *d]);
                    let last = u32::from_be_bytes([*e, *f, *g, *h]);
                    self.receiver.give_up(first, last, now);
                }
            }
            control::SHUTDOWN => {
                self.receiver.finish();
                self.closed.get_or_insert("peer_closed");
            }
            control::USER if control.subtype == extension::KEY_REQUEST => {
                self.on_new_keys(control.body, now);
            }
            _ => {}
        }
    }

    fn on_new_keys(&mut self, message: &[u8], now: Instant) {
        let (Some(keys), Some(passphrase)) = (&mut self.keys, &self.passphrase) else {
            return;
        };
        if KeyMaterial::parse(message).is_some_and(|material| keys.update(passphrase, &material)) {
            self.send_control(control::USER, extension::KEY_RESPONSE, 0, message, now);
        }
    }

    fn repeat(&mut self, lost: &[u32], now: Instant) {
        for &sequence in lost {
            let Some(again) = self.sender.again(sequence, now) else {
                continue;
            };
            let timestamp = again.first.saturating_duration_since(self.began);
            let packet = Packet::Data(Data {
                sequence: again.sequence,
                key: again.key,
                again: true,
                message: again.message,
                timestamp: timestamp.as_micros() as u32,
                socket: self.peer_socket,
                payload: again.payload,
            });
            self.out.push_back(packet.to_bytes());
        }
    }

    fn on_ack_ack(&mut self, number: u32, now: Instant) {
        let Some(at) = self
            .pending
            .iter()
            .position(|(pending, _)| *pending == number)
        else {
            return;
        };
        let (_, sent) = self.pending[at];
        self.pending.drain(..=at);
        let measured = now
            .saturating_duration_since(sent)
            .as_micros()
            .min(30_000_000) as u32;
        let (trip, variance) = self.round_trip;
        self.round_trip = (
            (trip * 7 + measured) / 8,
            (variance * 3 + trip.abs_diff(measured)) / 4,
        );
    }

    fn acknowledge(&mut self, now: Instant) {
        self.last_ack = now;
        let sequence = self.receiver.acknowledged();
        // Nothing new, and the last acknowledgement was answered.
        if sequence == self.acknowledged && self.pending.is_empty() {
            return;
        }
        self.acknowledged = sequence;
        self.ack_number = self.ack_number.wrapping_add(1).max(1);
        self.pending.push_back((self.ack_number, now));
        if self.pending.len() > MAX_PENDING {
            self.pending.pop_front();
        }
        let ack = Ack {
            sequence,
            round_trip: self.round_trip,
            room: self.receiver.room().max(2),
        };
        self.send_control(control::ACK, 0, self.ack_number, &ack.to_bytes(), now);
    }

    fn report(&mut self, lost: &[(u32, u32)], now: Instant) {
        if !lost.is_empty() {
            self.send_control(control::NAK, 0, 0, &write_lost(lost), now);
        }
    }

    fn send_control(&mut self, kind: u16, subtype: u16, number: u32, body: &[u8], now: Instant) {
        let packet = Packet::Control(Control {
            kind,
            subtype,
            number,
            timestamp: self.timestamp(now),
            socket: self.peer_socket,
            body,
        });
        self.last_sent = now;
        self.out.push_back(packet.to_bytes());
    }
}

fn welcome(opening: &Opening, socket: u32, receive_ms: u16, send_ms: u16) -> Vec<u8> {
    let terms = Terms {
        version: VERSION,
        flags: FLAGS,
        receive_ms,
        send_ms,
    };
    let terms = terms.to_bytes();
    let mut extensions = vec![(extension::HS_RESPONSE, &terms[..])];
    let mut field = follows::HS;
    if let Some(message) = &opening.key_message {
        extensions.push((extension::KEY_RESPONSE, message));
        field |= follows::KEYS;
    }
    let answer = Handshake {
        version: HANDSHAKE,
        encryption: 0,
        extension: field,
        sequence: opening.sequence,
        mtu: opening.mtu,
        window: WINDOW,
        kind: CONCLUSION,
        socket,
        cookie: 0,
        extensions,
    };
    packet(&answer, opening.peer_socket)
}
