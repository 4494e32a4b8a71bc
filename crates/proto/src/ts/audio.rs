//! Audio in PES packets: AAC frames behind ADTS headers, Opus packets behind control headers.

use crate::codec::config::aac::{Adts, AudioSpecificConfig};

/// The bits that begin an Opus control header.
const OPUS_PREFIX: u16 = 0x7fe0;
/// Table 1.18 of ISO/IEC 14496-3, for writing.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The frames of a PES packet with their headers' word; `rest` is the beginning of a frame that goes
/// on in the next packet.
#[derive(Debug)]
pub struct AdtsFrames<'a> {
    rest: &'a [u8],
}

impl<'a> AdtsFrames<'a> {
    /// Over the bytes of a PES packet, behind what the last one left.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// What is left when there are no more whole frames.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for AdtsFrames<'a> {
    type Item = (AudioSpecificConfig, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.rest.iter().position(|byte| *byte == 0xff);
            self.rest = &self.rest[at.unwrap_or(self.rest.len())..];
            let Some(adts) = Adts::parse(self.rest) else {
                if self.rest.len() < 7 {
                    return None;
                }
                // Not a header after all.
                self.rest = &self.rest[1..];
                continue;
            };
            let frame = self.rest.get(adts.header_len..adts.frame_len)?;
            self.rest = &self.rest[adts.frame_len..];
            return Some((adts.config, frame));
        }
    }
}

/// An ADTS header and its frame. `None` for what ADTS cannot say: a rate that is not in its table, or
/// a frame that is too long.
pub fn write_adts(config: &AudioSpecificConfig, frame: &[u8]) -> Option<Vec<u8>> {
    let rate = RATES.iter().position(|rate| *rate == config.sample_rate)? as u8;
    let len = frame.len() + 7;
    if len >= 1 << 13 || !(1..=4).contains(&config.object_type) {
        return None;
    }
    let channels = config.channel_configuration & 7;
    let mut out = vec![
        0xff,
        0xf1,
        (config.object_type - 1) << 6 | rate << 2 | channels >> 2,
        channels << 6 | (len >> 11) as u8,
        (len >> 3) as u8,
        (len << 5) as u8 | 0x1f,
        0xfc,
    ];
    out.extend_from_slice(frame);
    Some(out)
}

/// The Opus packets of a PES packet. Ends at the first that is cut short.
pub fn opus_packets(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (head, mut after) = rest.split_first_chunk::<2>()?;
        let head = u16::from_be_bytes(*head);
        if head & 0xffe0 != OPUS_PREFIX {
            return None;
        }
        let mut len = 0;
        loop {
            let (&byte, next) = after.split_first()?;
            len += usize::from(byte);
            after = next;
            if byte < 255 {
                break;
            }
        }
        // Trims at start and end, two bytes each; an extension with its length.
        let trims = usize::from(head >> 4 & 1) + usize::from(head >> 3 & 1);
        after = after.get(2 * trims..)?;
        if head >> 2 & 1 == 1 {
            let (&len, next) = after.split_first()?;
            after = next.get(usize::from(len)..)?;
        }
        let (packet, after) = after.split_at_checked(len)?;
        rest = after;
        Some(packet)
    })
    .filter(|packet| !packet.is_empty())
}

/// An Opus control header and its packet.
pub fn write_opus(packet: &[u8]) -> Vec<u8> {
    let mut out = OPUS_PREFIX.to_be_bytes().to_vec();
    out.resize(2 + packet.len() / 255, 255);
    out.push((packet.len() % 255) as u8);
    out.extend_from_slice(packet);
    out
}
