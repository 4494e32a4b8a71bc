"""The official `cloudflare` SDK, pointed here by its `base_url` and otherwise as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import cloudflare
import pytest

from tests.api.conftest import App
from tests.api.kit import Kit, kit_of

R = TypeVar("R")


class Sdk:
    """One client; its calls wait in a thread while the server runs in the loop."""

    def __init__(self, kit: Kit, address: str) -> None:
        self.kit = kit
        self.client = cloudflare.Cloudflare(
            api_token=kit.token, base_url=f"{address}/client/v4", timeout=10
        )

    async def __call__(self, call: Callable[..., R], *ids: str, **options: Any) -> R:
        account = self.kit.app.account
        return await asyncio.to_thread(lambda: call(*ids, account_id=account, **options))


@pytest.fixture
async def sdk(app: App, listening: str) -> Sdk:
    return Sdk(await kit_of(app), listening)


async def test_the_sdk_creates_lists_fetches_and_reads_sessions_and_analytics(sdk: Sdk) -> None:
    kit, app = sdk.kit, sdk.kit.app_id
    livestreams = sdk.client.realtime_kit.livestreams

    created = await sdk(livestreams.create_independent_livestream, app, name="test_livestream")
    made = created.data
    assert created.success
    assert made is not None
    assert made.id is not None
    assert (made.name, made.status, made.disabled) == ("test_livestream", "OFFLINE", False)
    assert made.ingest_server is not None
    assert made.ingest_server.startswith("rtmp://127.0.0.1:")
    assert made.playback_url is not None
    assert made.playback_url.endswith("/manifest/video.m3u8")

    listed: Any = await sdk(livestreams.get_all_livestreams, app)
    assert [one.id for one in listed.data] == [made.id]
    assert listed.data[0].created_at.tzinfo is not None
    assert listed.paging["total_count"] == 1
    filtered: Any = await sdk(
        livestreams.get_all_livestreams,
        app,
        exclude_meetings=True,
        page_no=1,
        per_page=10,
        status="LIVE",
        sort_order="DSC",
        start_time=datetime(2020, 1, 1, tzinfo=UTC),
        end_time=datetime(2096, 1, 1, tzinfo=UTC),
    )
    assert filtered.data == []

    with pytest.raises(cloudflare.NotFoundError) as refused:
        await sdk(livestreams.get_active_livestreams_for_livestream_id, made.id, app_id=app)
    assert "No active session found" in str(refused.value.errors[0].message)

    await kit.publish({"stream_key": made.stream_key})
    kit.clock.now += 5
    await kit.flushed()

    active = await sdk(livestreams.get_active_livestreams_for_livestream_id, made.id, app_id=app)
    assert active.data is not None
    assert active.data.livestream is not None
    assert active.data.session is not None
    assert active.data.livestream.status == "LIVE"
    session = active.data.session.id
    assert session is not None

    details: Any = await sdk(
        livestreams.get_livestream_session_for_livestream_id, made.id, app_id=app, per_page=5
    )
    assert details.data.livestream.id == made.id
    assert details.data.session.id == session
    assert details.data.session.ingest_seconds == 5
    assert details.data.paging.total_count == 1
    assert details.data.ingest_seconds == 5

    one = await sdk(livestreams.get_livestream_session_details_for_session_id, session, app_id=app)
    assert one.data is not None
    assert one.data.livestream_id == made.id

    overall = await sdk(
        livestreams.get_livestream_analytics_complete, app, start_time=0, end_time=4_000_000_000
    )
    assert overall.data is not None
    assert (overall.data.count, overall.data.total_ingest_seconds) == (1, 5)
    days = await sdk(livestreams.get_livestream_analytics_daywise, app)
    assert days.data is not None
    assert [(day.count, day.total_ingest_seconds) for day in days.data] == [(1, 5)]


async def test_the_sdk_lists_and_makes_apps(sdk: Sdk) -> None:
    apps: Any = sdk.client.realtime_kit.apps
    made = await sdk(apps.post, name="second")
    assert made.data.app.name == "second"
    listed = await sdk(apps.get)
    assert [one.name for one in listed.data] == ["default", "second"]
    with pytest.raises(cloudflare.ConflictError):
        await sdk(apps.post, name="second")


async def test_the_sdk_tells_refusals_apart(sdk: Sdk) -> None:
    livestreams, app = sdk.client.realtime_kit.livestreams, sdk.kit.app_id
    with pytest.raises(cloudflare.BadRequestError) as wrong:
        await sdk(livestreams.create_independent_livestream, app, name="no spaces")
    assert wrong.value.errors[0].code == 400
    sdk.client.api_token = "sct_wrong"
    with pytest.raises(cloudflare.AuthenticationError):
        await sdk(livestreams.get_all_livestreams, app)
