"""The data directory, ready for use: schema up to date, key file in place."""

from pathlib import Path

from stagecast.db.database import Database
from stagecast.db.migrate import start_lock, upgrade
from stagecast.errors import StartError
from stagecast.kit.secret import Vault
from stagecast.settings import Settings

VAULT_KEY = "vault.key"


def open_store(settings: Settings) -> tuple[Database, Vault]:
    """Prepare the data directory and open it; several processes may do so at the same time."""
    data: Path = settings.data
    try:
        with start_lock(data):
            upgrade(settings.database_path)
            vault = Vault.open_or_create(settings.keys_dir / VAULT_KEY)
    except OSError as error:
        raise StartError(
            f"The data directory {data} cannot be used: {error}. Choose another with --data."
        ) from error
    return Database(settings.database_path, settings.database.busy_timeout), vault
