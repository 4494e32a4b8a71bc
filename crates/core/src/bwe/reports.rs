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
    remb: Option<(Instant, Bitrate)>,
}

impl Reports {
    pub fn new(initial: Bitrate) -> Self {
        Self {
            estimate: initial,
            judged: None,
            loss: 0.0,
            fraction: 0.0,
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
        } else if fraction < LOW_LOSS {
            let grown = before * GROWTH + Bitrate::from_kbps(1);
            self.estimate = before.max(grown.min(sent * MAX_OVER_SENT));
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

    #[test]
    fn does_not_grow_beyond_what_sending_proves() {
        let mut now = Instant::now();
        let mut reports = Reports::new(Bitrate::from_kbps(500));
        for _ in 0..100 {
            now += Duration::from_secs(1);
            reports.on_loss(now, 0.0, Bitrate::from_kbps(500));
        }
        assert_eq!(reports.estimate(), Bitrate::from_kbps(750));
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
