"""Networks that lose, delay and reorder; networks without UDP. Seeds are fixed and shown on failure."""

from __future__ import annotations

import pytest

from tests.media.clips import FPS, Sender, clip
from tests.media.house import House, receive, stats, track, until
from tests.relay import Network, Relay

SEEDS = [1, 20]
LOSSY = Network(loss=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_viewer_behind_5_percent_loss_misses_nothing(house: House, seed: int) -> None:
    with Sender(house.publisher(), clip()), Relay(house.engine.port, seed=seed) as relay:
        house.live()
        viewer = house.viewer(route=relay.route)
        seen = receive(viewer, lambda s: s.decoded >= 10)
        relay.network = LOSSY
        receive(viewer, lambda s: s.decoded >= 10 + 4 * FPS, seen)
        relay.network = Network()
        receive(viewer, lambda s: s.decoded >= 10 + 5 * FPS, seen)  # repairs on the way are there
        figures = track(viewer)
        assert relay.lost > 5, seed
        assert figures["nacks"] > 0, seed
        assert figures["packets_lost"] <= relay.lost // 10, (seed, figures, relay.lost)
        assert seen.errors == 0, seed


@pytest.mark.parametrize("seed", SEEDS)
def test_publisher_behind_5_percent_loss_is_repaired(house: House, seed: int) -> None:
    with Relay(house.engine.port, seed=seed) as relay:
        publisher = house.publisher(route=relay.route)
        with Sender(publisher, clip()):
            house.live()
            viewer = house.viewer()
            seen = receive(viewer, lambda s: s.decoded >= 10)
            relay.network = LOSSY
            receive(viewer, lambda s: s.decoded >= 10 + 4 * FPS, seen)
            relay.network = Network()
            until("a second of figures", lambda: track(publisher)["nacks"] > 0)
            assert relay.lost > 5, seed
            figures = track(viewer)
            assert figures["packets_lost"] <= relay.lost // 10, (seed, figures, relay.lost)


def test_reordered_and_late_packets_are_put_in_order(house: House) -> None:
    with (
        Sender(house.publisher(), clip()),
        Relay(house.engine.port, seed=7) as relay,
    ):
        house.live()
        viewer = house.viewer(route=relay.route)
        seen = receive(viewer, lambda s: s.decoded >= 10)
        relay.network = Network(delay=0.03, jitter=0.03, reorders=True)
        receive(viewer, lambda s: s.decoded >= 10 + 3 * FPS, seen)
        assert track(viewer)["packets_lost"] == 0
        times = [frame.rtp_time for frame in seen.video]
        assert times == sorted(times)
        assert seen.errors == 0


def test_lossy_viewer_costs_the_others_nothing(house: House) -> None:
    with (
        Sender(house.publisher(), clip()),
        Relay(house.engine.port, seed=11) as relay,
    ):
        house.live()
        lossy = house.viewer(route=relay.route, depth="packets")
        healthy = house.viewer()
        relay.network = Network(loss=0.3, jitter=0.02, reorders=True)
        seen = receive(healthy, lambda s: s.decoded >= 3 * FPS)
        assert track(healthy)["packets_lost"] == 0
        assert seen.errors == 0
        assert track(lossy)["packets"] > 0


def test_path_that_comes_back_is_used_again() -> None:
    with (
        House(consent_timeout_ms=20_000) as house,
        Sender(house.publisher(), clip()),
        Relay(house.engine.port, seed=3) as relay,
    ):
        house.live()
        viewer = house.viewer(route=relay.route)
        seen = receive(viewer, lambda s: s.decoded >= 10)
        relay.network = Network(loss=1.0)
        until("nothing arrives for longer than any repair", lambda: relay.lost > 200)
        relay.network = Network()
        before = seen.decoded
        receive(viewer, lambda s: s.decoded >= before + 2 * FPS, seen)
        assert viewer.state == "connected"


def test_media_flows_over_tcp(house: House) -> None:
    with Sender(house.publisher(transport="tcp"), clip()):
        house.live()
        viewer = house.viewer(transport="tcp")
        seen = receive(viewer, lambda s: s.decoded >= 3 * FPS and len(s.audio) >= 50)
        assert seen.errors == 0
        figures = until("a second of figures", lambda: stats(viewer)["protocol"] and stats(viewer))
        assert figures["protocol"] == "tcp"
        assert track(viewer)["packets_lost"] == 0


def test_tcp_and_udp_meet_in_one_stream(house: House) -> None:
    with Sender(house.publisher(transport="tcp"), clip()):
        house.live()
        assert receive(house.viewer(), lambda s: s.decoded >= FPS).errors == 0
