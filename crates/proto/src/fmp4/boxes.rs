//! Writing boxes: a four-character name, and a length that is known when the box ends.

/// Boxes in a growing buffer.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    bytes: Vec<u8>,
}

impl Boxes {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
        }
    }

    /// A box whose content `write` appends.
    pub(super) fn write(&mut self, name: [u8; 4], write: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.u32(0);
        self.put(&name);
        write(self);
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// A box with a version and 24 bits of flags before its content.
    pub(super) fn full(
        &mut self,
        name: [u8; 4],
        version: u8,
        flags: u32,
        write: impl FnOnce(&mut Self),
    ) {
        self.write(name, |boxes| {
            boxes.u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
            write(boxes);
        });
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a number again, at a place that was reserved for it.
    pub(super) fn set_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_a_box_counts_its_header_and_all_inside() {
        let mut boxes = Boxes::default();
        boxes.write(*b"moov", |boxes| {
            boxes.full(*b"mvhd", 1, 7, |boxes| boxes.u16(0xabcd));
        });
        let expected = [
            &[0, 0, 0, 22][..],
            b"moov",
            &[0, 0, 0, 14],
            b"mvhd",
            &[1, 0, 0, 7, 0xab, 0xcd],
        ]
        .concat();
        assert_eq!(boxes.into_bytes(), expected);
    }
}
