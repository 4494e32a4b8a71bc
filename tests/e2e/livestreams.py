"""The livestream API of a running server, as a program uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2

from tests.e2e.server import Api, Server, Token


@dataclass(frozen=True)
class Livestream:
    """A livestream as it was made."""

    account: str
    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return self.fields["id"]

    @property
    def key(self) -> str:
        return self.fields["stream_key"]

    def whip_token(self, server: Server) -> Token:
        """Its key in the place of a publish token, for WHIP."""
        return Token(server, self.id, "", self.account, self.key)


class Livestreams:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def call(self, method: str, path: str = "", **options: Any) -> Any:
        api = self._api
        url = f"{api.url}/livestreams{path}"
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {api.token}"}) as client:
            answer = await client.request(method, url, **options)
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        return answer.json()["data"]

    async def create(self, name: str) -> Livestream:
        return Livestream(self._api.account, await self.call("POST", json={"name": name}))

    async def get(self, livestream: Livestream) -> Any:
        return await self.call("GET", f"/{livestream.id}")

    async def status(self, livestream: Livestream) -> str:
        return (await self.get(livestream))["status"]
