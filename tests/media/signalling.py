"""WHIP and WHEP over HTTP in the fewest lines, in front of an engine: for testing clients, not servers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from stagecast import _core
from tests.media.house import STREAM, House

TOKEN = "secret"
_STATUS = {"stream.not_live": 409, "sdp.no_common_codec": 406}


class Signalling:
    """Answers `/whip` and `/whep`; a token is asked for. `refuse` makes it answer that status instead."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.deleted: list[str] = []
        self.posts = 0
        self.refuse: int | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.posts += 1
                if outer.refuse is not None:
                    self._answer(outer.refuse, "not now")
                elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._answer(401, "Unauthorized")
                else:
                    self._negotiate(offer)

            def do_DELETE(self) -> None:
                session = self.path.rpartition("/")[2]
                outer.deleted.append(session)
                found = outer.house.engine.end_session(session, "deleted")
                self._answer(200 if found else 404, "")

            def _negotiate(self, offer: str) -> None:
                engine = outer.house.engine
                try:
                    if self.path == "/whip":
                        answer = engine.publish(stream=STREAM, source=None, offer=offer, local=True)
                    else:
                        answer = engine.view(stream=STREAM, source=None, offer=offer, local=True)
                except _core.CoreError as error:
                    self._answer(_STATUS.get(error.code, 400), error.detail)
                else:
                    self._answer(201, answer.sdp, Location=f"/session/{answer.session}")

            def _answer(self, status: int, text: str, **headers: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def whip(self) -> str:
        return f"{self.url}/whip"

    @property
    def whep(self) -> str:
        return f"{self.url}/whep"
