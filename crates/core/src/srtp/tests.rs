//! The standards' own packets, then what must be refused, then round trips.

use proptest::prelude::*;

use super::keys::{MasterKeys, SessionKeys, apply_key_stream, counter_mode};
use super::replay::MAX_STREAMS;
use super::*;

const HEADER: [u8; 12] = [0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 9, 0xca, 0xfe, 0xba, 0xbe];
const SSRC: u32 = 0xcafe_babe;

/// A receiver report and a PLI.
const COMPOUND: [u8; 20] = [
    0x80, 0xc9, 0, 1, 0xca, 0xfe, 0xba, 0xbe, 0x81, 0xce, 0, 2, 0xca, 0xfe, 0xba, 0xbe, 1, 2, 3, 4,
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// Keying material of `seed`: each byte differs from its neighbours.
fn material(profile: Profile, seed: u8) -> Vec<u8> {
    (0..profile.keying_material_len())
        .map(|i| (i as u8).wrapping_mul(37) ^ seed)
        .collect()
}

/// A server's sealer and its client's opener.
fn server_to_client(profile: Profile) -> (Sealer, Opener) {
    let (send, _) = split_keying_material(profile, &material(profile, 1), true).unwrap();
    let (_, receive) = split_keying_material(profile, &material(profile, 1), false).unwrap();
    (Sealer::new(send), Opener::new(receive))
}

fn opener(profile: Profile, seed: u8, is_server: bool) -> Opener {
    let (_, receive) = split_keying_material(profile, &material(profile, seed), is_server).unwrap();
    Opener::new(receive)
}

/// A packet with sequence number and rollover counter of `index`.
fn sealed_rtp(sealer: &Sealer, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = HEADER.to_vec();
    packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + sealer.profile().rtp_overhead(), 0);
    let total = sealer.seal_rtp(&mut packet, HEADER.len(), SSRC, index);
    assert_eq!(total, packet.len());
    packet
}

fn sealed_rtcp(sealer: &mut Sealer) -> Vec<u8> {
    let mut packet = COMPOUND.to_vec();
    sealer.seal_rtcp(&mut packet).unwrap();
    packet
}

mod vectors {
    use super::*;

    const QUID_PRO_QUO: &str = "517569642070726f2071756f";
    const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn session(profile: Profile, key: &str) -> SessionKeys {
        SessionKeys::from_vector(profile, &hex(key), &[], &hex(QUID_PRO_QUO))
    }

    #[test]
    fn aes_cm_key_stream_is_that_of_rfc_3711_b_2() {
        let key = counter_mode(&hex("2b7e151628aed2a6abf7158809cf4f3c"));
        let mut block = [0; 16];
        block.copy_from_slice(&hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"));
        let mut stream = vec![0; 0xff02 * 16];
        apply_key_stream(&key, block, &mut stream);
        let head = "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab\
                    41e95b3bb0a2e8dd477901e4fca894c0";
        let tail = "ec8cdf7398607cb0f2d21675ea9ea1e4 362b7c3c6773516318a077d7fc5073ae\
                    6a2cc3787889374fbeb4c81b17ba6c44";
        assert_eq!(stream[..48], hex(head));
        assert_eq!(stream[0xfeff * 16..][..48], hex(tail));
    }

    #[test]
    fn session_keys_are_those_of_rfc_3711_b_3() {
        let master = MasterKeys::new(
            Profile::Aes128CmSha1_80,
            &hex("e1f97a0d3e018be0d64fa32c06de4139"),
            &hex("0ec675ad498afeebb6960b3aabe6"),
        );
        let session = master.rtp();
        assert_eq!(session.key(), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(*session.salt::<14>(), *hex("30cbbc08863d8c85d49db34a9ae1"));
        let mut auth = [0; 94];
        master.fill(1, &mut auth);
        let expected = "cebe321f6ff7716b6fd4ab49af256a15 6d38baa48f0a0acf3c34e2359e6cdbce\
                        e049646c43d9327ad175578ef7227098 6371c10c9a369ac2f94a8c5fbcdddc25\
                        6d6e919a48b610ef17c2041e47403576 6b68642c59bbfc2f34db60dbdfb2";
        assert_eq!(auth[..], hex(expected));
        assert_eq!(session.auth(), &auth[..20]);
    }

    /// RFC 6188 §7.2: the key derivation with AES-256, as AES-256-GCM has it.
    #[test]
    fn session_keys_of_aes_256_are_those_of_rfc_6188() {
        let mut master = MasterKeys::new(
            Profile::AeadAes256Gcm,
            &hex("f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6"),
            &hex("3b04803de51ee7c96423ab5b78d2"),
        );
        let mut key = [0; 32];
        master.fill(0, &mut key);
        let expected = "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(key[..], hex(expected));
        let mut salt = [0; 14];
        master.fill(2, &mut salt);
        assert_eq!(salt[..], hex("fa31791685ca444a9e07c6c64e93"));
        master.profile = Profile::AeadAes128Gcm;
        assert_eq!(master.rtp().key().len(), 16);
    }

    /// The packets that libsrtp validates itself with, from the master key of RFC 3711 B.3.
    #[test]
    fn aes_cm_hmac_packets_are_those_of_libsrtp() {
        let master = MasterKeys::new(
            Profile::Aes128CmSha1_80,
            &hex("e1f97a0d3e018be0d64fa32c06de4139"),
            &hex("0ec675ad498afeebb6960b3aabe6"),
        );
        let mut sealer = Sealer::new(SendKeys(master));
        let mut rtp = hex("800f1234decafbadcafebabe");
        rtp.extend([0xab; 16]);
        rtp.extend([0; 10]);
        sealer.seal_rtp(&mut rtp, 12, SSRC, 0x1234);
        let expected = "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402\
                        b78d6acc99ea179b8dbb";
        assert_eq!(rtp, hex(expected));

        sealer.seal_rtcp(&mut COMPOUND.to_vec()).unwrap();
        let mut rtcp = hex("81c8000bcafebabe");
        rtcp.extend([0xab; 16]);
        sealer.seal_rtcp(&mut rtcp).unwrap();
        let expected = "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001\
                        993e08cd54d6c1230798";
        assert_eq!(rtcp, hex(expected));
    }

    fn check_rtp(profile: Profile, key: &str, cipher: &str) {
        let header = hex("8040f17b8041f8d35501a0b2");
        let plain = b"Gallia est omnis divisa in partes tres";
        let mut packet = [&header[..], plain, &[0; 16]].concat();
        let sealer = Sealer::from_session_keys(&session(profile, key), 0);
        sealer.seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b);
        assert_eq!(packet, [header, hex(cipher)].concat());

        let mut opener = Opener::from_session_keys(&session(profile, key));
        let opened = opener.open_rtp(&mut packet, 12).unwrap();
        assert_eq!(opened.index, 0xf17b);
        assert_eq!(packet[opened.payload], *plain);
    }

    #[test]
    fn gcm_rtp_packets_are_those_of_rfc_7714_16() {
        check_rtp(
            Profile::AeadAes128Gcm,
            KEY_128,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        );
        check_rtp(
            Profile::AeadAes256Gcm,
            KEY_256,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
    }

    const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

    fn check_rtcp(profile: Profile, key: &str, cipher: &str) {
        let plain = hex(RTCP);
        let mut packet = plain.clone();
        let mut sealer = Sealer::from_session_keys(&session(profile, key), 0x5d4);
        sealer.seal_rtcp(&mut packet).unwrap();
        assert_eq!(packet, [hex("81c8000d4d617273"), hex(cipher)].concat());

        let mut opener = Opener::from_session_keys(&session(profile, key));
        assert_eq!(opener.open_rtcp(&mut packet).unwrap(), plain);
    }

    #[test]
    fn gcm_rtcp_packets_are_those_of_rfc_7714_17() {
        check_rtcp(
            Profile::AeadAes128Gcm,
            KEY_128,
            "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b46\
             86303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        check_rtcp(
            Profile::AeadAes256Gcm,
            KEY_256,
            "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658\
             c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        );
    }

    /// RFC 7714 §17.3: a right tag does not help a packet that is not encrypted.
    #[test]
    fn rtcp_that_is_only_tagged_is_refused() {
        let mut packet = hex(RTCP);
        packet.extend(hex("841dd9683dd78ec92ae58790125f62b3000005d4"));
        let mut opener = Opener::from_session_keys(&session(Profile::AeadAes128Gcm, KEY_128));
        assert_eq!(opener.open_rtcp(&mut packet), Err(SrtpError::NotEncrypted));
    }
}

#[test]
fn keying_material_of_another_profile_is_refused() {
    let short = material(Profile::AeadAes128Gcm, 1);
    let error = split_keying_material(Profile::AeadAes256Gcm, &short, true).err();
    assert_eq!(error, Some(SrtpError::KeyingMaterial { got: 56, need: 88 }));
}

#[test]
fn truncated_packet_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = server_to_client(profile);
        let rtp = sealed_rtp(&sealer, 7, b"payload");
        let rtcp = sealed_rtcp(&mut sealer);
        for len in 0..rtp.len() {
            assert!(opener.open_rtp(&mut rtp[..len].to_vec(), 12).is_err());
        }
        for len in 0..rtcp.len() {
            assert!(opener.open_rtcp(&mut rtcp[..len].to_vec()).is_err());
        }
        assert!(opener.open_rtp(&mut rtp.clone(), 12).is_ok());
        assert!(opener.open_rtcp(&mut rtcp.clone()).is_ok());
    }
}

#[test]
fn packet_with_one_flipped_bit_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = server_to_client(profile);
        let rtp = sealed_rtp(&sealer, 7, b"payload");
        let rtcp = sealed_rtcp(&mut sealer);
        for bit in 0..rtp.len() * 8 {
            let mut forged = rtp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                opener.open_rtp(&mut forged, 12),
                Err(SrtpError::Authentication)
            );
        }
        for bit in 0..rtcp.len() * 8 {
            let mut forged = rtcp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                opener.open_rtcp(&mut forged).is_err(),
                "bit {bit} of {profile:?}"
            );
        }
        assert!(
            opener.open_rtp(&mut rtp.clone(), 12).is_ok(),
            "forgeries changed the state"
        );
        assert!(
            opener.open_rtcp(&mut rtcp.clone()).is_ok(),
            "forgeries changed the state"
        );
    }
}

#[test]
fn replayed_packet_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, mut opener) = server_to_client(profile);
        let rtp = sealed_rtp(&sealer, 7, b"payload");
        let rtcp = sealed_rtcp(&mut sealer);
        opener.open_rtp(&mut rtp.clone(), 12).unwrap();
        opener.open_rtcp(&mut rtcp.clone()).unwrap();
        assert_eq!(
            opener.open_rtp(&mut rtp.clone(), 12),
            Err(SrtpError::Replayed(7))
        );
        assert_eq!(
            opener.open_rtcp(&mut rtcp.clone()),
            Err(SrtpError::Replayed(0))
        );
    }
}

#[test]
fn packet_under_another_key_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, _) = server_to_client(profile);
        let mut opener = opener(profile, 2, false);
        let mut rtp = sealed_rtp(&sealer, 7, b"payload");
        assert_eq!(
            opener.open_rtp(&mut rtp, 12),
            Err(SrtpError::Authentication)
        );
        let mut rtcp = sealed_rtcp(&mut sealer);
        assert_eq!(opener.open_rtcp(&mut rtcp), Err(SrtpError::Authentication));
    }
}

#[test]
fn own_packet_sent_back_is_refused() {
    for profile in Profile::ALL {
        let (mut sealer, _) = server_to_client(profile);
        let mut opener = opener(profile, 1, true);
        let mut rtp = sealed_rtp(&sealer, 7, b"payload");
        assert_eq!(
            opener.open_rtp(&mut rtp, 12),
            Err(SrtpError::Authentication)
        );
        let mut rtcp = sealed_rtcp(&mut sealer);
        assert_eq!(opener.open_rtcp(&mut rtcp), Err(SrtpError::Authentication));
    }
}

#[test]
fn packet_of_another_rollover_is_refused() {
    for profile in Profile::ALL {
        let (sealer, mut opener) = server_to_client(profile);
        let mut packet = sealed_rtp(&sealer, 0x1_0007, b"payload");
        assert_eq!(
            opener.open_rtp(&mut packet, 12),
            Err(SrtpError::Authentication)
        );
    }
}

#[test]
fn rtcp_too_short_for_an_ssrc_is_not_sealed() {
    let (mut sealer, _) = server_to_client(Profile::AeadAes256Gcm);
    let mut packet = vec![0x80, 0xc9, 0, 0];
    assert_eq!(sealer.seal_rtcp(&mut packet), Err(SrtpError::Truncated(4)));
    assert_eq!(packet, [0x80, 0xc9, 0, 0]);
}

#[test]
fn rtcp_after_the_last_index_is_not_sealed() {
    let master = MasterKeys::new(Profile::AeadAes128Gcm, &[7; 16], &[8; 12]);
    let keys = master.rtcp();
    let mut sealer = Sealer::from_session_keys(&keys, 0x7fff_ffff);
    let mut opener = Opener::from_session_keys(&keys);
    let mut last = sealed_rtcp(&mut sealer);
    assert!(opener.open_rtcp(&mut last).is_ok());
    let mut packet = COMPOUND.to_vec();
    assert_eq!(
        sealer.seal_rtcp(&mut packet),
        Err(SrtpError::IndexExhausted)
    );
    assert_eq!(packet, COMPOUND);
}

#[test]
#[should_panic(expected = "room for the tag")]
fn rtp_without_room_for_the_tag_is_not_sealed() {
    let (sealer, _) = server_to_client(Profile::AeadAes256Gcm);
    sealer.seal_rtp(&mut [0; 27], 12, SSRC, 0);
}

#[test]
#[should_panic(expected = "index of 48 bits")]
fn rtp_after_the_last_index_is_not_sealed() {
    let (sealer, _) = server_to_client(Profile::AeadAes256Gcm);
    sealer.seal_rtp(&mut [0; 64], 12, SSRC, 1 << 48);
}

#[test]
fn ssrc_past_the_bound_is_refused() {
    let (mut sealer, mut opener) = server_to_client(Profile::AeadAes256Gcm);
    let mut from = |ssrc: u32| {
        let mut packet = COMPOUND.to_vec();
        packet[4..8].copy_from_slice(&ssrc.to_be_bytes());
        sealer.seal_rtcp(&mut packet).unwrap();
        opener.open_rtcp(&mut packet).map(drop)
    };
    let bound = MAX_STREAMS as u32;
    (0..bound).for_each(|ssrc| from(ssrc).unwrap());
    assert_eq!(from(bound), Err(SrtpError::TooManyStreams(MAX_STREAMS)));
    assert_eq!(from(0), Ok(()));
}

#[test]
fn each_side_opens_what_the_other_sealed() {
    for profile in Profile::ALL {
        let material = material(profile, 3);
        let server = split_keying_material(profile, &material, true).unwrap();
        let client = split_keying_material(profile, &material, false).unwrap();
        let mut sides = [
            (Sealer::new(server.0), Opener::new(client.1)),
            (Sealer::new(client.0), Opener::new(server.1)),
        ];
        for (sealer, opener) in &mut sides {
            let mut rtp = sealed_rtp(sealer, 7, b"payload");
            assert!(!rtp.windows(7).any(|part| part == b"payload"));
            let opened = opener.open_rtp(&mut rtp, 12).unwrap();
            assert_eq!(rtp[opened.payload], *b"payload");
            let mut rtcp = sealed_rtcp(sealer);
            assert_eq!(opener.open_rtcp(&mut rtcp).unwrap(), COMPOUND);
        }
    }
}

#[test]
fn late_packet_around_a_rollover_is_opened() {
    for profile in Profile::ALL {
        let (sealer, mut opener) = server_to_client(profile);
        for index in [0xfffe, 0x1_0001, 0xffff, 0x1_0000, 0x1_8001, 0x2_0000] {
            let mut packet = sealed_rtp(&sealer, index, b"payload");
            let opened = opener.open_rtp(&mut packet, 12).unwrap();
            assert_eq!(opened.index, index);
            assert_eq!(packet[opened.payload], *b"payload");
        }
    }
}

#[test]
fn empty_payload_is_sealed_and_opened() {
    for profile in Profile::ALL {
        let (sealer, mut opener) = server_to_client(profile);
        let mut packet = sealed_rtp(&sealer, 1, b"");
        assert_eq!(opener.open_rtp(&mut packet, 12).unwrap().payload, 12..12);
    }
}

#[test]
fn profile_ids_are_those_of_the_registry() {
    for profile in Profile::ALL {
        assert_eq!(Profile::from_id(profile.id()), Some(profile));
    }
    assert_eq!(Profile::from_id(0x0002), None);
}

#[test]
fn contexts_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Sealer>();
    is_send::<Opener>();
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_panic(
        profile in prop::sample::select(&Profile::ALL[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..96),
        header_len in prop_oneof![0..128_usize, any::<usize>()],
    ) {
        let (_, mut opener) = server_to_client(profile);
        prop_assert!(opener.open_rtp(&mut bytes.clone(), header_len).is_err());
        prop_assert!(opener.open_rtcp(&mut bytes.clone()).is_err());
    }

    #[test]
    fn what_is_sealed_opens_to_the_same(
        profile in prop::sample::select(&Profile::ALL[..]),
        payload in prop::collection::vec(any::<u8>(), 0..1500),
        body in prop::collection::vec(any::<u8>(), 0..300),
        words in 0..16_usize,
        seq: u16,
    ) {
        let (mut sealer, mut opener) = server_to_client(profile);
        let mut packet = HEADER.to_vec();
        packet[2..4].copy_from_slice(&seq.to_be_bytes());
        let header_len = 12 + 4 * words;
        packet.resize(header_len, 0x5a);
        packet.extend_from_slice(&payload);
        let plain = packet.clone();
        packet.resize(packet.len() + profile.rtp_overhead(), 0);
        sealer.seal_rtp(&mut packet, header_len, SSRC, seq.into());
        prop_assert_eq!(&packet[..header_len], &plain[..header_len]);
        let opened = opener.open_rtp(&mut packet, header_len).unwrap();
        prop_assert_eq!(&packet[opened.payload], &payload[..]);

        let compound = [&COMPOUND[..8], &body].concat();
        let mut packet = compound.clone();
        sealer.seal_rtcp(&mut packet).unwrap();
        prop_assert_eq!(packet.len(), compound.len() + profile.rtcp_overhead());
        prop_assert_eq!(&*opener.open_rtcp(&mut packet).unwrap(), &compound[..]);
    }
}
