"""Housekeeping of accounts: write when secrets were used, drop expired login sessions."""

import asyncio

import structlog

from stagecast.accounts.passwords import PasswordChecker
from stagecast.accounts.service import AccountService, SecretUses
from stagecast.db.database import Database
from stagecast.settings import AccountSettings

_log = structlog.stdlib.get_logger(__name__)
_EVERY_SECONDS = 60


class AccountHousekeeping:
    def __init__(self, database: Database, settings: AccountSettings, uses: SecretUses) -> None:
        self._database = database
        self._settings = settings
        self._uses = uses
        self._passwords = PasswordChecker()

    async def run(self) -> None:
        """Run until cancelled; `flush` once more afterwards loses nothing."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  (the next minute tries again)
                _log.exception("accounts.housekeeping_failed")

    async def flush(self) -> None:
        used = self._uses.take()
        try:
            async with self._database.work() as session:
                accounts = AccountService(session, self._settings, self._passwords)
                await accounts.write_secret_uses(used)
                await accounts.drop_expired_sessions()
        except BaseException:
            self._uses.put_back(used)
            raise
