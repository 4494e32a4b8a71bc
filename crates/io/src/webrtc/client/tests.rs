//! The client against a bare ICE-lite str0m peer on loopback, so that its own
//! faults show without a server of ours in between.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::media::{Direction, Frequency, KeyframeRequestKind, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// What the peer saw: media kind and payload of a frame.
type Seen = (MediaKind, Vec<u8>);

/// An ICE-lite peer with one UDP socket and a thread; it records frames it gets and, when
/// it may send, sends a numbered VP8 keyframe every 10 ms.
struct Peer {
    answer: String,
    seen: Receiver<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    fn answer(offer: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let local = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder().set_ice_lite(true).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let offer = SdpOffer::from_sdp_string(offer).unwrap();
        let answer = rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
        let (tell, seen) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || run(rtc, &socket, local, &tell, &stopped));
        Self {
            answer,
            seen,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn run(
    mut rtc: Rtc,
    socket: &UdpSocket,
    local: SocketAddr,
    tell: &Sender<Seen>,
    stop: &AtomicBool,
) {
    let mut media: Vec<(Mid, MediaKind)> = Vec::new();
    let (mut number, mut next) = (0_u64, Instant::now());
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) && rtc.is_alive() {
        loop {
            match rtc.poll_output().unwrap() {
                Output::Timeout(_) => break,
                Output::Transmit(t) => drop(socket.send_to(&t.contents, t.destination)),
                Output::Event(Event::MediaAdded(added)) => media.push((added.mid, added.kind)),
                Output::Event(Event::MediaData(data)) => {
                    let kind = media.iter().find(|m| m.0 == data.mid).unwrap().1;
                    let _ = tell.send((kind, data.data.to_vec()));
                    let mut writer = rtc.writer(data.mid).unwrap();
                    let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
                }
                Output::Event(_) => {}
            }
        }
        let now = Instant::now();
        let sends = |mid| {
            rtc.media(mid)
                .is_some_and(|m| m.direction() == Direction::SendOnly)
        };
        let video = media.iter().find(|m| m.1 == MediaKind::Video && sends(m.0));
        if let Some((mid, _)) = video.copied()
            && rtc.is_connected()
            && now >= next
        {
            next = now + Duration::from_millis(10);
            number += 1;
            let writer = rtc.writer(mid).unwrap();
            let pt = writer.payload_params().next().unwrap().pt();
            let time = MediaTime::new(number * 900, Frequency::NINETY_KHZ);
            writer.write(pt, now, time, vp8_keyframe(number)).unwrap();
            continue;
        }
        match socket.recv_from(&mut buffer) {
            Ok((n, source)) => {
                let input = Receive::new(Protocol::Udp, source, local, &buffer[..n]).unwrap();
                rtc.handle_input(Input::Receive(Instant::now(), input))
                    .unwrap();
            }
            Err(_) => rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
        }
    }
}

/// A VP8 frame header that says keyframe, then bytes that make it span several packets.
fn vp8_keyframe(number: u64) -> Vec<u8> {
    let mut frame = vec![0x10, 2, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    frame.extend((0..3000_u64).map(|i| (i * 31 + number * 7) as u8));
    frame
}

fn config(json: &str) -> Config {
    serde_json::from_str(json).unwrap()
}

fn connected(json: &str, pool: &Arc<Pool>) -> (Client, Peer) {
    let client = Client::new(config(json), pool.clone(), None).unwrap();
    let peer = Peer::answer(client.offer());
    client.accept_answer(&peer.answer).unwrap();
    assert!(
        client.wait_connected(PATIENCE).unwrap(),
        "{:?}",
        client.stats()
    );
    (client, peer)
}

#[test]
fn published_frames_arrive_whole_and_keyframe_requests_come_back() {
    let pool = Pool::new().unwrap();
    let (client, peer) = connected(r#"{"role":"publish","codecs":["vp8"]}"#, &pool);
    let deadline = Instant::now() + PATIENCE;
    let mut pts = 0;
    loop {
        pts += 900;
        client
            .send_frame(Kind::Video, vp8_keyframe(1), pts)
            .unwrap();
        client
            .send_frame(Kind::Audio, vec![0xfc, 1, 2, 3], pts)
            .unwrap();
        thread::sleep(Duration::from_millis(10));
        if client.take_keyframe_request() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "no keyframe request: {:?}",
            client.stats()
        );
    }
    let seen: Vec<Seen> = peer.seen.try_iter().collect();
    assert!(seen.contains(&(MediaKind::Video, vp8_keyframe(1))));
    assert!(seen.contains(&(MediaKind::Audio, vec![0xfc, 1, 2, 3])));
}

#[test]
fn a_watcher_gets_frames_in_order_with_figures() {
    let pool = Pool::new().unwrap();
    let (client, _peer) = connected(r#"{"role":"watch","codecs":["vp8"]}"#, &pool);
    for expected in 1..=20 {
        let frame = client.next_frame(PATIENCE).unwrap().expect("frames flow");
        assert_eq!(frame.data[..], vp8_keyframe(expected));
        assert!(frame.keyframe && frame.contiguous);
        assert_eq!((frame.codec, frame.clock), ("vp8", 90_000));
    }
    let stats = client.stats().unwrap();
    assert_eq!(
        (stats.state, stats.dtls, stats.tracks.len()),
        ("connected", "connected", 1)
    );
    assert_eq!(stats.tracks[0].packets_lost, 0);
    assert!(stats.tracks[0].packets >= 60);
}

#[test]
fn a_packet_counter_counts_without_frames() {
    let pool = Pool::new().unwrap();
    let (client, _peer) = connected(r#"{"role":"watch","depth":"packets"}"#, &pool);
    let deadline = Instant::now() + PATIENCE;
    let track = loop {
        let stats = client.stats().unwrap();
        if let Some(track) = stats.tracks.into_iter().find(|t| t.frames >= 20) {
            break track;
        }
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    };
    assert!(track.packets >= 60 && track.packets_lost == 0, "{track:?}");
    assert!(track.first_keyframe_ms.is_some());
    assert!(client.next_frame(Duration::ZERO).unwrap().is_none());
}

#[test]
fn a_slow_reader_loses_its_oldest_frames_only() {
    let pool = Pool::new().unwrap();
    let (client, _peer) = connected(r#"{"role":"watch","codecs":["vp8"],"queue":3}"#, &pool);
    let deadline = Instant::now() + PATIENCE;
    while client
        .stats()
        .unwrap()
        .tracks
        .first()
        .is_none_or(|t| t.frames < 10)
    {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
    let first = client.next_frame(PATIENCE).unwrap().unwrap();
    assert!(first.rtp_time > 900 * 5, "{}", first.rtp_time);
    assert!(client.stats().unwrap().tracks[0].frames_dropped >= 5);
}

#[test]
fn the_end_is_told_and_the_last_figures_stay() {
    let pool = Pool::new().unwrap();
    let (client, _peer) = connected(r#"{"role":"watch"}"#, &pool);
    client.next_frame(PATIENCE).unwrap().unwrap();
    client.close(true);
    let ended = loop {
        if let Err(error) = client.next_frame(PATIENCE) {
            break error;
        }
    };
    assert_eq!(ended.code(), "client.closed");
    let deadline = Instant::now() + PATIENCE;
    while client.stats().is_none_or(|s| s.tracks.is_empty()) {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(client.state(), "closed");
}

#[test]
fn an_unusable_answer_is_refused() {
    let pool = Pool::new().unwrap();
    let client = Client::new(config(r#"{"role":"watch"}"#), pool, None).unwrap();
    let error = client.accept_answer("v=0\r\nnonsense").unwrap_err();
    assert_eq!(error.code(), "client.answer");
}

#[test]
fn a_client_of_nothing_is_refused() {
    let pool = Pool::new().unwrap();
    let nothing = config(r#"{"role":"watch","audio":false,"video":false}"#);
    let error = Client::new(nothing, pool, None).err().unwrap();
    assert_eq!(error.code(), "client.config");
}
