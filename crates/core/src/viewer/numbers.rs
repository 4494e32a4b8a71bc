//! Which packet a transport-wide number carried, so that what a report misses is sent again unasked.
//!
//! A request for a lost packet gets lost like any other datagram, and is repeated only after a round trip;
//! the viewer's feedback on everything that was sent comes anyway.

/// Numbers remembered: half a second of a rich stream, and reports come ten times a second.
const KEPT: usize = 256;
/// Of a number that carried nothing to be sent again.
const NOTHING: u8 = u8::MAX;

/// What a number carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Sequence number in the viewer's stream.
    pub seq: u16,
    /// How often it had been sent again, this time included.
    pub resends: u8,
    /// High half of the number; the place says the other.
    high: u8,
}

/// The latest numbers of one stream.
#[derive(Debug, Default)]
pub struct Numbers(Vec<Carried>);

impl Numbers {
    /// A packet was sent with this number, for the first time or again.
    pub fn set(&mut self, number: u16, seq: u16, resends: u8) {
        if self.0.is_empty() {
            let nothing = Carried {
                seq: 0,
                resends: NOTHING,
                high: 0,
            };
            self.0.resize(KEPT, nothing);
        }
        self.0[usize::from(number) % KEPT] = Carried {
            seq,
            resends,
            high: (number >> 8) as u8,
        };
    }

    /// What it carried, if that is still known.
    pub fn get(&self, number: u16) -> Option<Carried> {
        let found = *self.0.get(usize::from(number) % KEPT)?;
        (found.resends != NOTHING && found.high == (number >> 8) as u8).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_tells_its_packet_until_another_takes_its_place() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.get(0), None);
        numbers.set(0x1234, 7, 0);
        assert_eq!(numbers.get(0), None, "nothing was sent with it");
        assert_eq!(
            numbers.get(0x1234).map(|c| (c.seq, c.resends)),
            Some((7, 0))
        );
        assert_eq!(numbers.get(0x1334), None);
        numbers.set(0x1334, 8, 1);
        assert_eq!(numbers.get(0x1234), None);
        assert_eq!(
            numbers.get(0x1334).map(|c| (c.seq, c.resends)),
            Some((8, 1))
        );
    }
}
