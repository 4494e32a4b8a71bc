//! What must hold for any bytes a stranger sends: one function a parser.
//!
//! Each is called by a short seeded run in `cargo test` (see `tests/short.rs`), on stable Rust and
//! from the corpus beside this crate, and by cargo-fuzz (`fuzz_targets/`), which goes on from the
//! same corpus for as long as it is left running. A function returns when all is well and panics
//! when a promise is broken.

mod ingest;
mod media;
mod session;

use std::collections::HashSet;

pub use ingest::{amf, flv, handshake, rtmp, srt, ts};
pub use media::{config, frames};
pub use session::session;
use stagecast_proto::codec::vp8::Descriptor;
use stagecast_proto::codec::{Codec, Kind, inspect};
use stagecast_proto::hls::request::{Path, Query, percent_decode};
use stagecast_proto::rtcp::{Compound, Packet};
use stagecast_proto::rtp::dependency::{Descriptor as Dependency, MAX_TARGETS};
use stagecast_proto::rtp::ext::{
    AbsCaptureTime, AbsSendTime, AudioLevel, PlayoutDelay, TransportSequence,
};
use stagecast_proto::rtp::{Header, HeaderWriter};
use stagecast_proto::sdp::Session;
use stagecast_proto::sdp::fragment::Fragment;
use stagecast_proto::stun::{Datagram, binding_username, classify, is_stun};

/// A parser's name, as its corpus folder is called, and what must hold for it.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("sdp", sdp),
    ("fragment", fragment),
    ("stun", stun),
    ("rtp", rtp),
    ("dependency", dependency),
    ("payload", payload),
    ("rtcp", rtcp),
    ("session", session),
    ("hls", hls),
    ("amf", amf),
    ("flv", flv),
    ("handshake", handshake),
    ("rtmp", rtmp),
    ("ts", ts),
    ("srt", srt),
    ("config", config),
    ("frames", frames),
];

/// Offers and answers: read or refused with words, and small whatever was sent.
pub fn sdp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Session::parse(&text) {
        Ok(session) => {
            for kind in [Kind::Audio, Kind::Video] {
                let codecs = session.codecs(kind);
                let distinct: HashSet<_> = codecs.iter().collect();
                assert_eq!(distinct.len(), codecs.len(), "each codec once");
                assert!(codecs.iter().all(|codec| codec.kind() == kind));
            }
            for media in &session.media {
                let kept: usize = media.candidates.iter().map(String::len).sum();
                assert!(kept <= text.len(), "nothing is invented");
                for payload in &media.payloads {
                    assert!(payload.pt < 128);
                    let _ = payload.fmtp_value("profile-level-id");
                }
            }
        }
        Err(error) => {
            assert_eq!(error.code(), "sdp.invalid");
            assert!(!error.to_string().is_empty() && error.to_string().len() < 1000);
        }
    }
}

/// Trickle fragments: what was read is written so that it reads the same.
pub fn fragment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(fragment) = Fragment::parse(&text) {
        let again = Fragment::parse(&fragment.to_sdp(Kind::Audio, &["0", "1"]));
        assert_eq!(again.as_ref(), Ok(&fragment), "round trip");
    }
}

/// Datagrams: sorted by their first bytes, and a user name that stands in them.
pub fn stun(data: &[u8]) {
    let kind = classify(data);
    assert!(kind != Datagram::Stun || is_stun(data));
    if let Some((ours, theirs)) = binding_username(data) {
        assert_eq!(kind, Datagram::Stun);
        let stands = |part: &str| {
            data.windows(part.len())
                .any(|bytes| bytes == part.as_bytes())
        };
        assert!(stands(ours) && stands(theirs));
    }
}

/// Dependency descriptors: what is read stays within the limits of the format, with and without a
/// structure from before.
pub fn dependency(data: &[u8]) {
    let Ok(first) = Dependency::parse(data, None) else {
        return;
    };
    let structure = first.structure.expect("none was known before");
    let targets = structure.targets();
    assert!(!targets.is_empty() && targets.len() <= MAX_TARGETS);
    assert!(structure.resolutions.len() <= usize::from(structure.spatial_layers()));
    for target in targets {
        assert!(target.spatial < structure.spatial_layers() && target.temporal < 8);
        assert!(
            target
                .chain
                .is_none_or(|chain| usize::from(chain) < MAX_TARGETS)
        );
    }
    for len in 0..data.len().min(16) {
        if let Ok(frame) = Dependency::parse(&data[..len], Some(&structure)) {
            assert!(frame.spatial < 4 && frame.temporal < 8);
        }
    }
}

/// RTP: the parts of a packet lie in it, and its header written again reads the same.
pub fn rtp(data: &[u8]) {
    let Ok(header) = Header::parse(data) else {
        return;
    };
    let parts = header.header_len() + header.payload.len() + usize::from(header.padding);
    assert_eq!(parts, data.len());
    let extensions: Vec<_> = header.extensions().collect();
    for (id, value) in &extensions {
        assert!(*id > 0 && value.len() <= 255);
        let _ = AbsSendTime::parse(value);
        let _ = TransportSequence::parse(value);
        let _ = AbsCaptureTime::parse(value);
        let _ = PlayoutDelay::parse(value);
        let _ = AudioLevel::parse(value);
    }
    let csrcs: Vec<_> = header.csrcs().collect();
    let writer = HeaderWriter {
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
        csrcs: &csrcs,
        extensions: &extensions,
    };
    let mut out = vec![0; data.len() + 64];
    // What no form can carry is refused.
    let Ok(len) = writer.write(&mut out) else {
        return;
    };
    let again = Header::parse(&out[..len]).expect("what we write we read");
    assert_eq!(again.sequence, header.sequence);
    assert_eq!(again.timestamp, header.timestamp);
    assert_eq!(again.ssrc, header.ssrc);
    assert_eq!(
        (again.marker, again.payload_type),
        (header.marker, header.payload_type)
    );
    assert!(again.csrcs().eq(csrcs.iter().copied()));
    assert!(again.extensions().eq(extensions.iter().copied()));
}

/// Payloads: the first byte chooses the codec; a VP8 descriptor rewritten reads as it was written.
pub fn payload(data: &[u8]) {
    let Some((&choice, payload)) = data.split_first() else {
        return;
    };
    let codec = Codec::ALL[usize::from(choice) % Codec::ALL.len()];
    let info = inspect(codec, payload);
    assert_eq!(inspect(codec, payload), info, "the same bytes say the same");
    if let Some((width, height)) = info.resolution {
        assert!(width > 0 && height > 0);
    }
    if codec == Codec::Vp8
        && let Some(descriptor) = Descriptor::parse(payload)
    {
        assert!(descriptor.header_len <= payload.len());
        let mut rewritten = payload.to_vec();
        descriptor.rewrite(&mut rewritten, 0x1234, 0x56);
        let again = Descriptor::parse(&rewritten).expect("a rewritten descriptor is one");
        assert_eq!(again.header_len, descriptor.header_len);
        assert_eq!(
            rewritten[again.header_len..],
            payload[descriptor.header_len..]
        );
        if descriptor.picture_id_bits == 15 {
            assert_eq!(again.picture_id, Some(0x1234));
        }
    }
}

/// RTCP: every list of every packet ends, within what its datagram can hold.
pub fn rtcp(data: &[u8]) {
    for packet in Compound::new(data).flatten() {
        match packet {
            Packet::SenderReport(report) => assert!(report.reports().count() <= 31),
            Packet::ReceiverReport(report) => assert!(report.reports().count() <= 31),
            Packet::Sdes(sdes) => assert!(sdes.chunks().count() <= data.len()),
            Packet::Bye(bye) => assert!(bye.ssrcs().count() <= 31),
            Packet::Nack(nack) => assert!(nack.lost().count() <= 17 * data.len()),
            Packet::Fir(fir) => assert!(fir.entries().count() * 8 < data.len()),
            Packet::Twcc(twcc) => {
                assert_eq!(twcc.packets().count(), usize::from(twcc.status_count));
            }
            Packet::Remb(remb) => assert!(remb.ssrcs().count() <= 255),
            Packet::Xr(xr) => assert!(xr.blocks().count() <= data.len()),
            Packet::Pli(_) | Packet::Unknown { .. } => {}
        }
    }
}

/// HLS addresses: what is kept of a query is safe to write into a playlist and reads the same again.
pub fn hls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    if let Some(path) = Path::parse(path) {
        assert!(!path.playback.is_empty() && path.playback.len() <= 300);
        assert!(percent_decode(path.playback).len() <= 3 * path.playback.len());
    }
    let Ok(read) = Query::parse(query) else {
        return;
    };
    assert!(read.rest.len() <= query.len());
    assert!(!read.rest.contains(['"', '\n', '\r', ' ', '<']) && read.rest.is_ascii());
    assert!(!read.rest.split('&').any(|pair| pair.starts_with("_HLS_")));
    assert!(read.parameters().len() <= 32);
    let child = read.rest_with_session("1");
    let again = Query::parse(&child).expect("what was kept is a query");
    assert_eq!((again.rest, again.msn, again.part), (read.rest, None, None));
}
