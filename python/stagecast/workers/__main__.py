"""`python -m stagecast.workers SOCKET STREAM SOURCE FROM TO [LADDER]`: transcode sound or pictures of one source.

Pictures become the rungs of a ladder; LADDER is its JSON: `heights`, `preset`, `gpu`.
"""

import json
import signal
import sys

from stagecast.workers.connection import Connection

_ARGUMENTS = 6


def main() -> int:
    if len(sys.argv) not in {_ARGUMENTS, _ARGUMENTS + 1}:
        print(__doc__, file=sys.stderr)
        return 2
    # The server's Ctrl+C is not ours: it ends us when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket, stream, source, decoded, encoded, *ladder = sys.argv[1:]
    with Connection.open(socket) as connection:
        connection.hello(stream, source or None, decoded, encoded)
        if ladder:
            _run_ladder(connection, decoded, ladder[0])
        else:
            _run_sound(connection, decoded, encoded)
    return 0


# Each process loads what it needs.


def _run_sound(connection: Connection, decoded: str, encoded: str) -> None:
    from stagecast.workers.transcode import run  # noqa: PLC0415

    run(connection, decoded, encoded)


def _run_ladder(connection: Connection, decoded: str, wish: str) -> None:
    from stagecast.workers.ladder import Wish, run  # noqa: PLC0415

    chosen = json.loads(wish)
    run(connection, decoded, Wish(tuple(chosen["heights"]), chosen["preset"], chosen["gpu"]))


sys.exit(main())
