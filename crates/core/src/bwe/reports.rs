//! What receivers say that send no transport-wide feedback: their receiver reports and REMB.
//!
//! The loss-based rule of draft-ietf-rmcat-gcc-02 §6 on the fraction lost of RFC 3550 §6.4.1, and the
//! receiver's own estimate (draft-alvestrand-rmcat-remb-03) as an upper bound, which transport-wide
//! feedback does not lift.

use std::time::{Duration, Instant};

use super::units::Bitrate;

const HIGH_LOSS: f64 = 0.1;
const LOW_LOSS: f64 = 0.02;
const GROWTH: f64 = 1.05;
/// Growth needs evidence here too: this much over what is being sent.
const MAX_OVER_SENT: f64 = 1.5;
/// But without probes nothing would ever prove that a much higher layer goes through. So after a time
/// without loss this much over what is being sent is tried.
const TRIED_OVER_SENT: f64 = 6.0;
/// How long without loss; twice as long after each time that it went wrong, up to the maximum.
const TRY_AFTER: Duration = Duration::from_secs(10);
const MAX_TRY_AFTER: Duration = Duration::from_secs(320);
/// Reports come at random intervals; loss is judged at most this often.
const MIN_INTERVAL: Duration = Duration::from_millis(300);
const LOSS_WEIGHT: f64 = 0.25;
const REMB_LIFETIME: Duration = Duration::from_secs(10);

/// The estimate without transport-wide feedback, and the bound of REMB.
#[derive(Debug)]
pub(super) struct Reports {
    estimate: Bitrate,
    judged: Option<Instant>,
    /// Share lost, averaged over some reports.
    loss: f64,
    /// Of the last report.
    fraction: f64,
    /// Since when reports tell of no loss.
    clean: Option<Instant>,
    /// More was tried, and has not gone wrong so far.
    tried: bool,
    try_after: Duration,
    remb: Option<(Instant, Bitrate)>,
}

impl Reports {
    pub fn new(initial: Bitrate) -> Self {
        Self {
            estimate: initial,
            judged: None,
            loss: 0.0,
            fraction: 0.0,
            clean: None,
            tried: false,
            try_after: TRY_AFTER,
            remb: None,
        }
    }

    pub fn estimate(&self) -> Bitrate {
        self.estimate
    }

    /// Share lost lately.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// A receiver report while `sent` is being sent. True when the estimate was lowered.
    pub fn on_loss(&mut self, now: Instant, fraction: f64, sent: Bitrate) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < MIN_INTERVAL;
        if self.judged.is_some_and(recent) {
            return false;
        }
        self.judged = Some(now);
        self.loss += (fraction - self.loss) * LOSS_WEIGHT;
        let before = self.estimate;
        // A report is on some dozens of packets, so that one alone may be chance.
        let last = std::mem::replace(&mut self.fraction, fraction);
        let lately = f64::midpoint(last, fraction);
        if fraction.min(lately) > HIGH_LOSS {
            // What is lost is in excess of what the path takes, whatever the estimate was.
            self.estimate = before.min(sent) * (1.0 - 0.5 * fraction.min(1.0));
            if std::mem::take(&mut self.tried) {
                self.try_after = (self.try_after * 2).min(MAX_TRY_AFTER);
            }
        } else if fraction < LOW_LOSS {
            let since = *self.clean.get_or_insert(now);
            let may_try = now.saturating_duration_since(since) >= self.try_after;
            self.tried |= may_try;
            let over = if may_try {
                TRIED_OVER_SENT
            } else {
                MAX_OVER_SENT
            };
            let grown = before * GROWTH + Bitrate::from_kbps(1);
            self.estimate = before.max(grown.min(sent * over));
        }
        if fraction >= LOW_LOSS {
            self.clean = None;
        }
        self.estimate < before
    }

    pub fn on_remb(&mut self, now: Instant, bitrate: Bitrate) {
        self.remb = Some((now, bitrate));
    }

    /// What the receiver allows, while it keeps saying so.
    pub fn bound(&self, now: Instant) -> Option<Bitrate> {
        let (at, bitrate) = self.remb?;
        (now.saturating_duration_since(at) < REMB_LIFETIME).then_some(bitrate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_loss_lowers_some_loss_holds_and_none_raises() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let sent = Bitrate::from_kbps(1000);
        let mut reports = Reports::new(sent);
        assert!(!reports.on_loss(now, 0.05, sent));
        assert_eq!(reports.estimate(), sent);
        assert!(reports.on_loss(now + second, 0.2, sent));
        assert_eq!(reports.estimate(), Bitrate::from_kbps(900));
        reports.on_loss(now + 2 * second, 0.0, sent);
        assert_eq!(reports.estimate(), Bitrate::from_kbps(946));
    }

    #[test]
    fn chance_of_one_report_does_not_lower() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let sent = Bitrate::from_kbps(1000);
        let mut reports = Reports::new(sent);
        assert!(!reports.on_loss(now, 0.05, sent));
        assert!(!reports.on_loss(now + second, 0.12, sent));
        assert!(!reports.on_loss(now + 2 * second, 0.05, sent));
        assert!(!reports.on_loss(now + 3 * second, 0.12, sent));
        assert!(reports.on_loss(now + 4 * second, 0.12, sent), "no chance");
    }

    /// Layers of 500 kbit/s and 2 Mbit/s over a link: the estimate after so many seconds, and how often
    /// the higher layer was tried.
    fn watch(link: Bitrate, seconds: u32) -> (Bitrate, u32) {
        let (low, high) = (Bitrate::from_kbps(500), Bitrate::from_kbps(2000));
        let begin = Instant::now();
        let mut reports = Reports::new(low);
        let (mut sent, mut tries) = (low, 0);
        for second in 0..seconds {
            let lost = (1.0 - link.as_f64() / sent.as_f64()).max(0.0);
            reports.on_loss(begin + Duration::from_secs(second.into()), lost, sent);
            let next = if reports.estimate() > high { high } else { low };
            tries += u32::from(next > sent);
            sent = next;
        }
        (reports.estimate(), tries)
    }

    #[test]
    fn grows_little_beyond_what_sending_proves_before_it_tries() {
        let (estimate, tries) = watch(Bitrate::from_kbps(5000), 10);
        assert!(estimate <= Bitrate::from_kbps(750), "{estimate:?}");
        assert_eq!(tries, 0);
    }

    #[test]
    fn layer_that_goes_through_is_had_within_a_minute_and_kept() {
        let (estimate, tries) = watch(Bitrate::from_kbps(5000), 60);
        assert!(estimate > Bitrate::from_kbps(2000), "{estimate:?}");
        assert_eq!(tries, 1);
    }

    #[test]
    fn layer_that_does_not_go_through_is_tried_less_and_less_often() {
        let (_, in_ten_minutes) = watch(Bitrate::from_kbps(1000), 600);
        assert!((1..=6).contains(&in_ten_minutes), "{in_ten_minutes}");
        let (_, in_an_hour) = watch(Bitrate::from_kbps(1000), 3600);
        assert!(in_an_hour <= 16, "{in_an_hour}");
    }

    #[test]
    fn remb_binds_while_it_is_fresh() {
        let now = Instant::now();
        let mut reports = Reports::new(Bitrate::from_kbps(500));
        reports.on_remb(now, Bitrate::from_kbps(300));
        assert_eq!(reports.bound(now), Some(Bitrate::from_kbps(300)));
        assert_eq!(reports.bound(now + REMB_LIFETIME), None);
    }
}
