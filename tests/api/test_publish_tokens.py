"""Publish tokens over REST: fields, refusals, paging, versions of the update, lifecycle."""

from datetime import timedelta
from typing import Any

import pytest

from stagecast.db.database import Database
from stagecast.db.tables import TokenChange
from stagecast.kit.clock import utc_now
from stagecast.tokens import tasks
from stagecast.tokens.repository import OutboxRepository
from tests.api.conftest import App, data, refusal, until

PATH = "/api/publish_token"


async def create(app: App, **fields: Any):
    body = {"label": "studio", "streams": [{"streamName": "demo"}], **fields}
    return await app.client.post(PATH, json=body)


async def test_new_token_has_every_field_of_the_api(app: App) -> None:
    token = await app.publish_token()
    assert len(token["token"]) == 64
    assert token["label"] == token["name"] == "studio"
    assert token["streams"] == [{"streamName": "demo", "isRegex": False}]
    assert token["isActive"] is True
    assert token["expiresOn"] is None
    assert token["addedOn"].endswith("Z")
    off = [
        "record",
        "clip",
        "enableThumbnails",
        "displaySrtPassphrase",
        "drm",
        "subscribeRequiresAuth",
    ]
    assert [token[name] for name in off] == [False] * len(off)
    assert token["multisource"] is True
    assert token["lowLatencyRtmp"] is True
    assert token["enableUTCInsertion"] is None
    assert token["restream"] == token["allowedCountries"] == token["deniedCountries"] == []
    assert token["integrationId"] == "None"
    assert token["effectiveSettings"]["originCluster"] == "auto"
    assert data(await app.client.get(f"{PATH}/{token['id']}")) == token


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"record": True}, "record"),
        ({"record": 0}, "record"),
        ({"clip": True}, "clip"),
        ({"enableThumbnails": True}, "enableThumbnails"),
        ({"displaySrtPassphrase": True}, "displaySrtPassphrase"),
        ({"lowLatencyRtmp": False}, "lowLatencyRtmp"),
        ({"enableUTCInsertion": True}, "enableUTCInsertion"),
        ({"drm": True}, "drm"),
        ({"geoCascade": {"isEnabled": True}}, "geoCascade.isEnabled"),
        ({"restream": [{"url": "rtmp://x", "key": "12345"}]}, "restream"),
        ({"priority": 1}, "priority"),
        ({"encoderProfileId": "x"}, "encoderProfileId"),
        ({"originCluster": "fra-1"}, "originCluster"),
        ({"allowedCountries": ["DE"]}, "allowedCountries"),
        ({"deniedCountries": ["DE"]}, "deniedCountries"),
        ({"label": " "}, "label"),
        ({"label": "x" * 129}, "label"),
        ({"streams": []}, "streams"),
        ({"streams": [{"streamName": "a/b"}]}, "streams.0"),
        ({"streams": [{"streamName": "("}, {"streamName": "(", "isRegex": True}]}, "streams.1"),
        ({"streams": [{"streamName": "x"}] * 101}, "streams"),
        ({"expires": 0}, "expires"),
        ({"expires": 2**31}, "expires"),
        ({"allowedOrigins": ["not an origin"]}, "allowedOrigins.0"),
        ({"allowedIpAddresses": ["1.2.3.4-1.2.3.9"]}, "allowedIpAddresses.0"),
        ({"bindIpsOnUsage": -1}, "bindIpsOnUsage"),
        ({"bindIpsOnUsage": 1, "allowedIpAddresses": ["1.2.3.4"]}, "body"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
async def test_field_that_cannot_be_honoured_is_refused_by_name(
    app: App, fields: dict[str, Any], named: str
) -> None:
    refused = refusal(await create(app, **fields), 400)
    assert refused["message"] == "Validation errors"
    assert list(refused["errors"]) == [named]


@pytest.mark.parametrize(
    "fields",
    [
        {"record": False, "clip": False, "drm": False, "restream": [], "priority": None},
        {"enableUTCInsertion": False},
        {"originCluster": "auto"},
        {"geoCascade": {"isEnabled": False, "clusters": []}},
        {"multisource": False, "subscribeRequiresAuth": True},
        {"ladder": True},
        {"allowedOrigins": ["*.demo.com"], "allowedIpAddresses": ["192.0.2.0/24", "2001:db8::1"]},
        {"bindIpsOnUsage": 3},
    ],
)
async def test_value_that_means_off_or_is_honoured_is_kept(
    app: App, fields: dict[str, Any]
) -> None:
    token = await app.publish_token(**fields)
    assert {name: token[name] for name in fields} == fields
    assert data(await app.client.get(f"{PATH}/{token['id']}")) == token


async def test_body_that_is_not_json_is_refused(app: App) -> None:
    wrong_type = await app.client.post(PATH, content="{}", headers={"Content-Type": "text/plain"})
    assert refusal(wrong_type, 415)["message"] == "Unsupported Media Type"
    none = await app.client.post(PATH, content="{}")
    assert refusal(none, 415)["message"] == "Unsupported Media Type"
    broken = await app.client.post(PATH, content="{", headers={"Content-Type": "application/json"})
    assert refusal(broken, 400)["message"] == "Validation errors"


async def test_unknown_id_is_refused_as_the_api_words_it(app: App) -> None:
    for method, path in [("GET", "/api"), ("DELETE", "/api"), ("PUT", "/api"), ("PUT", "/api/v2")]:
        body = {"label": "x"} if method == "PUT" else None
        answer = await app.client.request(method, f"{path}/publish_token/99", json=body)
        assert refusal(answer, 404) == {"tokenId": "No publish token with id: 99"}


async def test_id_beyond_the_database_is_refused(app: App) -> None:
    refusal(await app.client.get(f"{PATH}/{10**30}"), 400)


@pytest.mark.parametrize(
    "query", ["", "?page=1", "?itemsOnPage=1", "?page=0&itemsOnPage=1", "?page=1&itemsOnPage=101"]
)
async def test_list_needs_a_page(app: App, query: str) -> None:
    refusal(await app.client.get(f"{PATH}/list{query}"), 400)


async def test_list_is_sorted_and_paged(app: App) -> None:
    for label in ("b", "C", "a"):
        await app.publish_token(label=label)

    async def labels(query: str) -> list[str]:
        answer = await app.client.get(f"{PATH}/list?{query}")
        assert answer.headers["X-Total-Count"] == "3"
        return [token["label"] for token in data(answer)]

    assert await labels("page=1&itemsOnPage=2&sortBy=Name") == ["a", "b"]
    assert await labels("page=2&itemsOnPage=2&sortBy=Name") == ["C"]
    assert await labels("page=3&itemsOnPage=2") == []
    assert await labels("page=1&itemsOnPage=9&sortBy=AddedOn&isDescending=true") == ["a", "C", "b"]


async def test_list_by_name_looks_where_it_is_told(app: App) -> None:
    await app.publish_token(label="Studio 100%", streams=[{"streamName": "main"}])
    await app.publish_token(label="main desk", streams=[{"streamName": "other_1"}])

    async def labels(name: str, where: str) -> list[str]:
        query = {"name": name, "filterBy": where}
        return [
            t["label"] for t in data(await app.client.get(f"{PATH}/list_by_name", params=query))
        ]

    assert await labels("MAIN", "TokenName") == ["main desk"]
    assert await labels("main", "StreamName") == ["Studio 100%"]
    assert await labels("main", "TokenOrStreamName") == ["main desk", "Studio 100%"]
    assert await labels("nothing", "None") == ["main desk", "Studio 100%"]
    assert await labels("0%", "TokenName") == ["Studio 100%"]
    assert await labels("_", "TokenOrStreamName") == ["main desk"]


@pytest.mark.parametrize("version", ["/api", "/api/v2"])
async def test_update_changes_what_is_sent_and_nothing_else(app: App, version: str) -> None:
    token = await app.publish_token(allowedOrigins=["a.com"], expires=60)
    changes = {"label": "new", "subscribeRequiresAuth": True, "multisource": False}
    changed = data(await app.client.put(f"{version}/publish_token/{token['id']}", json=changes))
    assert changed == {**token, **changes, "name": "new"}


async def test_versions_of_the_update_name_lists_differently(app: App) -> None:
    token = await app.publish_token()
    first, second = f"{PATH}/{token['id']}", f"/api/v2/publish_token/{token['id']}"
    changed = data(await app.client.put(first, json={"updateAllowedOrigins": ["a.com"]}))
    assert changed["allowedOrigins"] == ["a.com"]
    changed = data(await app.client.put(second, json={"allowedOrigins": []}))
    assert changed["allowedOrigins"] == []
    assert (
        "allowedOrigins"
        in refusal(await app.client.put(first, json={"allowedOrigins": []}), 400)["errors"]
    )
    wrong = await app.client.put(second, json={"updateAllowedOrigins": []})
    assert "updateAllowedOrigins" in refusal(wrong, 400)["errors"]
    assert (
        data(await app.client.put(first, json={"updateBindIpsOnUsage": 2}))["bindIpsOnUsage"] == 2
    )
    both = await app.client.put(first, json={"updateAllowedIpAddresses": ["192.0.2.1"]})
    assert "bindIpsOnUsage" in refusal(both, 400)["errors"]


async def test_update_without_properties_is_refused(app: App) -> None:
    token = await app.publish_token()
    answer = await app.client.put(f"{PATH}/{token['id']}", json={})
    assert refusal(answer, 400) == {"token": "No properties specified to update."}


async def test_streams_are_added_and_removed_by_name(app: App) -> None:
    token = await app.publish_token()
    path = f"/api/v2/publish_token/{token['id']}"

    async def change(**fields: Any) -> Any:
        return await app.client.put(path, json=fields)

    added = data(await change(addTokenStreams=[{"streamName": "cam-.*", "isRegex": True}]))
    assert [stream["streamName"] for stream in added["streams"]] == ["demo", "cam-.*"]
    removed = data(await change(removeTokenStreams=["demo"]))
    assert removed["streams"] == [{"streamName": "cam-.*", "isRegex": True}]
    refusal(await change(removeTokenStreams=["demo"]), 400)
    refusal(await change(removeTokenStreams=["cam-.*"]), 400)
    refusal(await change(addTokenStreams=[{"streamName": f"s{n}"} for n in range(100)]), 400)
    assert data(await app.client.get(f"{PATH}/{token['id']}"))["streams"] == removed["streams"]


async def test_refreshed_token_replaces_the_old_secret(app: App) -> None:
    token = await app.publish_token()
    changed = data(await app.client.put(f"{PATH}/{token['id']}", json={"refreshToken": True}))
    assert changed["token"] != token["token"]
    assert (await app.whip(token["token"])).status_code == 401
    assert (await app.whip(changed["token"])).status_code == 201


async def test_expiry_can_be_set_and_removed(app: App) -> None:
    token = await app.publish_token()
    path = f"/api/v2/publish_token/{token['id']}"
    assert data(await app.client.put(path, json={"expires": 60}))["expiresOn"] > token["addedOn"]
    assert data(await app.client.put(path, json={"expires": None}))["expiresOn"] is None


async def test_several_tokens_are_disabled_and_failures_told(app: App) -> None:
    ids = [(await app.publish_token())["id"] for _ in range(2)]
    answer = await app.client.patch(f"{PATH}/disable", json={"tokenIds": [*ids, 77]})
    assert data(answer) == {
        "successfulTokens": ids,
        "failedTokens": [{"tokenId": 77, "errorMessage": "No publish token with id: 77"}],
    }
    assert data(await app.client.get(f"{PATH}/{ids[0]}"))["isActive"] is False


async def test_disabling_stops_new_broadcasts_and_no_running_one(app: App) -> None:
    token = await app.publish_token()
    session = await app.go_live(token["token"])
    data(await app.client.patch(f"{PATH}/disable", json={"tokenIds": [token["id"]]}))
    await app.settle()
    assert session in app.core.sessions
    refused = await app.whip(token["token"])
    assert (refused.status_code, refused.text) == (401, "Unauthorized: Token is disabled")
    data(await app.client.put(f"{PATH}/{token['id']}", json={"isActive": True}))
    assert (await app.whip(token["token"])).status_code == 201


async def test_deleting_ends_the_running_broadcast(app: App) -> None:
    token = await app.publish_token()
    session = await app.go_live(token["token"])
    assert data(await app.client.delete(f"{PATH}/{token['id']}")) is True
    await app.settle()
    assert session not in app.core.sessions
    assert (await app.whip(token["token"])).text == "Unauthorized: Invalid token"


async def test_deletion_by_another_process_ends_the_running_broadcast(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await app.publish_token()
    session = await app.go_live(token["token"])
    # One commit may have more than is read at once.
    monkeypatch.setattr(tasks, "_BATCH", 1)
    elsewhere = Database(app.state.database.path, timedelta(seconds=5))
    async with elsewhere.work() as work:
        for name in ("updated", "deleted"):
            change = TokenChange(
                account_id=app.account,
                token_type="Publish",
                token_id=token["id"],
                change=name,
                at=utc_now(),
            )
            await OutboxRepository(work).add(change)
    await elsewhere.close()
    await until(lambda: session not in app.core.sessions)


async def test_active_tokens_are_those_with_a_live_feed(app: App) -> None:
    token = await app.publish_token()
    stream = {"streamId": f"{app.account}/demo"}
    assert data(await app.client.get(f"{PATH}/active", params=stream)) == {"tokenIds": []}
    await app.go_live(token["token"])
    assert data(await app.client.get(f"{PATH}/active", params=stream)) == {
        "tokenIds": [token["id"]]
    }
    assert data(await app.client.get(f"{PATH}/active/all")) == {"tokenIds": [token["id"]]}


async def test_secrets_are_not_readable_in_the_database(app: App) -> None:
    token = await app.publish_token()
    files = app.state.database.path.parent.glob("stagecast.db*")
    assert token["token"].encode() not in b"".join(path.read_bytes() for path in files)


async def test_id_of_a_deleted_token_is_never_used_again(app: App) -> None:
    token = await app.publish_token()
    data(await app.client.delete(f"{PATH}/{token['id']}"))
    assert (await app.publish_token())["id"] > token["id"]
