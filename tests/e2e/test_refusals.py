"""What is refused, and that nobody else notices."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import httpx2

from tests.e2e.conftest import Open
from tests.e2e.deadline import until
from tests.e2e.server import EMPTY_OFFER, Server
from tests.e2e.watching import publishes, sees, watches


async def offer(url: str, token: str | None, body: str | bytes = EMPTY_OFFER) -> httpx2.Response:
    headers = {"Content-Type": "application/sdp"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx2.AsyncClient() as client:
        return await client.post(url, content=body, headers=headers)


async def test_publishing_needs_a_token_that_fits(server: Server) -> None:
    token = await server.own_token("guarded")
    assert (await offer(token.whip, None)).status_code == 401
    assert (await offer(token.whip, "wrong")).status_code == 401
    other = f"{server.url}/api/whip/another-stream"
    assert (await offer(other, token.secret)).status_code in {401, 403}
    # With the right one the offer itself is judged.
    assert (await offer(token.whip, token.secret)).status_code == 400


async def test_a_disabled_token_opens_nothing_until_it_is_enabled(server: Server) -> None:
    token = await server.own_token("disabled")
    await server.cli("token", "disable", token.id)
    refused = await offer(token.whip, token.secret)
    assert refused.status_code in {401, 403}
    assert refused.headers["content-type"].startswith("text/plain")
    await server.cli("token", "enable", token.id)
    assert (await offer(token.whip, token.secret)).status_code == 400


async def test_an_expired_token_opens_nothing(server: Server) -> None:
    token = await server.own_token("expired", "--stream", "expired", "--expires", "1")

    async def refused() -> bool:
        return (await offer(token.whip, token.secret)).status_code in {401, 403}

    await until(refused, what="the token is expired")


async def test_a_deleted_token_opens_nothing(server: Server) -> None:
    token = await server.own_token("deleted")
    await server.cli("token", "delete", token.id)
    assert (await offer(token.whip, token.secret)).status_code == 401


async def test_hostile_offers_and_datagrams_disturb_no_viewer(server: Server, rtc: Open) -> None:
    token = await server.token("undisturbed")
    publisher, viewer = await asyncio.gather(rtc(), rtc())
    await publishes(publisher, token.whip, token.secret, codec="vp8")
    await watches(viewer, token.whep)

    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    bodies: list[tuple[bytes, set[int]]] = [
        (b"", {400}),
        (b"v=0\r\n", {400}),
        (dice.randbytes(2_000), {400}),
        (b"v=0\r\n" + b"a=x\r\n" * 100_000, {400, 413}),
        (b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 500, {400}),
    ]
    for body, allowed in bodies:
        answer = await offer(token.whep, None, body)
        assert answer.status_code in allowed, (body[:40], answer.text)
        assert answer.headers["content-type"].startswith("text/plain")
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        for first in (0, 1, 20, 22, 63, 64, 127, 128, 191, 200, 205, 255):
            for size in (1, 11, 12, 20, 28, 200, 1_200, 1_472):
                udp.sendto(
                    bytes([first]) + dice.randbytes(size - 1), ("127.0.0.1", server.media_port)
                )
    with socket.create_connection(("127.0.0.1", server.media_port), timeout=5) as tcp:
        tcp.sendall(os.urandom(4_000))
    seen = await sees(viewer, frames=45)
    assert seen["video"]["packetsLost"] == 0
