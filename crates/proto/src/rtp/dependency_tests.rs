use super::*;
use proptest::prelude::*;

/// Writes bits as the format packs them; white space is for the reader.
fn bytes(bits: &str) -> Vec<u8> {
    let bits: Vec<u8> = bits.bytes().filter(u8::is_ascii_digit).collect();
    bits.chunks(8)
        .map(|chunk| {
            let bit = |at| chunk.get(at) == Some(&b'1');
            (0..8).fold(0, |byte, at| byte << 1 | u8::from(bit(at)))
        })
        .collect()
}

/// Two temporal layers: key, T0 and T1 templates from id 5 on; 640x360.
const L1T2: &str = "1 0 000101 0000000000000111  1 0 0 0 0 \
    000101 00001 \
    00 01 11 \
    10 10  10 10  00 01 \
    0  1 0001 0  1 0000 0 \
    10 \
    0000 0010 0001 \
    1 0000001001111111 0000000101100111";

/// Two spatial layers, the upper one on the lower one in keyframes only: ids from 0.
const L2T1_KEY: &str = "1 1 000000 0000000000000000  1 0 0 0 0 \
    000000 00001 \
    00 10 00 11 \
    10 11  10 00  00 10  00 11 \
    0  1 0001 0  1 0000 0  1 0001 0 \
    11 0 1 \
    0000 0000  0010 0001  0001 0001  0001 0010 \
    0";

fn structure(bits: &str) -> Structure {
    let value = bytes(bits);
    let descriptor = Descriptor::parse(&value, None).expect("a valid vector");
    descriptor.structure.expect("it has a structure")
}

#[test]
fn structure_tells_decode_targets_and_resolution() {
    let descriptor = Descriptor::parse(&bytes(L1T2), None).unwrap();
    assert!(descriptor.start_of_frame && !descriptor.end_of_frame);
    assert_eq!(descriptor.frame_number, 7);
    assert_eq!(descriptor.active_targets, Some(0b11));
    let structure = descriptor.structure.unwrap();
    let target = |temporal| DecodeTarget {
        spatial: 0,
        temporal,
        chain: Some(0),
    };
    // The first target has frames of T0 only.
    assert_eq!(structure.targets(), [target(0), target(1)]);
    assert_eq!(structure.resolutions, [(640, 360)]);
    assert_eq!(structure.spatial_layers(), 1);
}

#[test]
fn later_packets_name_a_template_of_the_structure() {
    let structure = structure(L1T2);
    // Template 7: T1.
    let value = bytes("0 1 000111 1111111111111111");
    let descriptor = Descriptor::parse(&value, Some(&structure)).unwrap();
    assert!(descriptor.end_of_frame && !descriptor.start_of_frame);
    assert_eq!(descriptor.frame_number, u16::MAX);
    assert_eq!((descriptor.spatial, descriptor.temporal), (0, 1));
    assert_eq!(descriptor.indications.get(0), Indication::NotPresent);
    assert_eq!(descriptor.indications.get(1), Indication::Discardable);
    assert_eq!(descriptor.indications.get(99), Indication::NotPresent);
    assert_eq!(descriptor.chain_difference(0), 1);
    assert_eq!(descriptor.active_targets, None);
}

#[test]
fn frame_may_differ_from_its_template() {
    let structure = structure(L1T2);
    let value = bytes(
        "0 1 000110 0000000000001000  0 1 1 1 1  01  11 10  01 0010 10 00000101 00  00001001",
    );
    let descriptor = Descriptor::parse(&value, Some(&structure)).unwrap();
    assert_eq!(descriptor.active_targets, Some(1));
    assert_eq!(descriptor.indications.get(0), Indication::Required);
    assert_eq!(descriptor.indications.get(1), Indication::Switch);
    assert_eq!(descriptor.chain_difference(0), 9);
}

#[test]
fn spatial_layers_of_a_key_mode_have_chains_of_their_own() {
    let structure = structure(L2T1_KEY);
    let target = |spatial, chain| DecodeTarget {
        spatial,
        temporal: 0,
        chain: Some(chain),
    };
    assert_eq!(structure.targets(), [target(0, 0), target(1, 1)]);
    assert_eq!(structure.spatial_layers(), 2);
    let lower = Descriptor::parse(&[0xc1, 0, 2], Some(&structure)).unwrap();
    assert_eq!(lower.indications.get(1), Indication::NotPresent);
}

#[test]
fn template_ids_wrap() {
    let wrapped = L1T2.replace("000101", "111111");
    let structure = structure(&wrapped);
    let value = bytes("1 1 000001 0000000000001000");
    let descriptor = Descriptor::parse(&value, Some(&structure)).unwrap();
    assert_eq!(descriptor.temporal, 1);
}

#[test]
fn what_says_nothing_is_refused() {
    let structure = structure(L1T2);
    let parse = |value: &[u8]| Descriptor::parse(value, Some(&structure)).err();
    assert_eq!(parse(&[0x85, 0]), Some(Truncated));
    assert_eq!(
        parse(&[0x88, 0, 1]),
        Some(DependencyError::UnknownTemplate { id: 8 })
    );
    assert_eq!(
        Descriptor::parse(&[0x85, 0, 1], None).err(),
        Some(DependencyError::NoStructure)
    );
    let whole = bytes(L1T2);
    for len in 0..whole.len() {
        assert!(Descriptor::parse(&whole[..len], None).is_err(), "{len}");
    }
}

#[test]
fn too_many_templates_and_layers_are_refused() {
    let head = "1 0 000101 0000000000000111  1 0 0 0 0  000101 00001 ";
    let many = |layer: &str| bytes(&(head.to_owned() + &layer.repeat(70)));
    let too_many = |what| Some(DependencyError::TooMany { what });
    assert_eq!(
        Descriptor::parse(&many("00"), None).err(),
        too_many("templates")
    );
    assert_eq!(
        Descriptor::parse(&many("01"), None).err(),
        too_many("layers")
    );
    assert_eq!(
        Descriptor::parse(&many("10"), None).err(),
        too_many("layers")
    );
}

#[test]
fn non_symmetric_numbers_use_the_shorter_code_first() {
    // ns(5): 0 1 2 in two bits, 3 4 in three.
    let read = |bits: &str| non_symmetric(&mut Bits::new(&bytes(bits)), 5);
    let codes = ["00", "01", "10", "110", "111"].map(read);
    assert_eq!(codes, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(non_symmetric(&mut Bits::new(&[]), 1), Some(0));
}

proptest! {
    #[test]
    fn arbitrary_values_never_panic(value in prop::collection::vec(any::<u8>(), 0..260)) {
        let structure = structure(L2T1_KEY);
        let _ = Descriptor::parse(&value, Some(&structure));
        if let Ok(descriptor) = Descriptor::parse(&value, None) {
            let structure = descriptor.structure.expect("none was known before");
            prop_assert!(structure.targets().len() <= MAX_TARGETS);
            prop_assert!(structure.spatial_layers() <= 4);
        }
    }

    /// Noise behind a valid beginning gets further in.
    #[test]
    fn noise_after_a_valid_start_never_panics(
        at in 0_usize..14,
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut value = bytes(L1T2);
        value.truncate(at);
        value.extend(tail);
        let _ = Descriptor::parse(&value, None);
    }
}
