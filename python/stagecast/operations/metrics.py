"""The Prometheus page: process, HTTP, media threads, and the busiest streams.

Cardinality is bounded: requests are counted by route template, and only the top N streams by viewers
(`metrics.top_streams`) have series of their own; the rest is in the totals.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from stagecast import __version__
from stagecast.media.engine import Engine
from stagecast.streams.live import LiveStreams, Stream
from stagecast.streams.service import incoming_bitrate, stream_figures

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """One registry a server, so that two servers in one process (tests) do not meet."""

    def __init__(self, engine: Engine, live: LiveStreams, top_streams: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(MediaCollector(engine, live, top_streams))
        self.requests = Histogram(
            "stagecast_http_request_seconds",
            "Time to the end of the response, by route.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )


class MediaCollector(Collector):
    """Reads the media core's latest figures at scrape time."""

    def __init__(self, engine: Engine, live: LiveStreams, top_streams: int) -> None:
        self._engine = engine
        self._live = live
        self._top_streams = top_streams

    def collect(self) -> Iterator[Metric]:
        yield _info()
        yield from self._threads()
        yield from self._totals()
        yield from self._streams()

    def _threads(self) -> Iterator[Metric]:
        counters = {
            "packets_in": "RTP and RTCP packets received.",
            "packets_out": "RTP and RTCP packets sent.",
            "bytes_in": "Bytes received.",
            "bytes_out": "Bytes sent.",
            "datagrams_dropped": "Datagrams dropped by a media thread.",
        }
        for name, text in counters.items():
            family = CounterMetricFamily(f"stagecast_media_{name}", text, labels=["thread"])
            for thread in self._engine.figures.threads:
                family.add_metric([str(thread.thread)], getattr(thread, name))
            yield family

    def _totals(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily("stagecast_sessions", "Running sessions.", labels=["kind"])
        figures = self._engine.figures.sessions
        for kind in ("publisher", "viewer"):
            sessions.add_metric([kind], sum(session.kind == kind for session in figures))
        yield sessions
        live = self._live.live()
        yield GaugeMetricFamily("stagecast_streams_live", "Live streams.", len(live))
        yield GaugeMetricFamily(
            "stagecast_viewers",
            "Connected viewers of all streams.",
            sum(s.viewer_count for s in live),
        )

    def _streams(self) -> Iterator[Metric]:
        labels = ["stream"]
        viewers = GaugeMetricFamily("stagecast_stream_viewers", "Connected viewers.", labels=labels)
        bitrate = GaugeMetricFamily(
            "stagecast_stream_bitrate_bps", "Incoming bits a second of all sources.", labels=labels
        )
        fps = GaugeMetricFamily(
            "stagecast_stream_fps", "Frames a second of the main source.", labels=labels
        )
        loss = GaugeMetricFamily(
            "stagecast_stream_packet_loss_ratio",
            "Packets lost from the publisher, 0 to 1.",
            labels=labels,
        )
        rtt = GaugeMetricFamily(
            "stagecast_stream_rtt_seconds", "Round trip to the publisher.", labels=labels
        )
        for stream in self._top():
            figures = stream_figures(stream)
            viewers.add_metric([stream.key], stream.viewer_count)
            bitrate.add_metric([stream.key], incoming_bitrate(stream))
            fps.add_metric([stream.key], figures.fps or 0)
            loss.add_metric([stream.key], figures.packet_loss or 0)
            rtt.add_metric([stream.key], (figures.rtt_ms or 0) / 1000)
        yield from (viewers, bitrate, fps, loss, rtt)

    def _top(self) -> list[Stream]:
        live = sorted(self._live.live(), key=lambda stream: (-stream.viewer_count, stream.key))
        return live[: self._top_streams]


def _info() -> Metric:
    family = GaugeMetricFamily(
        "stagecast_info", "Always 1; the version is a label.", labels=["version"]
    )
    family.add_metric([__version__], 1)
    return family
