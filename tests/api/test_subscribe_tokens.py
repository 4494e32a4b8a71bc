"""Subscribe tokens over REST."""

from tests.api.conftest import App, data, refusal

PATH = "/api/subscribe_token"


async def test_new_token_is_read_listed_changed_and_deleted(app: App) -> None:
    token = await app.subscribe_token(tracking={"trackingId": "t1"}, allowedOrigins=["demo.com"])
    assert len(token["token"]) == 64
    assert token["tracking"] == {"trackingId": "t1"}
    assert data(await app.client.get(f"{PATH}/{token['id']}")) == token
    assert data(await app.client.get(f"{PATH}/list?page=1&itemsOnPage=10")) == [token]
    assert data(await app.client.get(f"{PATH}/list_by_name?name=view")) == [token]
    changed = data(
        await app.client.put(f"/api/v2/subscribe_token/{token['id']}", json={"tracking": None})
    )
    assert changed == {**token, "tracking": None}
    changed = data(await app.client.put(f"{PATH}/{token['id']}", json={"updateAllowedOrigins": []}))
    assert changed["allowedOrigins"] == []
    assert data(await app.client.delete(f"{PATH}/{token['id']}")) is True
    gone = await app.client.get(f"{PATH}/{token['id']}")
    assert refusal(gone, 404) == {"tokenId": f"No subscribe token with id: {token['id']}"}


async def test_field_that_cannot_be_honoured_is_refused_by_name(app: App) -> None:
    for fields, named in [
        ({"originCluster": "fra-1"}, "originCluster"),
        ({"allowedCountries": ["DE"]}, "allowedCountries"),
        ({"tracking": {"trackingId": "x" * 129}}, "tracking.trackingId"),
        ({"record": False}, "record"),
    ]:
        body = {"label": "x", "streams": [{"streamName": ".*", "isRegex": True}], **fields}
        assert list(refusal(await app.client.post(PATH, json=body), 400)["errors"]) == [named]


async def test_publish_and_subscribe_tokens_are_not_interchangeable(app: App) -> None:
    publish, subscribe = await app.publish_token(), await app.subscribe_token()
    assert (await app.whip(subscribe["token"])).status_code == 401
    await app.go_live(publish["token"])
    assert (await app.whep(Authorization=f"Bearer {publish['token']}")).status_code == 401
    assert (await app.whep(Authorization=f"Bearer {subscribe['token']}")).status_code == 201


async def test_deleting_ends_its_viewers_only(app: App) -> None:
    publish, subscribe = await app.publish_token(), await app.subscribe_token()
    feed = await app.go_live(publish["token"])
    await app.whep()
    await app.whep(Authorization=f"Bearer {subscribe['token']}")
    assert len(app.core.sessions) == 3
    data(await app.client.delete(f"{PATH}/{subscribe['id']}"))
    await app.settle()
    assert len(app.core.sessions) == 2
    assert feed in app.core.sessions
