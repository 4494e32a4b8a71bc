//! Which packets of an SSRC were seen (RFC 3711 §3.3.2), and which index a
//! 16-bit sequence number means (§3.3.1).
//!
//! Asking changes nothing; only [`Streams::accept`], called when the tag was
//! right, does. So only the holder of the key can make it remember an SSRC.

use super::SrtpError;

/// SSRCs remembered. A new one past them is refused: forgetting an old one
/// would allow its packets to be replayed.
pub(super) const MAX_STREAMS: usize = 64;

/// A window for each SSRC. A peer has few, so they are scanned.
#[derive(Default)]
pub(super) struct Streams<const WORDS: usize> {
    windows: Vec<(u32, Window<WORDS>)>,
}

impl<const WORDS: usize> Streams<WORDS> {
    /// The window of an SSRC; an empty one when it is new.
    pub(super) fn window(&self, ssrc: u32) -> Result<&Window<WORDS>, SrtpError> {
        match self.windows.iter().find(|(known, _)| *known == ssrc) {
            Some((_, window)) => Ok(window),
            None if self.windows.len() < MAX_STREAMS => Ok(const { &Window::new() }),
            None => Err(SrtpError::TooManyStreams(MAX_STREAMS)),
        }
    }

    /// Remember an authentic index that [`Window::check`] let pass.
    pub(super) fn accept(&mut self, ssrc: u32, index: u64) {
        let at = self
            .windows
            .iter()
            .position(|(known, _)| *known == ssrc)
            .unwrap_or_else(|| {
                self.windows.push((ssrc, Window::new()));
                self.windows.len() - 1
            });
        self.windows[at].1.accept(index);
    }
}

/// The newest index and a bit for each of the last `64 * WORDS`.
pub(super) struct Window<const WORDS: usize> {
    newest: Option<u64>,
    /// The bit of an index is at `index % (64 * WORDS)`.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    pub(super) const SIZE: u64 = 64 * WORDS as u64;

    pub(super) const fn new() -> Self {
        Self {
            newest: None,
            seen: [0; WORDS],
        }
    }

    /// Refuses an index that was accepted, or is older than the window.
    pub(super) fn check(&self, index: u64) -> Result<(), SrtpError> {
        match self.newest {
            Some(newest)
                if index <= newest && (newest - index >= Self::SIZE || self.has(index)) =>
            {
                Err(SrtpError::Replayed(index))
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, index: u64) {
        match self.newest {
            Some(newest) if index > newest => {
                if index - newest >= Self::SIZE {
                    self.seen = [0; WORDS];
                } else {
                    (newest + 1..index).for_each(|skipped| self.forget(skipped));
                }
                self.newest = Some(index);
            }
            Some(_) => {}
            None => self.newest = Some(index),
        }
        let (word, bit) = Self::place(index);
        self.seen[word] |= bit;
    }

    /// The 48-bit index nearest to the newest that ends in `seq`. Before the
    /// first packet the rollover counter is 0. `None` for a packet from before
    /// the first rollover counter or after the last.
    pub(super) fn estimate(&self, seq: u16) -> Option<u64> {
        const HALF: u16 = 0x8000;
        let Some(newest) = self.newest else {
            return Some(seq.into());
        };
        let (roc, last) = (newest >> 16, newest as u16);
        let roc = if last < HALF {
            if seq.saturating_sub(last) > HALF {
                roc.checked_sub(1)?
            } else {
                roc
            }
        } else if last - HALF > seq {
            roc + 1
        } else {
            roc
        };
        let index = roc << 16 | u64::from(seq);
        (index < super::sealer::RTP_INDEX_END).then_some(index)
    }

    fn has(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.seen[word] & bit != 0
    }

    fn forget(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        self.seen[word] &= !bit;
    }

    const fn place(index: u64) -> (usize, u64) {
        let at = index % Self::SIZE;
        ((at / 64) as usize, 1 << (at % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_index_is_refused_the_second_time() {
        let mut window = Window::<1>::new();
        window.accept(7);
        assert_eq!(window.check(7), Err(SrtpError::Replayed(7)));
        assert_eq!(window.check(6), Ok(()));
        assert_eq!(window.check(8), Ok(()));
    }

    #[test]
    fn index_older_than_the_window_is_refused() {
        let mut window = Window::<1>::new();
        window.accept(100);
        assert_eq!(window.check(37), Ok(()));
        assert_eq!(window.check(36), Err(SrtpError::Replayed(36)));
    }

    #[test]
    fn jump_over_the_window_forgets_what_was_seen() {
        let mut window = Window::<2>::new();
        window.accept(5);
        window.accept(5 + 128);
        assert_eq!(window.check(6), Ok(()));
        assert_eq!(window.check(5), Err(SrtpError::Replayed(5)));
        window.accept(1_000_000);
        assert_eq!(window.check(1_000_000 - 127), Ok(()));
    }

    #[test]
    fn skipped_index_is_accepted_when_it_comes_late() {
        let mut window = Window::<1>::new();
        for index in 0..200 {
            if index % 3 != 0 {
                window.accept(index);
            }
        }
        assert_eq!(window.check(198), Ok(()));
        window.accept(198);
        assert_eq!(window.check(198), Err(SrtpError::Replayed(198)));
        assert_eq!(window.check(199), Err(SrtpError::Replayed(199)));
    }

    #[test]
    fn sequence_number_before_the_first_rollover_has_no_index() {
        let mut window = Window::<1>::new();
        window.accept(3);
        assert_eq!(window.estimate(0xfff0), None);
    }

    #[test]
    fn sequence_number_after_the_last_rollover_has_no_index() {
        let mut window = Window::<1>::new();
        window.accept(super::super::sealer::RTP_INDEX_END - 1);
        assert_eq!(window.estimate(0), None);
    }

    #[test]
    fn sequence_number_wraps_forward_and_back() {
        let mut window = Window::<1>::new();
        assert_eq!(window.estimate(0xffff), Some(0xffff));
        window.accept(0xffff);
        assert_eq!(window.estimate(0), Some(0x1_0000));
        window.accept(0x1_0002);
        assert_eq!(window.estimate(0xfffe), Some(0xfffe));
        assert_eq!(window.estimate(3), Some(0x1_0003));
    }

    #[test]
    fn estimate_ends_where_the_standard_ends_it() {
        // RFC 3711 §3.3.1: a distance of exactly 2^15 keeps the rollover counter.
        let mut low = Window::<1>::new();
        low.accept(0x5_0001);
        assert_eq!(low.estimate(0x8001), Some(0x5_8001));
        assert_eq!(low.estimate(0x8002), Some(0x4_8002));
        let mut high = Window::<1>::new();
        high.accept(0x5_8001);
        assert_eq!(high.estimate(1), Some(0x5_0001));
        assert_eq!(high.estimate(0), Some(0x6_0000));
    }
}
