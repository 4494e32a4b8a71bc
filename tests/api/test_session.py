"""Logging in, CSRF, the one-time password, API secrets."""

import httpx2
import pytest

from stagecast.accounts.access import COOKIE
from tests.api.conftest import PASSWORD, App, MakeApp, data, refusal


async def log_in(app: App, password: str, email: str = "admin@localhost"):
    return await app.visitor().post("/api/session", json={"email": email, "password": password})


async def test_wrong_password_and_unknown_email_are_refused_alike(app: App) -> None:
    wrong = await log_in(app, "wrong")
    unknown = await log_in(app, "wrong", "nobody@localhost")
    assert refusal(wrong, 401) == refusal(unknown, 401)
    assert COOKIE not in wrong.cookies


async def test_cookie_is_out_of_reach_of_scripts_and_other_sites(app: App) -> None:
    answer = await log_in(app, PASSWORD)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    secure = app.visitor()
    secure.base_url = "https://test"
    answer = await secure.post(
        "/api/session", json={"email": "admin@localhost", "password": PASSWORD}
    )
    assert "Secure" in answer.headers["set-cookie"]


async def test_email_is_compared_without_case(app: App) -> None:
    assert (await log_in(app, PASSWORD, " Admin@LOCALHOST ")).status_code == 200


async def test_one_time_password_must_be_changed_before_anything_else(make_app: MakeApp) -> None:
    app = await make_app()
    first = app.state.first_admin
    login = {"email": first.email, "password": first.password}
    session = data(await app.client.post("/api/session", json=login))
    assert session["user"]["mustChangePassword"] is True
    app.client.headers["X-CSRF-Token"] = session["csrfToken"]
    for path in ("/api/secret", "/api/server", "/api/publish_token/active/all", "/api/events"):
        assert "one-time password" in refusal(await app.client.get(path), 403)["message"]
    change = {"currentPassword": first.password, "newPassword": PASSWORD}
    changed = data(await app.client.put("/api/session/password", json=change))
    assert changed["user"]["mustChangePassword"] is False
    data(await app.client.get("/api/secret"))
    assert refusal(await log_in(app, first.password), 401)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currentPassword": "wrong", "newPassword": "another good one"}, "currentPassword"),
        ({"currentPassword": PASSWORD, "newPassword": PASSWORD}, "newPassword"),
        ({"currentPassword": PASSWORD, "newPassword": "short"}, "newPassword"),
    ],
)
async def test_bad_new_password_is_refused_by_field(
    app: App, change: dict[str, str], field: str
) -> None:
    answer = await app.client.put("/api/session/password", json=change)
    assert list(refusal(answer, 400)["errors"]) == [field]


async def test_changing_the_password_ends_other_sessions_only(app: App) -> None:
    other = app.visitor()
    data(await other.post("/api/session", json={"email": "admin@localhost", "password": PASSWORD}))
    change = {"currentPassword": PASSWORD, "newPassword": "another good one"}
    data(await app.client.put("/api/session/password", json=change))
    refusal(await other.get("/api/session"), 401)
    data(await app.client.get("/api/session"))


async def test_logout_ends_the_session(app: App) -> None:
    cookie = app.client.cookies[COOKIE]
    data(await app.client.delete("/api/session"))
    thief = app.visitor()
    thief.cookies.set(COOKIE, cookie)
    refusal(await thief.get("/api/session"), 401)


async def test_expired_session_is_refused(make_app: MakeApp) -> None:
    app = await make_app(accounts__session_lifetime="0s")
    first = app.state.first_admin
    data(
        await app.client.post(
            "/api/session", json={"email": first.email, "password": first.password}
        )
    )
    app.client.cookies.set(COOKIE, "whatever was sent")
    refusal(await app.client.get("/api/session"), 401)


@pytest.mark.parametrize("token", [b"", b"wrong", b"\xe9"])
async def test_call_that_changes_something_needs_the_csrf_token(app: App, token: bytes) -> None:
    app.client.headers = httpx2.Headers([(b"X-CSRF-Token", token)])
    body = {"label": "x", "streams": [{"streamName": "demo"}]}
    assert (
        "X-CSRF-Token"
        in refusal(await app.client.post("/api/publish_token", json=body), 403)["message"]
    )
    refusal(await app.client.delete("/api/session"), 403)
    data(await app.client.get("/api/publish_token/list?page=1&itemsOnPage=10"))


async def test_failed_logins_are_throttled_by_address(make_app: MakeApp) -> None:
    app = await make_app(accounts__login_attempts=2)
    for _ in range(2):
        refusal(await log_in(app, "wrong"), 401)
    answer = await log_in(app, app.state.first_admin.password)
    assert int(answer.headers["Retry-After"]) > 800
    assert "Too many failed logins" in refusal(answer, 429)["message"]
    elsewhere = app.visitor("192.0.2.7")
    login = {"email": "admin@localhost", "password": app.state.first_admin.password}
    data(await elsewhere.post("/api/session", json=login))


async def test_api_secret_is_shown_once_and_stored_as_a_hash(app: App) -> None:
    created = data(await app.client.post("/api/secret", json={"label": " robots "}))
    assert created["label"] == "robots"
    listed = data(await app.client.get("/api/secret"))[-1]
    assert "secret" not in listed
    assert created["secret"].startswith(listed["prefix"])
    database = b"".join(
        path.read_bytes() for path in app.state.database.path.parent.glob("stagecast.db*")
    )
    assert created["secret"].encode() not in database


async def test_deleted_secret_opens_nothing(app: App) -> None:
    robot = app.visitor()
    robot.headers["Authorization"] = f"Bearer {app.secret}"
    data(await robot.get("/api/publish_token/active/all"))
    (secret,) = data(await app.client.get("/api/secret"))
    data(await app.client.delete(f"/api/secret/{secret['id']}"))
    refusal(await robot.get("/api/publish_token/active/all"), 401)
    assert "secretId" in refusal(await app.client.delete(f"/api/secret/{secret['id']}"), 404)


async def test_secret_cannot_use_the_dashboards_own_calls(app: App) -> None:
    robot = app.visitor()
    robot.headers["Authorization"] = f"Bearer {app.secret}"
    for path in ("/api/secret", "/api/server", "/api/events", "/api/session"):
        refusal(await robot.get(path), 401)


async def test_wrong_bearer_is_not_saved_by_a_cookie(app: App) -> None:
    answer = await app.client.get(
        "/api/publish_token/active/all", headers={"Authorization": "Bearer no"}
    )
    refusal(answer, 401)


async def test_use_of_a_secret_is_written_by_the_housekeeping(app: App) -> None:
    robot = app.visitor()
    robot.headers["Authorization"] = f"Bearer {app.secret}"
    data(await robot.get("/api/publish_token/active/all"))
    assert data(await app.client.get("/api/secret"))[0]["lastUsedOn"] is None
    await app.state.housekeeping.flush()
    assert data(await app.client.get("/api/secret"))[0]["lastUsedOn"] is not None


async def test_server_tells_its_addresses(make_app: MakeApp) -> None:
    app = await make_app(public_url="https://live.example.org/")
    await app.log_in()
    server = data(await app.client.get("/api/server"))
    assert server["whipUrl"] == "https://live.example.org/api/whip"
    assert server["whepUrl"] == f"https://live.example.org/api/whep/{app.account}"
    assert server["mediaPort"] == 8189
