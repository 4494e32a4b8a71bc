use super::*;

const AUDIO: Bitrate = Bitrate::from_kbps(40);

/// A viewer of three layers, 150, 500 and 1500 kbit/s, who gets every keyframe at once.
struct Viewer {
    allocator: Allocator,
    now: Instant,
    offers: Vec<LayerOffer>,
    wishes: Wishes,
    network: Network,
    switches: usize,
    last: Option<Target>,
}

impl Viewer {
    fn new(estimate_kbps: u64) -> Self {
        let layers = [150, 500, 1500].map(Bitrate::from_kbps);
        let offers = (0..3).map(|i| LayerOffer::new(i, layers[i])).collect();
        Self {
            allocator: Allocator::new(),
            now: Instant::now(),
            offers,
            wishes: Wishes::default(),
            network: Network {
                estimate: Bitrate::from_kbps(estimate_kbps),
                loss: 0.0,
                queue: Duration::ZERO,
                congestion: None,
                proven: None,
                probing: false,
            },
            switches: 0,
            last: None,
        }
    }

    fn update(&mut self) -> Decision {
        let decision =
            self.allocator
                .update(self.now, AUDIO, &self.offers, self.wishes, &self.network);
        if let Some(target) = decision.target {
            self.allocator.on_switched(target.layer);
        }
        if decision.target != self.last {
            self.switches += 1;
            self.last = decision.target;
        }
        decision
    }

    fn run(&mut self, seconds: f64) -> Decision {
        for _ in 0..(seconds * 20.0) as usize {
            self.now += Duration::from_millis(50);
            self.update();
        }
        self.update()
    }

    fn estimate(&mut self, kbps: u64, congestion: Option<Congestion>) {
        self.network.estimate = Bitrate::from_kbps(kbps);
        self.network.congestion = congestion;
    }

    fn prove(&mut self, kbps: u64) {
        self.estimate(kbps, None);
        self.network.proven = Some((self.now, Bitrate::from_kbps(kbps)));
    }
}

fn layer(decision: Decision) -> Option<usize> {
    decision.target.map(|target| target.layer)
}

#[test]
fn first_layer_is_chosen_at_once() {
    assert_eq!(layer(Viewer::new(800).update()), Some(1));
    assert_eq!(layer(Viewer::new(10).update()), Some(0), "rather than none");
    assert_eq!(layer(Viewer::new(5000).update()), Some(2));
}

#[test]
fn goes_down_at_once_when_congested() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    viewer.estimate(600, Some(Congestion::Delay));
    assert_eq!(layer(viewer.update()), Some(1));
}

#[test]
fn dip_without_congestion_is_waited_out() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    viewer.estimate(1400, None);
    assert_eq!(layer(viewer.run(1.5)), Some(2));
    viewer.estimate(2000, None);
    assert_eq!(layer(viewer.run(1.0)), Some(2));
    viewer.estimate(1400, None);
    assert_eq!(layer(viewer.run(2.5)), Some(1));
}

#[test]
fn goes_up_after_head_room_lasted() {
    let mut viewer = Viewer::new(600);
    viewer.run(5.0);
    viewer.estimate(1800, None);
    assert_eq!(layer(viewer.run(1.0)), Some(1));
    assert_eq!(layer(viewer.run(1.5)), Some(2));
}

#[test]
fn goes_up_at_once_when_a_probe_has_shown_it() {
    let mut viewer = Viewer::new(600);
    let wanted = viewer.run(1.0).probe.unwrap();
    assert!(wanted.next >= Bitrate::from_kbps(1690), "{wanted:?}");
    viewer.prove(1700);
    viewer.network.probing = true;
    assert_eq!(layer(viewer.update()), Some(1), "more may be known soon");
    viewer.network.probing = false;
    assert_eq!(layer(viewer.update()), Some(2));
}

#[test]
fn head_room_too_small_is_none() {
    let mut viewer = Viewer::new(600);
    viewer.run(1.0);
    viewer.prove(1580);
    assert_eq!(layer(viewer.run(10.0)), Some(1));
}

#[test]
fn retransmissions_take_room() {
    let mut viewer = Viewer::new(600);
    viewer.run(1.0);
    viewer.network.loss = 0.1;
    viewer.prove(1700);
    assert_eq!(layer(viewer.run(10.0)), Some(1));
    viewer.prove(1850);
    assert_eq!(layer(viewer.update()), Some(2));
}

#[test]
fn no_probe_is_wanted_on_the_top_layer() {
    let mut viewer = Viewer::new(5000);
    assert_eq!(viewer.run(1.0).probe, None);
}

#[test]
fn layer_that_failed_is_tried_more_and_more_rarely() {
    let mut viewer = Viewer::new(600);
    viewer.run(1.0);
    viewer.switches = 0;
    for _ in 0..240 {
        // Every probe succeeds, and the layer fails two seconds later.
        viewer.prove(2000);
        if layer(viewer.run(2.0)) == Some(2) {
            viewer.estimate(700, Some(Congestion::Loss));
            viewer.update();
            viewer.estimate(700, None);
        }
    }
    assert!(viewer.switches <= 4 * 4, "{} in 8 minutes", viewer.switches);
}

#[test]
fn video_pauses_when_not_even_the_lowest_layer_fits() {
    let mut viewer = Viewer::new(600);
    viewer.run(1.0);
    viewer.estimate(120, Some(Congestion::Delay));
    assert_eq!(layer(viewer.update()), Some(0), "a doubt is not enough");
    viewer.network.queue = LONG_QUEUE;
    let decision = viewer.update();
    assert_eq!((decision.target, decision.stop), (None, true));
    viewer.network.queue = Duration::ZERO;
    assert_eq!(decision.allocated, AUDIO);
    viewer.estimate(120, None);
    let decision = viewer.run(5.0);
    assert!(decision.probe.is_some(), "to find out when it fits again");
    viewer.prove(400);
    assert_eq!(layer(viewer.update()), Some(0));
}

#[test]
fn long_queue_is_drained_first() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    viewer.estimate(600, Some(Congestion::Delay));
    viewer.network.queue = Duration::from_millis(400);
    assert_eq!(viewer.update().target, None);
    viewer.network.queue = Duration::from_millis(100);
    assert_eq!(viewer.update().target, None);
    viewer.network.queue = Duration::from_millis(20);
    assert_eq!(layer(viewer.update()), Some(1));
}

#[test]
fn what_fits_is_given_as_soon_as_the_queue_is_gone() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    // A burst overflowed the queue, and its loss bounds the estimate for the time being.
    viewer.estimate(160, Some(Congestion::Loss));
    viewer.network.loss = 0.7;
    viewer.network.queue = Duration::from_millis(170);
    assert_eq!(viewer.update().target, None);
    viewer.estimate(700, Some(Congestion::Loss));
    viewer.network.queue = Duration::from_millis(20);
    let decision = viewer.update();
    assert_eq!((layer(decision), decision.drained), (Some(1), true));
    assert!(!viewer.update().drained, "once");
}

#[test]
fn queue_that_does_not_drain_is_anothers() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    viewer.estimate(600, Some(Congestion::Delay));
    viewer.network.queue = Duration::from_millis(400);
    viewer.update();
    viewer.network.congestion = None;
    let mut foreign = 0;
    for _ in 0..40 {
        viewer.now += Duration::from_millis(100);
        foreign += usize::from(viewer.update().foreign_queue);
    }
    assert_eq!(foreign, 1);
    assert_eq!(layer(viewer.update()), Some(1));
}

#[test]
fn layer_far_above_the_budget_stops_before_the_keyframe_comes() {
    let mut viewer = Viewer::new(2000);
    viewer.run(1.0);
    viewer.network.estimate = Bitrate::from_kbps(600);
    viewer.network.congestion = Some(Congestion::Delay);
    let (now, offers) = (viewer.now, viewer.offers.clone());
    let allocator = &mut viewer.allocator;
    let decision = allocator.update(now, AUDIO, &offers, Wishes::default(), &viewer.network);
    assert!(decision.stop, "{decision:?}");
}

#[test]
fn viewer_may_force_a_layer_or_a_maximum() {
    let mut viewer = Viewer::new(5000);
    viewer.wishes.max = Some(1);
    assert_eq!(layer(viewer.run(5.0)), Some(1));
    viewer.wishes = Wishes {
        only: Some(0),
        max: None,
    };
    assert_eq!(layer(viewer.run(0.1)), Some(0));
    viewer.wishes = Wishes {
        only: Some(2),
        max: None,
    };
    assert_eq!(layer(viewer.run(0.1)), Some(2));
    viewer.estimate(700, Some(Congestion::Delay));
    viewer.network.queue = LONG_QUEUE;
    assert_eq!(viewer.update().target, None, "no other instead");
}

#[test]
fn frames_are_dropped_before_the_picture_shrinks() {
    let mut viewer = Viewer::new(3000);
    viewer.offers = vec![
        LayerOffer::with_temporal(0, &[60, 90, 150].map(Bitrate::from_kbps)),
        LayerOffer::with_temporal(1, &[200, 300, 500].map(Bitrate::from_kbps)),
        LayerOffer::with_temporal(2, &[600, 900, 1500].map(Bitrate::from_kbps)),
    ];
    viewer.run(1.0);
    let steps = [
        (1200, 2, 1),
        (700, 1, 2),
        (400, 1, 1),
        (250, 0, 2),
        (110, 0, 0),
    ];
    for (kbps, layer, temporal) in steps {
        viewer.estimate(kbps, Some(Congestion::Delay));
        let target = viewer.update().target;
        assert_eq!(target, Some(Target { layer, temporal }), "at {kbps} kbit/s");
    }
}

#[test]
fn layers_of_about_the_same_rate_do_not_take_turns() {
    let mut viewer = Viewer::new(1800);
    for step in 0..100 {
        // Half the frames of the larger picture, or all of the smaller.
        let full = Bitrate::from_kbps(1490 + 20 * (step % 2));
        viewer.offers = vec![
            LayerOffer::with_temporal(0, &[600, 900].map(Bitrate::from_kbps).map(|r| r.min(full))),
            LayerOffer::with_temporal(1, &[Bitrate::from_kbps(900), full]),
            LayerOffer::with_temporal(2, &[1500, 2500].map(Bitrate::from_kbps)),
        ];
        viewer.run(1.0);
    }
    assert!(viewer.switches <= 3, "{}", viewer.switches);
}

#[test]
fn layer_that_vanishes_is_replaced() {
    let mut viewer = Viewer::new(2000);
    assert_eq!(layer(viewer.run(1.0)), Some(2));
    viewer.offers.pop();
    assert_eq!(layer(viewer.run(0.1)), Some(1));
    viewer.offers.clear();
    assert_eq!(viewer.update().target, None);
}
