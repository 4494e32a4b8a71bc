"""``python -m stagecast`` is the ``stagecast`` command."""

from stagecast.cli import app

app()
