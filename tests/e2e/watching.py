"""What it means to watch: frames are decoded, the picture moves, sound is heard."""

from __future__ import annotations

from typing import Any

from tests.e2e.browser import Page

Report = dict[str, Any]

# The peer has ended the connection by a message. Silence alone is noticed later, and shows as another state.
OVER = "async () => (await report()).dtls === 'closed'"


async def report(page: Page) -> Report:
    return await page.evaluate("() => report()")


async def publishes(page: Page, url: str, token: str, **wish: Any) -> Report:
    """Publish the fake devices and wait until the media flows."""
    answer = await page.evaluate("(...given) => publish(...given)", url, token, wish)
    assert answer["status"] == 201, answer
    await page.until(
        "async () => (await report()).state === 'connected'", what="the publisher is connected"
    )
    return answer


async def watches(page: Page, url: str, token: str | None = None, **wish: Any) -> Report:
    """Join, and wait until picture and sound are there."""
    # A publisher that has connected is live with its first packet: wait for that.
    patient = f"{url}{'&' if '?' in url else '?'}wait=5"
    answer = await page.evaluate("(...given) => watch(...given)", patient, token, wish)
    assert answer["status"] == 201, answer
    await sees(page)
    await hears(page)
    return answer


async def sees(page: Page, *, frames: int = 15) -> Report:
    """Wait until that many more frames are decoded and the pixels differ."""
    before = await report(page)
    start = before.get("video", {}).get("framesDecoded") or 0
    await page.until(
        "async (wanted) => ((await report()).video?.framesDecoded ?? 0) >= wanted",
        start + frames,
        what=f"{frames} more frames are decoded in {page.engine}",
    )
    await moves(page)
    return await report(page)


async def moves(page: Page) -> None:
    """Wait until the picture is no longer what it was."""
    still = await page.evaluate("() => pixels()")
    await page.until(
        "(still) => pixels().some((value, i) => Math.abs(value - still[i]) > 4)",
        still,
        what=f"the picture moves in {page.engine}",
    )


async def hears(page: Page) -> None:
    """Wait until sound with energy in it is received; the fake microphone beeps once a second."""
    await page.until(
        "async () => ((await report()).audio?.totalAudioEnergy ?? 0) > 0",
        what=f"sound is heard in {page.engine}",
    )
