//! A bit cursor over a slice, for the headers that codecs pack bit by bit.
//!
//! Reads are big-endian within the byte, as in every codec specification here. Past the end every
//! read is `None`, so a parser is a chain of `?` and a truncated header is simply unreadable.
//! In RBSP mode the cursor drops emulation prevention bytes (H.264 §7.4.1.1, H.265 §7.4.2.1).

/// The longest prefix of zeros in an Exp-Golomb or `uvlc` code that still fits 32 bits.
const MAX_LEADING_ZEROS: u32 = 31;

pub(crate) struct Bits<'a> {
    data: &'a [u8],
    /// Index of the next byte to load.
    next: usize,
    /// The loaded byte, and how many of its low bits are still unread.
    byte: u8,
    left: u32,
    /// Zero bytes just before `next`; only counted in RBSP mode.
    zeros: u8,
    rbsp: bool,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            next: 0,
            byte: 0,
            left: 0,
            zeros: 0,
            rbsp: false,
        }
    }

    /// Reads a NAL unit's payload, skipping the `03` of each `00 00 03`.
    pub(crate) fn rbsp(data: &'a [u8]) -> Self {
        Self {
            rbsp: true,
            ..Self::new(data)
        }
    }

    fn load(&mut self) -> Option<()> {
        let mut byte = *self.data.get(self.next)?;
        self.next += 1;
        if self.rbsp {
            if self.zeros >= 2 && byte == 3 {
                self.zeros = 0;
                byte = *self.data.get(self.next)?;
                self.next += 1;
            }
            self.zeros = if byte == 0 {
                self.zeros.saturating_add(1)
            } else {
                0
            };
        }
        self.byte = byte;
        self.left = 8;
        Some(())
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.load()?;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 == 1)
    }

    /// The next `count` bits as an unsigned integer; `count` is at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32, "a u32 holds 32 bits");
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.bit()?;
        }
        Some(())
    }

    /// `ue(v)` of H.264 §9.1 and H.265 §9.2, `uvlc()` of AV1 §4.10.3: the same code.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > MAX_LEADING_ZEROS {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// `se(v)` of H.264 §9.1.1.
    pub(crate) fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let magnitude = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { magnitude } else { -magnitude }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_cross_byte_borders() {
        let mut bits = Bits::new(&[0b1010_0101, 0b1100_0000]);
        assert_eq!(bits.bits(3), Some(0b101));
        assert_eq!(bits.bits(7), Some(0b001_0111));
        assert_eq!(bits.bits(7), None);
    }

    #[test]
    fn exp_golomb_follows_the_table_of_the_standard() {
        // 1 | 010 | 011 | 00100 | 00111 -> 0 1 2 3 6
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0011, 0b1000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 6]);
        // The same codes, signed: 0 1 -1 2 -3
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0011, 0b1000_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.se().unwrap()).collect();
        assert_eq!(values, [0, 1, -1, 2, -3]);
    }

    #[test]
    fn exp_golomb_of_too_many_zeros_is_refused() {
        assert_eq!(Bits::new(&[0; 16]).ue(), None);
        // 31 zeros is the longest: 2^31 - 1 plus 31 bits.
        let mut longest = [0xff; 8];
        longest[..3].fill(0);
        longest[3] = 1;
        assert_eq!(Bits::new(&longest).ue(), Some(u32::MAX - 1));
    }

    #[test]
    fn emulation_prevention_is_dropped_only_in_rbsp() {
        let data = [0, 0, 3, 1, 0, 0, 3, 0, 0, 3];
        let mut bits = Bits::rbsp(&data);
        let read: Vec<_> = std::iter::from_fn(|| bits.bits(8)).collect();
        assert_eq!(read, [0, 0, 1, 0, 0, 0, 0]);
        let mut bits = Bits::new(&data);
        assert_eq!(std::iter::from_fn(|| bits.bits(8)).count(), 10);
    }
}
