//! The last steps of a packet: header of this viewer, copy into the arena, seal
//! in place. One pass, no allocation; this is where a forwarding server spends
//! its time.

use std::time::{Duration, Instant};

use stagecast_proto::codec::{Codec, Kind};
use stagecast_proto::ntp::Ntp;
use stagecast_proto::rtcp::SenderInfo;
use stagecast_proto::rtp::HeaderWriter;
use stagecast_proto::rtp::dependency::FRAME_NUMBER;
use stagecast_proto::rtp::ext::{AbsCaptureTime, AudioLevel, TransportSequence};

use super::answer::{AcceptedPayload, ExtensionIds, Line};
use super::clock::WallClock;
use super::history::{History, Sent};
use super::numbers::Numbers;
use super::quality::Quality;
use crate::bwe::{PacketKind, Probe};
use crate::hub::{EgressTransport, Outgoing, Patch, Source};
use crate::outbox::{Lane, Outbox, Path};
use crate::packet::{Format, Packet};
use crate::srtp::Sealer;

/// Largest header that is written: fixed part and all extensions.
const HEADER_ROOM: usize = 64;
/// Padding of a packet that holds nothing else, at most (RFC 3550 §5.1).
const MAX_PADDING: usize = 255;
/// Between capture times, unless one cannot be told from the one before; receivers interpolate for five seconds.
const STAMP_INTERVAL: Duration = Duration::from_secs(1);
/// A capture time so far from what the one before tells is told.
const STAMP_TOLERANCE_US: i64 = 2000;
/// Between packets that are overtaken so that a viewer says what it lost.
const NUDGE_INTERVAL: Duration = Duration::from_millis(60);
/// A packet with more of them after it is sent again once: aiortc forgets all it has when one comes a hundred too late.
const TWICE_WITHIN: u64 = 60;
/// The P bit of the first byte of an RTP header.
const PADDING_BIT: u8 = 0x20;

/// One RTP stream to a viewer.
#[derive(Debug)]
pub struct Stream {
    line: Line,
    last: Option<(Format, Option<AcceptedPayload>)>,
    history: History,
    numbers: Numbers,
    rtx_seq: u64,
    /// Sequence number of the first packet since the layer changed: what is older need not be repaired.
    switched: u64,
    packets: u64,
    octets: u64,
    /// Newest timestamp and when it was captured, for sender reports.
    newest: Option<(u32, Instant)>,
    /// The same of the last packet that had its capture time with it.
    stamped: Option<(u32, Instant)>,
    undecodable: u64,
    /// When a packet was last overtaken.
    nudged: Option<Instant>,
}

impl Stream {
    /// A stream that has sent nothing; `rtx_seq` is the caller's randomness.
    pub fn new(line: Line, rtx_seq: u16) -> Self {
        Self {
            line,
            last: None,
            history: History::default(),
            numbers: Numbers::default(),
            rtx_seq: u64::from(rtx_seq & 0x7fff),
            switched: 0,
            packets: 0,
            octets: 0,
            newest: None,
            stamped: None,
            undecodable: 0,
            nudged: None,
        }
    }

    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.line.kind
    }

    /// SSRC of the media.
    pub fn ssrc(&self) -> u32 {
        self.line.ssrc
    }

    /// Media packets and payload bytes sent, and packets the viewer cannot decode.
    pub fn totals(&self) -> (u64, u64, u64) {
        (self.packets, self.octets, self.undecodable)
    }

    /// Whether a packet should carry its capture time.
    fn must_stamp(&self, out: &Outgoing<'_>) -> bool {
        // On the last packet of a frame, which often is the shorter one anyway, so that the
        // others stay equal in size and share a message to the kernel.
        if self.line.extensions.capture_time.is_none() || !(out.kind == Kind::Audio || out.marker) {
            return false;
        }
        let Some((timestamp, captured)) = self.stamped else {
            return true;
        };
        let passed = out.capture.saturating_duration_since(captured);
        let ticks = out.timestamp.wrapping_sub(timestamp).cast_signed();
        let told = i64::from(ticks) * 1_000_000 / i64::from(self.kind().clock_rate());
        passed >= STAMP_INTERVAL || (passed.as_micros() as i64 - told).abs() > STAMP_TOLERANCE_US
    }

    /// What a sender report says at `now` (RFC 3550 §6.4.1); `None` before any media.
    pub fn sender_info(&self, now: Instant, clock: WallClock) -> Option<SenderInfo> {
        let (timestamp, captured) = self.newest?;
        let rate = u128::from(self.kind().clock_rate());
        let passed = now.saturating_duration_since(captured).as_nanos();
        Some(SenderInfo {
            ntp: Ntp::from_unix_micros(clock.unix_micros(now)),
            rtp_timestamp: timestamp.wrapping_add((passed * rate / 1_000_000_000) as u32),
            packet_count: self.packets as u32,
            octet_count: self.octets as u32,
        })
    }

    /// What was sent with this transport-wide number is lost: which packet that was, if it can be sent again.
    pub fn on_lost(&mut self, number: u16) -> Option<(u32, u16)> {
        let carried = self.numbers.get(number)?;
        let missing = self.history.is_missing(carried.seq, carried.resends);
        missing.then_some((self.line.ssrc, carried.seq))
    }

    fn payload(&mut self, format: Format) -> Option<AcceptedPayload> {
        if let Some((_, accepted)) = self.last.filter(|(f, _)| *f == format) {
            return accepted;
        }
        let best = self
            .line
            .payloads
            .iter()
            .filter_map(|p| Some((fit(p.format, format)?, *p)))
            .max_by_key(|(score, _)| *score)
            .map(|(_, p)| p);
        self.last = Some((format, best));
        best
    }
}

/// How well a payload type fits a stream's format; `None` if it does not.
pub fn fit(offered: Format, stream: Format) -> Option<u32> {
    if offered.codec != stream.codec {
        return None;
    }
    Some(match stream.codec {
        Codec::H264 => {
            // Every decoder of a profile takes lower levels in practice; the profile
            // decides, then the packetization mode, which matters to few decoders.
            let profile = |f: Format| f.profile_level_id >> 16;
            let constrained = |f: Format| (f.profile_level_id >> 14) & 1;
            let mut score = 1;
            score += 8 * u32::from(profile(offered) == profile(stream));
            score += 4 * u32::from(offered.packetization_mode == stream.packetization_mode);
            score += 2 * u32::from(constrained(offered) == constrained(stream));
            score
        }
        _ => 1 + u32::from(offered.profile == stream.profile),
    })
}

/// The reader's transport: seals packets of one viewer into the outbox.
pub struct Egress<'a> {
    /// The viewer's streams.
    pub streams: &'a mut [Stream],
    /// Told of every packet.
    pub quality: &'a mut Quality,
    /// Its keys.
    pub sealer: &'a Sealer,
    /// Next transport-wide sequence number.
    pub transport_seq: &'a mut u64,
    /// The way to it.
    pub path: Path,
    /// For capture times.
    pub clock: WallClock,
    /// Where datagrams go.
    pub out: &'a mut Outbox,
}

impl std::fmt::Debug for Egress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl EgressTransport for Egress<'_> {
    fn send(&mut self, now: Instant, out: &Outgoing<'_>) {
        let Some(stream) = self.streams.iter_mut().find(|s| s.kind() == out.kind) else {
            return;
        };
        let Some(accepted) = stream.payload(out.packet.format) else {
            stream.undecodable += 1;
            return;
        };
        let transport_seq = *self.transport_seq;
        let ids = stream.line.extensions;
        let dependency = Dependency::of(ids, out.packet, out.patch);
        let stamp = stream.must_stamp(out).then_some(self.clock);
        let extensions = Extensions::of(ids, transport_seq, out, stamp);
        let mut list = [(0u8, &[][..]); 4];
        let header = HeaderWriter {
            marker: out.marker,
            payload_type: accepted.pt,
            sequence: out.seq as u16,
            timestamp: out.timestamp,
            ssrc: stream.line.ssrc,
            csrcs: &[],
            extensions: extensions.list(dependency, &mut list),
        };
        let payload = &out.packet.payload;
        let padding = usize::from(out.packet.padding);
        let described = dependency.map_or(0, Dependency::room);
        let overhead = self.sealer.profile().rtp_overhead();
        let room = HEADER_ROOM + described + payload.len() + padding + overhead;
        let sealer = self.sealer;
        let lane = match out.kind {
            Kind::Audio => Lane::Audio,
            Kind::Video => Lane::Video,
        };
        let sent = self.out.push_with(self.path, lane, room, |buffer| {
            let header_len = header.write(buffer).ok()?;
            if let Some(dependency) = dependency {
                dependency.renumber(&header, buffer);
            }
            let end = header_len + payload.len();
            buffer[header_len..end].copy_from_slice(payload);
            if let Some(patch) = out.patch {
                patch.apply(&mut buffer[header_len..end]);
            }
            if padding > 0 {
                buffer[0] |= PADDING_BIT;
                pad(&mut buffer[end..end + padding]);
            }
            let sealed_end = end + padding + overhead;
            Some(sealer.seal_rtp(&mut buffer[..sealed_end], header_len, header.ssrc, out.seq))
        });
        let Some(bytes) = sent else {
            return;
        };
        let numbered = stream.line.extensions.transport_cc.is_some();
        let number = numbered.then_some(transport_seq);
        *self.transport_seq += u64::from(numbered);
        let audio = out.kind == Kind::Audio;
        self.quality
            .on_sent(now, number, bytes, audio, PacketKind::Media);
        stream.packets += 1;
        stream.octets += payload.len() as u64;
        stream.newest = Some((out.timestamp, out.capture));
        if stamp.is_some() {
            stream.stamped = stream.newest;
        }
        // What came before a keyframe of the same layer is of use: some decoders wait for it.
        let changed = |last: Sent| !last.origin.is_beside(out.origin);
        if out.packet.keyframe && !audio && stream.history.newest().is_some_and(changed) {
            stream.switched = out.seq;
        }
        if let Some(rtx_pt) = accepted.rtx_pt {
            let sent = Sent {
                seq: out.seq,
                timestamp: out.timestamp,
                marker: out.marker,
                rtx_pt,
                origin: out.origin,
                patch: out.patch,
            };
            stream.history.push(sent, now);
            if numbered {
                stream.numbers.set(transport_seq as u16, out.seq as u16, 0);
            } else {
                self.nudge(out, now);
            }
        }
    }
}

impl Egress<'_> {
    /// Let the packet overtake the one before, now and then.
    ///
    /// Some receivers, as aiortc, ask for what they miss only when they find another gap: a request that is lost
    /// waits for the next loss, for some hundred packets at times, and a picture with it. A gap that is filled
    /// at once makes them ask for all they miss.
    fn nudge(&mut self, out: &Outgoing<'_>, now: Instant) {
        let Some(stream) = self.streams.iter_mut().find(|s| s.kind() == out.kind) else {
            return;
        };
        let lately = |at: Instant| now.saturating_duration_since(at) < NUDGE_INTERVAL;
        if out.kind == Kind::Video
            && !stream.nudged.is_some_and(lately)
            && self.quality.is_vague()
            && self.out.swap_last(self.path, Lane::Video)
        {
            stream.nudged = Some(now);
            stream.history.overtaken(out.seq.wrapping_sub(1));
        }
    }

    /// Send a lost packet again, as RFC 4588 has it; whether it could be.
    pub fn resend(
        &mut self,
        media_ssrc: u32,
        lost: u16,
        rtt: Duration,
        source: &Source,
        now: Instant,
    ) -> bool {
        let Some(index) = self.streams.iter().position(|s| s.ssrc() == media_ssrc) else {
            return false;
        };
        let stream = &mut self.streams[index];
        let Some(sent) = stream.history.find(lost) else {
            return false;
        };
        if sent.seq < stream.switched {
            return false;
        }
        let Some(packet) = sent.origin.find(source) else {
            return false;
        };
        // Some, as pion, go on asking for what has come by the repair stream.
        let last = stream.history.resent_as(sent.seq);
        if last.is_some_and(|number| self.quality.has_arrived(number)) {
            return false;
        }
        let most = self.quality.most_resends();
        if !stream.history.may_resend(sent.seq, rtt, most, now)
            || !self.quality.may_repair(now, packet.payload.len())
        {
            return false;
        }
        stream.history.resent(sent.seq, now);
        let newest = stream.history.newest().map_or(0, |newest| newest.seq);
        let again = |egress: &mut Self| {
            let number = *egress.transport_seq as u16;
            let done = egress.write_rtx(index, sent, packet, now, PacketKind::Retransmission);
            let stream = &mut egress.streams[index];
            let resends = stream.history.resends(sent.seq);
            stream.numbers.set(number, sent.seq as u16, resends);
            stream.history.number(sent.seq, number);
            done
        };
        let done = again(self);
        // A request that has to be repeated costs a round trip, which is what a picture stands for.
        if newest < sent.seq + TWICE_WITHIN
            && self.quality.may_repair_twice(now, packet.payload.len())
        {
            again(self);
        }
        done
    }

    /// Send what a probe asks for: packets of late once more, or padding where they are too large for
    /// a rate to be read from how they arrive; whether it could be.
    pub fn probe(&mut self, probe: Probe, source: &Source, now: Instant) -> bool {
        let rtx = |s: &Stream| s.kind() == Kind::Video && s.history.newest().is_some();
        let Some(index) = self.streams.iter().position(rtx) else {
            return false;
        };
        let (mut bytes, mut back) = (0, 0);
        while bytes < probe.bytes {
            let sent = self.streams[index].history.recent(back);
            back += 1;
            let packet = sent.and_then(|sent| Some((sent, sent.origin.find(source)?)));
            let before = self.out.queued();
            let written = match packet {
                Some((sent, packet)) if packet.payload.len() <= probe.packet_bytes * 5 / 4 => {
                    self.write_rtx(index, sent, packet, now, PacketKind::Padding)
                }
                _ => self.write_padding(index, probe.packet_bytes, now),
            };
            bytes += self.out.queued() - before;
            if !written {
                return false;
            }
        }
        true
    }

    fn write_rtx(
        &mut self,
        index: usize,
        sent: Sent,
        packet: &Packet,
        now: Instant,
        kind: PacketKind,
    ) -> bool {
        let payload = &packet.payload;
        let ids = self.streams[index].line.extensions;
        let repair = Repair {
            timestamp: sent.timestamp,
            marker: sent.marker,
            payload_type: sent.rtx_pt,
            padding: false,
            dependency: Dependency::of(ids, packet, sent.patch),
        };
        self.write_repair(index, &repair, 2 + payload.len(), now, kind, |room| {
            room[..2].copy_from_slice(&(sent.seq as u16).to_be_bytes());
            room[2..].copy_from_slice(payload);
            if let Some(patch) = sent.patch {
                patch.apply(&mut room[2..]);
            }
        })
    }

    /// A packet of the repair stream that is padding only.
    fn write_padding(&mut self, index: usize, size: usize, now: Instant) -> bool {
        let Some(last) = self.streams[index].history.newest() else {
            return false;
        };
        let len = size.saturating_sub(HEADER_ROOM).clamp(1, MAX_PADDING);
        let repair = Repair {
            timestamp: last.timestamp,
            marker: false,
            payload_type: last.rtx_pt,
            padding: true,
            dependency: None,
        };
        self.write_repair(index, &repair, len, now, PacketKind::Padding, pad)
    }

    fn write_repair(
        &mut self,
        index: usize,
        repair: &Repair<'_>,
        len: usize,
        now: Instant,
        kind: PacketKind,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let stream = &mut self.streams[index];
        let transport_seq = *self.transport_seq;
        let number = TransportSequence(transport_seq as u16).to_bytes();
        let id = stream.line.extensions.transport_cc;
        let dependency = repair.dependency;
        let mut list = [(0u8, &[][..]); 2];
        let extensions = listed(
            [
                dependency.map(|d| (d.id, d.value)),
                id.map(|id| (id, &number[..])),
            ],
            &mut list,
        );
        let repair_seq = stream.rtx_seq;
        let header = HeaderWriter {
            marker: repair.marker,
            payload_type: repair.payload_type,
            sequence: repair_seq as u16,
            timestamp: repair.timestamp,
            ssrc: stream.line.rtx_ssrc,
            csrcs: &[],
            extensions,
        };
        let sealer = self.sealer;
        let overhead = sealer.profile().rtp_overhead();
        let room = HEADER_ROOM + dependency.map_or(0, Dependency::room) + len + overhead;
        let written = self
            .out
            .push_with(self.path, Lane::Control, room, |buffer| {
                let start = header.write(buffer).ok()?;
                if let Some(dependency) = dependency {
                    dependency.renumber(&header, buffer);
                }
                if repair.padding {
                    buffer[0] |= PADDING_BIT;
                }
                fill(&mut buffer[start..start + len]);
                let end = start + len + overhead;
                Some(sealer.seal_rtp(&mut buffer[..end], start, header.ssrc, repair_seq))
            });
        let Some(bytes) = written else {
            return false;
        };
        stream.rtx_seq += 1;
        *self.transport_seq += u64::from(id.is_some());
        let number = id.map(|_| transport_seq);
        self.quality.on_sent(now, number, bytes, false, kind);
        true
    }
}

/// Make all of `room`, at most 255 bytes, padding (RFC 3550 §5.1).
fn pad(room: &mut [u8]) {
    room.fill(0);
    if let Some(last) = room.len().checked_sub(1) {
        room[last] = room.len() as u8;
    }
}

/// Values of the header extensions of one packet.
struct Extensions {
    ids: ExtensionIds,
    transport: [u8; 2],
    level: Option<[u8; 1]>,
    capture: Option<([u8; 16], usize)>,
}

impl Extensions {
    /// With the capture time, if there is a clock to tell it by.
    fn of(ids: ExtensionIds, transport: u64, out: &Outgoing<'_>, clock: Option<WallClock>) -> Self {
        let capture = clock.map(|clock| {
            let capture = Ntp::from_unix_micros(clock.unix_micros(out.capture));
            AbsCaptureTime {
                capture,
                clock_offset: Some(0),
            }
            .to_bytes()
        });
        let level = out.packet.audio_level.map(|(level, voice)| {
            AudioLevel {
                voice,
                below_overload: level.unsigned_abs(),
            }
            .to_bytes()
        });
        let transport = TransportSequence(transport as u16).to_bytes();
        Self {
            ids,
            transport,
            level,
            capture,
        }
    }

    fn list<'a>(
        &'a self,
        dependency: Option<Dependency<'a>>,
        list: &'a mut [(u8, &'a [u8]); 4],
    ) -> &'a [(u8, &'a [u8])] {
        let level = self.level.as_ref().map(|l| &l[..]);
        let capture = self.capture.as_ref().map(|(bytes, len)| &bytes[..*len]);
        listed(
            [
                dependency.map(|d| (d.id, d.value)),
                self.ids.transport_cc.map(|id| (id, &self.transport[..])),
                self.ids.audio_level.zip(level),
                self.ids.capture_time.zip(capture),
            ],
            list,
        )
    }
}

/// Those of some extensions that are there, in their order.
fn listed<'a, const N: usize>(
    extensions: [Option<(u8, &'a [u8])>; N],
    list: &'a mut [(u8, &'a [u8]); N],
) -> &'a [(u8, &'a [u8])] {
    let mut count = 0;
    for extension in extensions.into_iter().flatten() {
        list[count] = extension;
        count += 1;
    }
    &list[..count]
}

/// What a packet of a repair stream says in its header.
struct Repair<'a> {
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    /// What it holds is padding, not a packet.
    padding: bool,
    dependency: Option<Dependency<'a>>,
}

/// The dependency descriptor of a packet, with its frame number for this viewer. It is the first
/// extension of its header.
#[derive(Clone, Copy)]
struct Dependency<'a> {
    id: u8,
    value: &'a [u8],
    number: u16,
}

impl<'a> Dependency<'a> {
    fn of(ids: ExtensionIds, packet: &'a Packet, patch: Option<Patch>) -> Option<Self> {
        Some(Self {
            id: ids.dependency?,
            value: packet.dependency.as_deref()?,
            number: patch?.frame_number()?,
        })
    }

    /// Bytes beyond the room of a usual header: the value, and a byte more for each extension.
    fn room(self) -> usize {
        self.value.len() + 8
    }

    fn renumber(self, header: &HeaderWriter<'_>, buffer: &mut [u8]) {
        let at = header.first_value_at() + FRAME_NUMBER.start;
        buffer[at..at + 2].copy_from_slice(&self.number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(profile_level_id: u32, packetization_mode: u8) -> Format {
        Format {
            profile_level_id,
            packetization_mode,
            ..Format::plain(Codec::H264)
        }
    }

    #[test]
    fn stream_is_sent_as_the_payload_type_of_its_profile() {
        let offered = [
            h264(0x0042_001f, 1),
            h264(0x0042_e01f, 1),
            h264(0x0064_001f, 1),
        ];
        let best = |stream| offered.iter().max_by_key(|o| fit(**o, stream)).copied();
        assert_eq!(best(h264(0x0042_c029, 1)), Some(offered[1]));
        assert_eq!(best(h264(0x0064_0028, 1)), Some(offered[2]));
        assert_eq!(best(h264(0x0042_0028, 1)), Some(offered[0]));
    }

    #[test]
    fn other_codec_does_not_fit() {
        assert_eq!(
            fit(Format::plain(Codec::Vp8), Format::plain(Codec::Vp9)),
            None
        );
    }
}
