use super::*;
use stagecast_proto::codec::{Codec, inspect};

fn level(spatial: u8, temporal: u8) -> Level {
    Level { spatial, temporal }
}

/// A VP9 packet of a spatial layer: flags and layer indices.
fn vp9(scaling: &mut Scaling, flags: u8, indices: u8, in_keyframe: bool) -> Scale {
    let info = inspect(Codec::Vp9, &[0x20 | flags, indices, 0, 0x86]);
    scaling.of_payload(&info, in_keyframe)
}

const P: u8 = 0x40;
const BE: u8 = 0x0c;

#[test]
fn vp9_with_inter_layer_prediction_needs_all_lower_layers() {
    let mut scaling = Scaling::default();
    for (spatial, indices) in [0x00, 0x03, 0x05].into_iter().enumerate() {
        let scale = vp9(&mut scaling, BE, indices, true);
        assert_eq!(usize::from(scale.level.spatial), spatial);
    }
    vp9(&mut scaling, P | BE, 0x03, false);
    let lower = vp9(&mut scaling, P | BE, 0x00, false);
    assert!(lower.needed.contains(level(0, 0)) && lower.needed.contains(level(2, 0)));
    assert!(!lower.separate);
    let upper = vp9(&mut scaling, P | BE, 0x05 | 2 << 5, false);
    assert!(!upper.needed.contains(level(1, 3)) && !upper.needed.contains(level(2, 1)));
    assert!(upper.needed.contains(level(2, 2)) && upper.needed.contains(Level::TOP));
}

#[test]
fn vp9_key_mode_needs_lower_layers_in_keyframes_only() {
    let mut scaling = Scaling::default();
    for indices in [0x00, 0x03, 0x05] {
        let key = vp9(&mut scaling, BE, indices, true);
        assert!(key.needed.contains(Level::TOP));
    }
    // Not predicted from the lower layer.
    vp9(&mut scaling, P | BE, 0x02, false);
    let lower = vp9(&mut scaling, P | BE, 0x00, false);
    assert!(lower.separate);
    assert!(lower.needed.contains(level(0, 0)) && !lower.needed.contains(level(1, 0)));
    let top = vp9(&mut scaling, P | BE, 0x04, false);
    assert!(top.needed.contains(level(2, 0)) && top.needed.contains(Level::TOP));
}

#[test]
fn descriptor_that_cannot_be_read_leaves_nothing_out() {
    let mut scaling = Scaling::default();
    assert_eq!(scaling.of_descriptor(&[]), Scale::NONE);
    assert_eq!(
        scaling.of_descriptor(&[0xc1, 0, 1]),
        Scale::NONE,
        "no structure"
    );
}

/// Two spatial layers of a `_KEY` mode: templates 0 to 3 are key S0, delta S0, key S1, delta S1.
#[test]
fn inactive_decode_targets_fall_to_the_next_best() {
    let bits = "1100 0000 0000 0000 0000 0000 10000 000000 00001 00 10 00 11 10 11 10 00 00 10 \
        00 11 0 10001 0 10000 0 10001 0 11 0 1 0000 0000 0010 0001 0001 0001 0001 0010 0";
    let bits: Vec<u8> = bits.bytes().filter(u8::is_ascii_digit).collect();
    let structure: Vec<u8> = bits
        .chunks(8)
        .map(|chunk| {
            let bit = |at| chunk.get(at) == Some(&b'1');
            (0..8).fold(0, |byte, at| byte << 1 | u8::from(bit(at)))
        })
        .collect();
    let mut scaling = Scaling::default();
    let key = scaling.of_descriptor(&structure);
    assert!(key.needed.contains(level(0, 0)) && key.needed.contains(Level::TOP));
    assert!(key.separate && key.switch.contains(level(0, 0)));
    let lower = scaling.of_descriptor(&[0xc1, 0, 1]);
    assert!(lower.needed.contains(level(0, 3)) && !lower.needed.contains(Level::TOP));
    let upper = scaling.of_descriptor(&[0xc3, 0, 2]);
    assert!(!upper.needed.contains(level(0, 3)) && upper.needed.contains(Level::TOP));
    // Only the first target is produced from now on.
    let lower = scaling.of_descriptor(&[0xc1, 0, 3, 0b0100_0010]);
    assert!(lower.needed.contains(Level::TOP));
    assert!(!lower.separate);
}
