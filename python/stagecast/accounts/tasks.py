"""Housekeeping of accounts: write when credentials were used, drop expired login sessions."""

import asyncio

import structlog

from stagecast.accounts.passwords import PasswordChecker
from stagecast.accounts.service import AccountService, CredentialUses
from stagecast.db.database import Database
from stagecast.settings import AccountSettings

_log = structlog.stdlib.get_logger(__name__)
_EVERY_SECONDS = 60


class AccountHousekeeping:
    def __init__(
        self,
        database: Database,
        settings: AccountSettings,
        secrets: CredentialUses,
        tokens: CredentialUses,
    ) -> None:
        self._database = database
        self._settings = settings
        self._secrets = secrets
        self._tokens = tokens
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
        secrets, tokens = self._secrets.take(), self._tokens.take()
        try:
            async with self._database.work() as session:
                accounts = AccountService(session, self._settings, self._passwords)
                await accounts.write_secret_uses(secrets)
                await accounts.write_token_uses(tokens)
                await accounts.drop_expired_sessions()
        except BaseException:
            self._secrets.put_back(secrets)
            self._tokens.put_back(tokens)
            raise
