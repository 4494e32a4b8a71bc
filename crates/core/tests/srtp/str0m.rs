//! str0m opens what we seal, and we open what str0m seals.
//!
//! Two str0m peers connect over a network of virtual time. Their DTLS is
//! replaced by one that hands out keying material this test knows, so it can
//! speak as either peer. The network delivers STUN only; what the peers seal is
//! kept, and what this test seals is given to them instead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagecast_core::srtp::{Profile, contexts};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{CryptoError, from_feature_flags};
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::material;

const CLIENT: &str = "192.0.2.1:1000";
const SERVER: &str = "192.0.2.2:2000";
const SSRC: u32 = 42;

#[test]
fn str0m_opens_what_we_seal() {
    for dtls in DTLS {
        let mut pair = Pair::connect(dtls);
        let (mut sealer, _) = contexts(dtls.profile, &material(dtls.profile), false).unwrap();
        let mut report = sender_report();
        sealer.seal_rtcp(&mut report).unwrap();
        pair.give_server(&report);
        // Across a rollover of the sequence number.
        for index in 0xfffd..0x1_0003_u64 {
            let mut packet = vec![0x80, pair.payload_type];
            packet.extend((index as u16).to_be_bytes());
            packet.extend(9_u32.to_be_bytes());
            packet.extend(SSRC.to_be_bytes());
            packet.extend([index as u8; 33]);
            packet.resize(packet.len() + dtls.profile.rtp_overhead(), 0);
            sealer.seal_rtp(&mut packet, 12, SSRC, index);
            pair.give_server(&packet);
        }
        pair.run(Duration::from_millis(50));

        let got: Vec<_> = pair
            .server
            .received
            .iter()
            .map(|p| (p.seq_no.as_u16(), p.payload.to_vec()))
            .collect();
        let sent: Vec<_> = (0xfffd..0x1_0003_u64)
            .map(|i| (i as u16, vec![i as u8; 33]))
            .collect();
        assert_eq!(got, sent, "{dtls:?}");
        let told = pair
            .server
            .received
            .iter()
            .all(|packet| packet.last_sender_info.is_some());
        assert!(told, "{dtls:?}: the sender report was opened");
    }
}

#[test]
fn we_open_what_str0m_seals() {
    for dtls in DTLS {
        let mut pair = Pair::connect(dtls);
        let (_, mut opener) = contexts(dtls.profile, &material(dtls.profile), true).unwrap();
        for seq in 0xfffd..0x1_0003_u64 {
            pair.write(seq, &[seq as u8; 33]);
            pair.run(Duration::from_millis(20));
        }
        pair.run(Duration::from_secs(3));

        let (rtcp, rtp): (Vec<_>, Vec<_>) = std::mem::take(&mut pair.client.sealed)
            .into_iter()
            .partition(|packet| (192..224).contains(&packet[1]));
        let mut opened = Vec::new();
        for mut packet in rtp {
            let words = u16::from_be_bytes([packet[14], packet[15]]);
            let has_extension = packet[0] & 0x10 != 0;
            let header_len = if has_extension {
                16 + 4 * usize::from(words)
            } else {
                12
            };
            let rtp = opener.open_rtp(&mut packet, header_len).unwrap();
            opened.push((rtp.index, packet[rtp.payload].to_vec()));
        }
        let sent: Vec<_> = (0xfffd..0x1_0003_u64)
            .map(|i| (i, vec![i as u8; 33]))
            .collect();
        assert_eq!(opened, sent, "{dtls:?}");

        assert!(!rtcp.is_empty(), "{dtls:?}");
        for mut packet in rtcp {
            let compound = opener.open_rtcp(&mut packet).unwrap();
            assert_eq!(compound[1], 200, "a sender report comes first");
            assert_eq!(compound[4..8], SSRC.to_be_bytes());
        }
    }
}

/// A sender report without report blocks (RFC 3550 §6.4.1).
fn sender_report() -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(SSRC.to_be_bytes());
    report.extend([0xe0; 8]);
    report.extend(9_u32.to_be_bytes());
    report.extend([0; 8]);
    report
}

struct Pair {
    now: Instant,
    client: Peer,
    server: Peer,
    payload_type: u8,
}

struct Peer {
    rtc: Rtc,
    address: &'static str,
    stun: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
    received: Vec<RtpPacket>,
}

impl Pair {
    fn connect(dtls: &'static KnownDtls) -> Self {
        let now = Instant::now();
        let mut client = Peer::new(dtls, now, CLIENT, SERVER);
        let mut server = Peer::new(dtls, now, SERVER, CLIENT);
        let ids = [&mut client, &mut server].map(|p| p.rtc.direct_api().local_ice_credentials());
        let [client_id, server_id] = ids;
        client.start(server_id, true);
        server.start(client_id, false);
        client
            .rtc
            .direct_api()
            .declare_stream_tx(SSRC.into(), None, "v".into(), None);
        server
            .rtc
            .direct_api()
            .expect_stream_rx(SSRC.into(), None, "v".into(), None);
        let vp8 = client
            .rtc
            .codec_config()
            .find(|p| p.spec().codec == str0m::format::Codec::Vp8);
        let payload_type = *vp8.expect("VP8 is on by default").pt();
        let mut pair = Self {
            now,
            client,
            server,
            payload_type,
        };
        pair.run(Duration::from_secs(2));
        assert!(pair.client.rtc.is_connected() && pair.server.rtc.is_connected());
        pair
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(5);
            self.client.advance(self.now);
            self.server.advance(self.now);
            for packet in std::mem::take(&mut self.client.stun) {
                self.give_server(&packet);
            }
            for packet in std::mem::take(&mut self.server.stun) {
                self.client.receive(self.now, SERVER, &packet);
            }
        }
    }

    fn give_server(&mut self, packet: &[u8]) {
        self.server.receive(self.now, CLIENT, packet);
    }

    fn write(&mut self, seq: u64, payload: &[u8]) {
        let write = RtpWrite::new(self.payload_type.into(), seq.into(), 9, self.now, payload);
        let mut direct = self.client.rtc.direct_api();
        direct
            .stream_tx(&SSRC.into())
            .expect("it was declared")
            .write_rtp(write);
    }
}

impl Peer {
    fn new(
        dtls: &'static KnownDtls,
        now: Instant,
        address: &'static str,
        remote: &'static str,
    ) -> Self {
        let mut crypto = from_feature_flags();
        crypto.dtls_provider = dtls;
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_fingerprint_verification(false)
            .set_crypto_provider(Arc::new(crypto))
            .build(now);
        let candidate = |at: &str| Candidate::host(at.parse().unwrap(), Protocol::Udp).unwrap();
        rtc.add_local_candidate(candidate(address)).unwrap();
        rtc.add_remote_candidate(candidate(remote));
        Self {
            rtc,
            address,
            stun: Vec::new(),
            sealed: Vec::new(),
            received: Vec::new(),
        }
    }

    fn start(&mut self, remote: str0m::ice::IceCreds, is_client: bool) {
        let mut direct = self.rtc.direct_api();
        direct.set_remote_ice_credentials(remote);
        direct.set_ice_controlling(is_client);
        direct.start_dtls(is_client).unwrap();
        direct.declare_media("v".into(), MediaKind::Video);
    }

    fn receive(&mut self, now: Instant, source: &str, packet: &[u8]) {
        let receive = Receive {
            proto: Protocol::Udp,
            source: source.parse().unwrap(),
            destination: self.address.parse().unwrap(),
            contents: packet.try_into().unwrap(),
        };
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain();
    }

    fn advance(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(_) => return,
                Output::Transmit(transmit) => match transmit.contents[0] {
                    0..=3 => self.stun.push(transmit.contents.to_vec()),
                    128..=191 => self.sealed.push(transmit.contents.to_vec()),
                    _ => {}
                },
                Output::Event(Event::RtpPacket(packet)) => self.received.push(packet),
                Output::Event(_) => {}
            }
        }
    }
}

static DTLS: [&KnownDtls; 3] = [
    &KnownDtls {
        profile: Profile::AeadAes256Gcm,
        named: SrtpProfile::AEAD_AES_256_GCM,
    },
    &KnownDtls {
        profile: Profile::AeadAes128Gcm,
        named: SrtpProfile::AEAD_AES_128_GCM,
    },
    &KnownDtls {
        profile: Profile::Aes128CmSha1_80,
        named: SrtpProfile::AES128_CM_SHA1_80,
    },
];

/// DTLS whose handshake is over at once and gives [`material`].
#[derive(Debug)]
struct KnownDtls {
    profile: Profile,
    named: SrtpProfile,
}

impl DtlsProvider for KnownDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        _: &DtlsCert,
        now: Instant,
        _: DtlsVersion,
        _: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let material = KeyingMaterial::new(&material(self.profile));
        let keys = DtlsOutput::KeyingMaterial(material, self.named);
        let outputs = [DtlsOutput::Connected, keys].into();
        Ok(Box::new(KnownHandshake {
            outputs,
            now,
            active: false,
        }))
    }
}

#[derive(Debug)]
struct KnownHandshake {
    outputs: VecDeque<DtlsOutput<'static>>,
    now: Instant,
    active: bool,
}

impl DtlsInstance for KnownHandshake {
    fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    fn handle_packet(&mut self, _: &[u8]) -> Result<(), DtlsImplError> {
        Ok(())
    }

    fn poll_output<'a>(&mut self, _: &'a mut [u8]) -> DtlsOutput<'a> {
        let idle = DtlsOutput::Timeout(self.now + Duration::from_secs(3600));
        self.outputs.pop_front().unwrap_or(idle)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        Ok(data.len())
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        None
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        Ok(())
    }
}
