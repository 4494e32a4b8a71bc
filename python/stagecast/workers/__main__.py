"""`python -m stagecast.workers SOCKET STREAM SOURCE FROM TO`: transcode the audio of one source."""

import signal
import sys

from stagecast.workers.connection import Connection
from stagecast.workers.transcode import run

_ARGUMENTS = 6


def main() -> int:
    if len(sys.argv) != _ARGUMENTS:
        print(__doc__, file=sys.stderr)
        return 2
    # The server's Ctrl+C is not ours: it ends us when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    socket, stream, source, decoded, encoded = sys.argv[1:]
    with Connection.open(socket) as connection:
        connection.hello(stream, source or None, decoded, encoded)
        run(connection, decoded, encoded)
    return 0


sys.exit(main())
