"""The media core in this process, on loopback and free ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.media.house import House


@pytest.fixture
def house() -> Iterator[House]:
    with House() as made:
        yield made
