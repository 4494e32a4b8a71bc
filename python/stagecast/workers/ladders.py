"""Which sources have a ladder of smaller pictures: as their token or livestream says, as far as the machine can."""

import json
import os

import structlog

from stagecast.settings import LadderSettings
from stagecast.streams.live import LiveStreams

_log = structlog.stdlib.get_logger(__name__)
# From so many cores on, streams have one that say nothing; each takes about this many cores.
_CORES_OF_A_LARGE_MACHINE = 8
_CORES_OF_A_LADDER = 4


class Ladders:
    """Used from the event loop only."""

    def __init__(
        self, settings: LadderSettings, live: LiveStreams, cores: int | None = None
    ) -> None:
        cores = cores or len(os.sched_getaffinity(0))
        self._live = live
        self._default = settings.default == "on" or (
            settings.default == "auto" and cores >= _CORES_OF_A_LARGE_MACHINE
        )
        self._most = settings.max_streams or max(1, cores // _CORES_OF_A_LADDER)
        self._running: set[tuple[str, str | None]] = set()
        self.wish = json.dumps(
            {"heights": settings.heights, "preset": settings.preset, "gpu": settings.gpu}
        )

    def wanted(self, stream: str, source: str | None) -> bool:
        """Whether a source has a ladder while somebody watches it by HLS."""
        if (stream, source) in self._running:
            return True
        return self._chosen(stream, source) and len(self._running) < self._most

    def begin(self, stream: str, source: str | None) -> bool:
        """A ladder is to be made; whether it may."""
        if not self._chosen(stream, source):
            return False
        if len(self._running) >= self._most:
            _log.warning("ladder.too_many", stream=stream, running=len(self._running))
            return False
        self._running.add((stream, source))
        return True

    def end(self, stream: str, source: str | None) -> None:
        """It is no longer made."""
        self._running.discard((stream, source))

    def _chosen(self, stream: str, source: str | None) -> bool:
        live = self._live.get(stream)
        session = live.sources.get(source) if live else None
        feed = live.feeds.get(session) if live and session else None
        if feed is None:
            return False
        return self._default if feed.ladder is None else feed.ladder
