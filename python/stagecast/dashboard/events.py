"""The dashboard's server-sent events: one reader a browser tab, fed from live streams, figures and tokens.

Each account's figures are put into words once a second and shared by its readers. A reader that cannot
keep up is closed and reconnects into a fresh state.
"""

import asyncio
from collections.abc import AsyncIterator

from stagecast import __version__
from stagecast.accounts.passwords import PasswordChecker
from stagecast.accounts.service import AccountService
from stagecast.db.database import Database
from stagecast.kit.fanout import Fanout
from stagecast.kit.sse import KEEP_ALIVE, KEEP_ALIVE_SECONDS, frame
from stagecast.media.figures import Figures
from stagecast.settings import AccountSettings
from stagecast.streams.live import LiveStreams
from stagecast.streams.schemas import HelloEvent, TokenEvent
from stagecast.streams.service import StreamService, monitored
from stagecast.tokens.service import TokenChanged

_CAPACITY = 512


class DashboardEvents:
    def __init__(
        self,
        streams: StreamService,
        live: LiveStreams,
        database: Database,
        settings: AccountSettings,
    ) -> None:
        self._streams = streams
        self._live = live
        self._database = database
        self._settings = settings
        self._passwords = PasswordChecker()
        self._readers: dict[str, Fanout[str]] = {}

    def on_figures(self, _figures: Figures) -> None:
        """Send the last second's figures to every account that has a reader."""
        for account_id in [
            account_id for account_id, readers in self._readers.items() if not len(readers)
        ]:
            del self._readers[account_id]
        for account_id, readers in self._readers.items():
            readers.publish(
                frame(
                    "figures",
                    self._streams.figures(account_id).model_dump(mode="json", by_alias=True),
                )
            )

    def close(self) -> None:
        for readers in self._readers.values():
            readers.close()

    async def frames(self, account_id: str, cookie: str | None) -> AsyncIterator[str]:
        """All events of an account until its reader falls behind, logs out or the server drains."""
        readers = self._readers.setdefault(account_id, Fanout[str]())
        subscription = readers.subscribe(_CAPACITY)
        try:
            yield frame(
                "hello", HelloEvent(version=__version__).model_dump(mode="json", by_alias=True)
            )
            for stream in self._streams.live(account_id):
                yield self._stream_frame(stream.key) or ""
            clock = asyncio.get_running_loop().time
            checked = clock()
            while True:
                text = await subscription.next(KEEP_ALIVE_SECONDS)
                if text is not None:
                    yield text
                elif subscription.closed:
                    return
                if clock() - checked >= KEEP_ALIVE_SECONDS:
                    if not await self._still_logged_in(cookie):
                        return
                    checked = clock()
                    yield KEEP_ALIVE
        finally:
            subscription.close()

    def on_stream(self, account_id: str, key: str) -> None:
        """Tell the account's readers that a stream started, ended or changed."""
        readers = self._readers.get(account_id)
        if readers is not None and (text := self._stream_frame(key)) is not None:
            readers.publish(text)

    def on_token(self, changed: TokenChanged) -> None:
        readers = self._readers.get(changed.account_id)
        if readers is not None:
            event = TokenEvent(
                token_id=changed.token.id, token_type=changed.token.type, change=changed.change
            )
            readers.publish(frame("token", event.model_dump(mode="json", by_alias=True)))

    async def _still_logged_in(self, cookie: str | None) -> bool:
        async with self._database.work() as session:
            accounts = AccountService(session, self._settings, self._passwords)
            return await accounts.logged_in(cookie) is not None

    def _stream_frame(self, key: str) -> str | None:
        stream = self._live.get(key)
        return (
            frame("stream", monitored(stream).model_dump(mode="json", by_alias=True))
            if stream
            else None
        )
