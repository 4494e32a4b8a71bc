//! The estimator as a whole, by hand-made reports; `tests/simulation` has the links.

use proptest::prelude::*;

use super::*;

const START_KBPS: u64 = 1000;

/// Sends a packet each 10 ms over a path of 20 ms and reports each 50 ms.
struct Path {
    estimator: Estimator,
    start: Instant,
    us: u64,
    seq: u64,
    reported: u64,
    /// Microseconds that each packet waits longer than the one before.
    growth_us: i64,
    waited_us: i64,
    arrivals: Vec<(u16, Option<Stamp>)>,
}

impl Path {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            estimator: Estimator::new(Config::default(), start),
            start,
            us: 0,
            seq: 65_000,
            reported: 65_000,
            growth_us: 0,
            waited_us: 0,
            arrivals: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.us)
    }

    fn run(&mut self, seconds: u64, kbps: u64, reports: bool) {
        let end = self.us + seconds * 1_000_000;
        while self.us < end {
            self.us += 10_000;
            let bytes = (kbps * 10 / 8) as usize;
            let kind = PacketKind::Media;
            let now = self.now();
            self.estimator.on_sent(now, self.seq, bytes, kind);
            self.waited_us = (self.waited_us + self.growth_us).max(0);
            let arrival = self.us as i64 + 20_000 + self.waited_us;
            let arrival = Some(Stamp::from_micros(arrival));
            self.arrivals.push((self.seq as u16, arrival));
            self.seq += 1;
            if self.seq - self.reported >= 5 {
                self.reported = self.seq;
                let arrivals = std::mem::take(&mut self.arrivals);
                if reports {
                    self.estimator.on_feedback(now, arrivals.into_iter());
                }
            }
            self.estimator.handle_timeout(now);
        }
    }

    fn kbps(&self) -> u64 {
        self.estimator.estimate(self.now()).as_bps() / 1000
    }
}

#[test]
fn begins_with_what_is_assumed() {
    assert_eq!(Path::new().kbps(), START_KBPS);
}

#[test]
fn grows_while_all_that_is_sent_arrives() {
    let mut path = Path::new();
    path.run(10, 1000, true);
    assert!(path.kbps() > 1200, "{}", path.kbps());
}

#[test]
fn queue_that_grows_lowers_below_what_arrives() {
    let mut path = Path::new();
    path.run(3, 1000, true);
    path.growth_us = 2500;
    path.run(1, 1000, true);
    let kbps = path.kbps();
    assert!((500..850).contains(&kbps), "800 arrive, {kbps} estimated");
    let network = path.estimator.network(path.now());
    assert_eq!(network.congestion, Some(Congestion::Delay));
    assert!(network.queue > Duration::from_millis(50));
}

#[test]
fn little_traffic_neither_raises_nor_lowers() {
    let mut path = Path::new();
    path.run(60, 100, true);
    assert_eq!(path.kbps(), START_KBPS);
}

#[test]
fn silence_lowers_and_a_report_ends_it() {
    let mut path = Path::new();
    path.run(3, 1000, true);
    let before = path.kbps();
    path.run(4, 1000, false);
    assert!(path.kbps() < before / 3, "{} of {before}", path.kbps());
    let network = path.estimator.network(path.now());
    assert_eq!(network.congestion, Some(Congestion::Silence));
    path.run(2, 1000, true);
    let network = path.estimator.network(path.now());
    assert_eq!(network.congestion, None);
}

#[test]
fn remb_bounds_while_it_is_fresh() {
    let mut path = Path::new();
    path.run(3, 1000, true);
    let now = path.now();
    path.estimator.on_remb(now, Bitrate::from_kbps(300));
    assert_eq!(path.kbps(), 300);
    path.run(11, 1000, true);
    assert!(path.kbps() > 1000);
}

#[test]
fn receiver_reports_count_only_without_transport_feedback() {
    let mut path = Path::new();
    path.run(1, 1000, false);
    let now = path.now();
    path.estimator.on_receiver_loss(now, 0.3);
    assert_eq!(path.kbps(), 850);

    let mut path = Path::new();
    path.run(3, 1000, true);
    let before = path.kbps();
    let now = path.now();
    path.estimator.on_receiver_loss(now, 0.3);
    assert_eq!(path.kbps(), before);
}

#[test]
fn nothing_is_probed_before_a_report_or_unless_asked() {
    let mut path = Path::new();
    let wanted = Wanted {
        next: Bitrate::from_kbps(2000),
        top: Bitrate::from_kbps(3000),
    };
    path.estimator.want_probe(Some(wanted));
    let now = path.now();
    assert_eq!(path.estimator.poll_probe(now), None);
    path.run(1, 1000, true);
    let now = path.now();
    assert!(path.estimator.poll_probe(now).is_some());
    assert!(path.estimator.poll_timeout(now).is_some_and(|at| at <= now));

    let mut unasked = Path::new();
    unasked.run(1, 1000, true);
    let now = unasked.now();
    assert_eq!(unasked.estimator.poll_probe(now), None);
}

#[test]
fn report_of_packets_never_sent_changes_nothing() {
    let mut path = Path::new();
    path.run(3, 1000, true);
    let before = path.kbps();
    let lies = (0..u16::MAX).map(|seq| (seq, Some(Stamp::from_micros(i64::from(seq) << 40))));
    let sent = path.seq as u16;
    let lies = lies.filter(|(seq, _)| sent.wrapping_sub(*seq) > 4096);
    let now = path.now();
    path.estimator.on_feedback(now, lies);
    assert_eq!(path.kbps(), before);
}

#[test]
fn reference_time_is_followed_across_its_wrap() {
    let mut estimator = Estimator::new(Config::default(), Instant::now());
    let end = estimator.reference_micros(0x7f_ffff);
    let wrapped = estimator.reference_micros(-0x80_0000);
    assert_eq!(wrapped - end, Twcc::REFERENCE_MICROS);
    let back = estimator.reference_micros(0x7f_ffff);
    assert_eq!(back, end, "a report that was overtaken");
}

#[test]
fn viewer_costs_a_few_kilobytes() {
    let (estimator, allocator) = (size_of::<Estimator>(), size_of::<Allocator>());
    assert!(estimator <= 2560, "{estimator}");
    assert!(allocator <= 512, "{allocator}");
}

proptest! {
    /// Whatever a receiver reports, the estimate stays within its limits.
    #[test]
    fn any_report_is_survived(
        reports in prop::collection::vec(
            prop::collection::vec((any::<u16>(), prop::option::of(any::<i32>())), 0..40),
            0..40,
        ),
        bytes in 1_usize..70_000,
    ) {
        let mut path = Path::new();
        path.estimator.want_probe(Some(Wanted { next: Bitrate::MAX, top: Bitrate::MAX }));
        for report in reports {
            path.us += 30_000;
            let now = path.now();
            for _ in 0..20 {
                path.estimator.on_sent(now, path.seq, bytes, PacketKind::Media);
                path.seq += 1;
            }
            let newest = path.seq as u16;
            let packets = report.into_iter().map(|(seq, arrival)| {
                let arrival = arrival.map(|us| Stamp::from_micros(i64::from(us) * 1000));
                (newest.wrapping_sub(seq % 64), arrival)
            });
            path.estimator.on_feedback(now, packets);
            path.estimator.handle_timeout(now);
            while let Some(probe) = path.estimator.poll_probe(now) {
                prop_assert!(probe.bytes > 0);
                path.estimator.on_sent(now, path.seq, probe.bytes, PacketKind::Padding);
                path.seq += 1;
            }
            let estimate = path.estimator.estimate(now);
            let config = Config::default();
            prop_assert!((config.min..=config.max).contains(&estimate));
            let _ = path.estimator.network(now);
            let _ = path.estimator.poll_timeout(now);
        }
    }
}
