"""Health, metrics, pages, security headers, proxies."""

from pathlib import Path

import pytest

from stagecast import pages
from tests.api.conftest import App, MakeApp, data


async def test_health_and_readiness(app: App) -> None:
    visitor = app.visitor()
    assert (await visitor.get("/healthz")).json() == {"status": "ok"}
    assert (await visitor.get("/readyz")).json() == {"status": "ready"}
    app.state.draining = True
    refused = await visitor.get("/readyz")
    assert refused.status_code == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["status"] == 503
    assert (await visitor.get("/healthz")).status_code == 200


async def test_metrics_are_for_this_machine_or_an_api_secret(app: App) -> None:
    assert "stagecast_info" in (await app.visitor().get("/metrics")).text
    far = app.visitor("203.0.113.1")
    assert (await far.get("/metrics")).status_code == 403
    assert (await far.get("/metrics", headers={"Authorization": "Bearer sc_no"})).status_code == 403
    far.headers["Authorization"] = f"Bearer {app.secret}"
    assert (await far.get("/metrics")).status_code == 200


async def test_requests_are_counted_by_route_and_not_by_address(app: App) -> None:
    for name in ("a", "b", "c"):
        await app.visitor().get(f"/api/monitoring/streams/{name}")
        await app.visitor().get(f"/nothing/{name}.js")
    page = (await app.visitor().get("/metrics")).text
    assert 'route="/api/monitoring/streams/{streamName}"' in page
    assert "/nothing" not in page


async def test_unexpected_failure_is_told_without_its_details(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_account: str) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(app.state.live, "publishing_tokens", fail)
    answer = await app.client.get("/api/publish_token/active/all")
    assert answer.status_code == 500
    assert answer.json()["status"] == "error"
    assert "secret reason" not in answer.text


async def test_large_json_is_refused(app: App) -> None:
    answer = await app.client.post("/api/publish_token", json={"label": "x" * (2 << 20)})
    assert answer.status_code == 413
    assert answer.json()["status"] == "fail"


async def test_unknown_addresses_are_not_found_in_their_dialect(app: App) -> None:
    visitor = app.visitor()
    api = await visitor.get("/api/nothing")
    assert (api.status_code, api.json()["status"]) == (404, "fail")
    file = await visitor.get("/nothing.js")
    assert (file.status_code, file.headers["Content-Type"]) == (404, "application/problem+json")
    posted = await visitor.post("/somewhere")
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")


async def test_client_address_is_believed_from_trusted_proxies_only(make_app: MakeApp) -> None:
    app = await make_app(http__trusted_proxies=["10.0.0.0/8"])
    await app.log_in()
    token = await app.publish_token(allowedIpAddresses=["192.0.2.5"])
    headers = {
        "Content-Type": "application/sdp",
        "Authorization": f"Bearer {token['token']}",
        "X-Forwarded-For": "192.0.2.5",
    }
    for peer, status in [("10.1.1.1", 201), ("203.0.113.1", 403)]:
        answer = await app.visitor(peer).post("/api/whip/demo", content="v=0", headers=headers)
        assert answer.status_code == status
    cookie = await app.visitor("10.1.1.1").post(
        "/api/session",
        json={"email": "admin@localhost", "password": "correct horse battery"},
        headers={"X-Forwarded-Proto": "https"},
    )
    assert "Secure" in cookie.headers["set-cookie"]


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build of the web apps with one of each kind of file."""
    root = tmp_path / "web_dist"
    (root / "assets").mkdir(parents=True)
    for name in ("index.html", "broadcaster.html", "viewer.html"):
        (root / name).write_text(name)
    (root / "assets" / "app-1a2b.js").write_text("x" * 4096)
    (tmp_path / "outside.txt").write_text("outside")
    monkeypatch.setattr(pages.Pages.__init__, "__defaults__", (root,))
    return root


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/", "index.html"),
        ("/tokens/5", "index.html"),
        ("/index.html", "index.html"),
        ("/broadcaster", "broadcaster.html"),
        ("/viewer?streamId=a/b.c", "viewer.html"),
    ],
)
async def test_path_leads_to_its_page(web: Path, make_app: MakeApp, path: str, page: str) -> None:
    answer = await (await make_app()).visitor().get(path)
    assert (answer.status_code, answer.text) == (200, page)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    framed = page == "viewer.html"
    assert ("frame-ancestors *" in policy) is framed
    assert ("X-Frame-Options" in answer.headers) is not framed


async def test_assets_never_change_and_are_compressed(web: Path, make_app: MakeApp) -> None:
    visitor = (await make_app()).visitor()
    answer = await visitor.get("/assets/app-1a2b.js")
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Encoding"] == "gzip"
    missing = await visitor.get("/assets/old.js")
    assert missing.status_code == 404
    assert "immutable" not in missing.headers.get("Cache-Control", "")


@pytest.mark.parametrize(
    "path",
    ["/../outside.txt", "/%2e%2e/outside.txt", "/assets/..%2f..%2foutside.txt", "//etc/passwd.x"],
)
async def test_no_file_outside_the_build_is_served(web: Path, make_app: MakeApp, path: str) -> None:
    answer = await (await make_app()).visitor().get(path)
    assert answer.text != "outside"
    assert answer.status_code == 404


async def test_missing_build_is_explained(make_app: MakeApp, web: Path) -> None:
    (web / "index.html").unlink()
    answer = await (await make_app()).visitor().get("/")
    assert answer.status_code == 503
    assert "not built" in answer.text


async def test_openapi_is_public_and_the_api_is_not_cached(app: App) -> None:
    assert (await app.visitor().get("/openapi.json")).json()["openapi"].startswith("3.")
    answer = await app.client.get("/api/secret")
    assert answer.headers["Cache-Control"] == "no-store"
    assert data(answer)
