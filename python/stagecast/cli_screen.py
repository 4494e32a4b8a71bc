"""What commands show while they run: figures that move on a terminal, and lines in a pipe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

Cells = Sequence[tuple[str, str]]
"""Names and values, in the order in which they stand."""


class Screen:
    """A live table on a terminal, plain lines into a pipe, nothing when it is to be quiet."""

    def __init__(self, *, quiet: bool, stays: bool = True) -> None:
        """``stays``: the table is still there at the end."""
        from rich.console import Console  # noqa: PLC0415  (--help needs none of it)
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=not stays)
        self._moving = self._console.is_terminal and not quiet

    def __enter__(self) -> None:
        if self._moving:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._moving:
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text)

    def show(self, cells: Cells) -> None:
        if self._moving:
            self._live.update(_table(cells), refresh=True)
        else:
            self.say("  ".join(f"{name} {value}" for name, value in cells))


def _table(cells: Cells) -> "Table":
    from rich.table import Table  # noqa: PLC0415

    # It fits 80 columns.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name, _ in cells:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(value for _, value in cells))
    return table
