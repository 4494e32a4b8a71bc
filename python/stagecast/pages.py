"""The web apps: three pages and their assets, from the build in `web_dist`.

``/broadcaster`` and ``/viewer`` are pages of their own; every other path without a dot is the dashboard,
whose router reads it. Assets carry a hash in their name and never change; pages are checked each time.
Only the viewer may be put in a frame of another site.
"""

from collections.abc import Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from stagecast.kit.dialects import REALTIME_PREFIXES

WEB_DIST = Path(__file__).parent / "web_dist"
_PAGES = {"/broadcaster": "broadcaster.html", "/viewer": "viewer.html"}
#: Where the hosted viewer learns at which address HLS is played.
_PLAYBACK = "/viewer/playback.json"
_IMMUTABLE = "public, max-age=31536000, immutable"
_NOT_BUILT = (
    "<!doctype html><meta charset=utf-8><title>Stagecast</title>"
    "<p>The server runs; its web apps are not built. Run <code>make web</code> and reload."
)


def page_headers(path: str, hls: str) -> dict[str, str]:
    """Security headers of the pages: no foreign code, no foreign frames but around the viewer.

    ``hls`` is what the viewer may fetch playlists and segments from.
    """
    viewer = path == "/viewer"
    fetched = f"'self' {hls}" if viewer else "'self'"
    images = "img-src 'self' data: blob: https:" if viewer else "img-src 'self' data: blob:"
    ancestors = "*" if viewer else "'none'"
    policy = (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        f"{images}; media-src 'self' blob: mediastream:; worker-src 'self' blob:; connect-src {fetched}; "
        "font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        f"frame-ancestors {ancestors}"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    }
    if not viewer:
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return headers


class Pages:
    """The ASGI application behind every path that no endpoint has.

    ``playback`` says under which address the player of a request reaches HLS.
    """

    def __init__(self, playback: Callable[[Request], str], root: Path = WEB_DIST) -> None:
        self._playback = playback
        self._root = root
        self._files: ASGIApp = GZipMiddleware(
            _Files(directory=root, check_dir=False), minimum_size=1024, compresslevel=6
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["type"] != "http" or path.startswith(("/api/", *REALTIME_PREFIXES)):
            raise HTTPException(404, "There is nothing at this address.")
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, "Pages are read with GET.", {"Allow": "GET, HEAD"})
        if path == _PLAYBACK:
            answer = JSONResponse({"hls": self._playback(Request(scope))})
            await answer(scope, receive, send)
            return
        name = self._file_of(path)
        if name == "index.html" and not (self._root / name).is_file():
            await HTMLResponse(_NOT_BUILT, 503)(scope, receive, send)
            return
        scope = {**scope, "path": f"/{name}", "root_path": ""}
        await self._files(scope, receive, send)

    def _file_of(self, path: str) -> str:
        page = _PAGES.get(path.rstrip("/"))
        if page is not None:
            return page
        return path.lstrip("/") if "." in path.rpartition("/")[2] else "index.html"


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        immutable = path.startswith("assets/") and response.status_code in {200, 206, 304}
        response.headers["Cache-Control"] = _IMMUTABLE if immutable else "no-cache"
        return response
