"""Endpoints over HTTP: created, changed, rotated, looked at, replayed and deleted; each by its own site only."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.webhooks.api_fixtures import FeedClient, build_client
from tests.webhooks.events import an_event
from tests.webhooks.sender_harness import URL, SenderHarness, harness

__all__ = ["harness"]


@pytest.fixture
async def api(harness: SenderHarness) -> AsyncIterator[FeedClient]:
    client = await build_client(harness.feed, manage=lambda _: harness.manage)
    yield client
    await client.notifier.stop()
    await client.client.close()


async def create(api: FeedClient, **fields: Any) -> dict[str, Any]:
    status, body = await api.call("POST", "", {"url": URL, **fields})
    assert status == 201, body
    created: dict[str, Any] = body
    return created


async def test_the_secret_is_shown_once(api: FeedClient) -> None:
    created = await create(api, types=["job.finished"], description="Shop", ordered=True)
    assert created["secret"].startswith("whsec_")
    assert len(base64.b64decode(created["secret"].removeprefix("whsec_"))) == 32
    shown = {name: value for name, value in created.items() if name != "secret"}
    assert (await api.call("GET", "/" + created["id"])) == (200, shown)
    assert (await api.call("GET", "")) == (200, {"result": [shown]})
    assert shown == {
        "id": created["id"],
        "url": URL,
        "types": ["job.finished"],
        "description": "Shop",
        "ordered": True,
        "enabled": True,
        "createdAt": "2026-01-01T12:00:00.000000Z",
        "failingSince": None,
    }


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "MISSING_URL", "/url"),
        ({"url": 5}, "INVALID_URL", "/url"),
        ({"url": "http://shop.example/"}, "INVALID_URL", "/url"),
        ({"url": "https://169.254.169.254/latest"}, "INVALID_URL", "/url"),
        ({"url": URL, "types": "job.finished"}, "INVALID_TYPES", "/types"),
        ({"url": URL, "types": ["endpoint.ping"]}, "INVALID_TYPES", "/types"),
        ({"url": URL, "description": "x" * 257}, "INVALID_DESCRIPTION", "/description"),
        ({"url": URL, "ordered": 1}, "INVALID_ORDERED", "/ordered"),
        ({"url": URL, "enabled": "yes"}, "INVALID_ENABLED", "/enabled"),
        ({"url": None}, "MISSING_URL", "/url"),
        ({"url": ""}, "MISSING_URL", "/url"),
        (b'{"url": "https://shop.example/\\ud800"}', "INVALID_URL", "/url"),
        (b'{"url": "https://shop.example/", "types": ["\\udc00"]}', "INVALID_TYPES", "/types"),
        (b'{"url": "https://shop.example/", "description": "a\\ud800b"}', "INVALID_DESCRIPTION", "/description"),
    ],
)
async def test_an_invalid_field_is_named(api: FeedClient, body: Any, code: str, pointer: str) -> None:
    status, problem = await api.call("POST", "", body)
    assert (status, problem["code"], problem["errors"][0]["pointer"]) == (422, code, pointer)
    assert (await api.call("GET", ""))[1] == {"result": []}


@pytest.mark.parametrize("empty", [None, ""])
async def test_an_empty_field_counts_as_absent(api: FeedClient, empty: str | None) -> None:
    created = await create(api, types=empty, description=empty, ordered=empty, enabled=empty)
    assert (created["types"], created["description"], created["ordered"], created["enabled"]) == ([], "", False, True)
    fields = dict.fromkeys(("url", "types", "ordered", "enabled"), empty)
    status, changed = await api.call("PATCH", "/" + created["id"], {**fields, "description": "new"})
    assert status == 200
    assert changed == {name: value for name, value in created.items() if name != "secret"} | {"description": "new"}
    assert (await api.call("POST", f"/{created['id']}/rotate", {"overlap": empty}))[0] == 200
    replay = {"eventId": empty, "since": empty, "failedSince": "2026-01-01"}
    assert (await api.call("POST", f"/{created['id']}/replay", replay))[0] == 202


async def test_an_empty_description_removes_the_text(api: FeedClient) -> None:
    created = await create(api, description="Shop")
    assert (await api.call("PATCH", "/" + created["id"], {"description": None}))[1]["description"] == "Shop"
    assert (await api.call("PATCH", "/" + created["id"], {"description": ""}))[1]["description"] == ""


async def test_a_byte_order_mark_and_unknown_fields_are_skipped(api: FeedClient) -> None:
    """Unknown ones even if they have half of a surrogate pair."""
    body = b'\xef\xbb\xbf{"url": "https://shop.example/hooks", "comment": "\\ud800"}'
    assert (await api.call("POST", "", body))[0] == 201


async def test_an_id_is_found_in_any_case(api: FeedClient, harness: SenderHarness) -> None:
    created = await create(api)
    path = "/" + created["id"].upper()
    assert (await api.call("GET", path))[1]["id"] == created["id"]
    await harness.append(an_event(1))
    _, replay = await api.call("POST", f"{path}/replay", {"eventId": an_event(1).id.upper()})
    assert (await api.call("GET", f"{path}/replays/{replay['id'].upper()}"))[1]["id"] == replay["id"]
    assert (await api.call("DELETE", path))[0] == 204


@pytest.mark.parametrize(("body", "code"), [(b"{", "MALFORMED_JSON"), (b"[]", "INVALID_TYPE")])
async def test_a_body_that_is_no_object_is_refused(api: FeedClient, body: bytes, code: str) -> None:
    status, problem = await api.call("POST", "", body)
    assert (status, problem["code"]) == (400, code)


async def test_all_faults_are_reported(api: FeedClient) -> None:
    _, problem = await api.call("POST", "", {"url": "x", "types": [1], "ordered": "yes"})
    assert [error["pointer"] for error in problem["errors"]] == ["/url", "/types", "/ordered"]


async def test_a_site_has_at_most_twenty(api: FeedClient) -> None:
    created = [await create(api) for _ in range(20)]
    status, problem = await api.call("POST", "", {"url": URL})
    assert (status, problem["code"]) == (409, "TOO_MANY_ENDPOINTS")
    assert (await api.call("DELETE", "/" + created[7]["id"])) == (204, None)
    await create(api)
    assert len((await api.call("GET", ""))[1]["result"]) == 20


async def test_fields_are_changed_one_by_one(api: FeedClient) -> None:
    created = await create(api, types=["job.finished"])
    status, changed = await api.call("PATCH", "/" + created["id"], {"description": "new", "ordered": True})
    assert status == 200
    assert (changed["description"], changed["ordered"], changed["types"]) == ("new", True, ["job.finished"])
    status, _ = await api.call("PATCH", "/" + created["id"], {"url": "https://10.0.0.1/"})
    assert status == 422
    assert (await api.call("GET", "/" + created["id"]))[1]["url"] == URL


async def test_an_endpoint_is_disabled_and_enabled(api: FeedClient, harness: SenderHarness) -> None:
    """Both are in the feed; what came in between is not sent."""
    created = await create(api)
    _, disabled = await api.call("PATCH", "/" + created["id"], {"enabled": False})
    assert (disabled["enabled"], disabled["disabledReason"]) == (False, "requested")
    assert await harness.run() is None
    await harness.append(an_event(1))
    status, problem = await api.call("POST", f"/{created['id']}/replay", {"since": disabled["missedSince"]})
    assert (status, problem["code"]) == (409, "ENDPOINT_DISABLED")
    _, enabled = await api.call("PATCH", "/" + created["id"], {"enabled": True})
    assert "disabledReason" not in enabled
    await harness.relay()
    await harness.run()
    types = [event.type for event in await harness.all_events()]
    assert types == ["job.finished", "endpoint.disabled", "endpoint.recovered"]
    assert harness.transport.sequences == [2, 3]


async def test_a_deleted_endpoint_gets_nothing(api: FeedClient, harness: SenderHarness) -> None:
    created = await create(api)
    await api.call("DELETE", "/" + created["id"])
    await harness.append(an_event(1))
    assert await harness.run() is None
    assert harness.transport.received == []
    assert (await api.call("DELETE", "/" + created["id"]))[0] == 404


@pytest.mark.parametrize("overlap", [-1, 86_401, "1", 1.5, True])
async def test_an_invalid_overlap_is_refused(api: FeedClient, overlap: Any) -> None:
    created = await create(api)
    status, problem = await api.call("POST", f"/{created['id']}/rotate", {"overlap": overlap})
    assert (status, problem["code"]) == (422, "INVALID_OVERLAP")


async def test_a_rotation_shows_the_new_secret(api: FeedClient) -> None:
    created = await create(api)
    status, rotated = await api.call("POST", f"/{created['id']}/rotate")
    assert status == 200
    assert rotated["secret"] != created["secret"]
    for _ in range(3):
        status, problem = await api.call("POST", f"/{created['id']}/rotate", {"overlap": 60})
    assert (status, problem["code"]) == (409, "TOO_MANY_SECRETS")


async def test_deliveries_are_listed_page_by_page(api: FeedClient, harness: SenderHarness) -> None:
    created = await create(api)
    harness.transport.answer = lambda request: 500 if request.sequence == 2 else 200
    await harness.append(*(an_event(number) for number in range(5)))
    await harness.run()
    seen: list[Any] = []
    token: str | None = ""
    while token is not None:
        status, page = await api.call(
            "GET", f"/{created['id']}/deliveries?rows=2" + (f"&page={token}" if token else "")
        )
        assert status == 200
        seen += page["result"]
        token = page["pagination"]["nextPageToken"]
    assert [(each["sequence"], each["state"]) for each in seen] == [
        (5, "delivered"),
        (4, "delivered"),
        (3, "delivered"),
        (2, "pending"),
        (1, "delivered"),
        (0, "delivered"),
    ]
    failed = seen[3]
    assert failed["nextTryAt"] == "2026-01-01T12:00:05.001000Z"
    assert failed["attempts"] == [
        {
            "attempt": 1,
            "at": "2026-01-01T12:00:00.000000Z",
            "status": 500,
            "latencyMs": 1,
            "error": None,
            "answer": "answer 500",
        }
    ]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "INVALID_REPLAY"),
        ({"since": "2026-01-01T00:00:00Z", "eventId": "x"}, 422, "INVALID_REPLAY"),
        ({"since": "yesterday"}, 422, "INVALID_DATE"),
        ({"failedSince": 5}, 422, "INVALID_DATE"),
        ({"eventId": 5}, 422, "INVALID_EVENT_ID"),
        (b'{"eventId": "\\ud800"}', 422, "INVALID_EVENT_ID"),
        ({"since": "2026-02-30"}, 422, "INVALID_DATE"),
        ({"eventId": "x"}, 404, "EVENT_NOT_FOUND"),
    ],
)
async def test_an_invalid_replay_is_refused(api: FeedClient, body: Any, status: int, code: str) -> None:
    created = await create(api)
    answer, problem = await api.call("POST", f"/{created['id']}/replay", body)
    assert (answer, problem["code"]) == (status, code)


async def test_a_replay_is_watched_and_stopped(api: FeedClient, harness: SenderHarness) -> None:
    created = await create(api)
    await harness.append(*(an_event(number) for number in range(3)))
    await harness.run()
    harness.transport.received.clear()
    replays = f"/{created['id']}/replays/"
    _, one = await api.call("POST", f"/{created['id']}/replay", {"eventId": an_event(1).id})
    await harness.run()
    assert harness.transport.sequences == [2]
    status, found = await api.call("GET", replays + one["id"])
    assert (status, found["state"]) == (200, "finished")
    assert found["counts"] == {"total": 1, "done": 1, "sent": 1, "failed": 0, "skipped": 0}
    status, everything = await api.call("POST", f"/{created['id']}/replay", {"since": "2026-01-01T12:00:00Z"})
    assert (status, everything["counts"]["total"]) == (202, 3)
    assert (await api.call("POST", f"/{created['id']}/replay", {"since": "2026-01-01T12:00:00Z"}))[0] == 409
    assert (await api.call("DELETE", replays + everything["id"]))[1]["state"] == "stopped"
    await harness.run()
    assert harness.transport.sequences == [2]
    assert (await api.call("GET", replays + "x"))[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("GET", "/deliveries"),
        ("POST", "/replay"),
        ("GET", "/replays/{replay}"),
        ("DELETE", "/replays/{replay}"),
    ],
)
async def test_another_site_finds_no_endpoint(api: FeedClient, harness: SenderHarness, method: str, path: str) -> None:
    created = await create(api)
    replay = await harness.replay(created["id"])
    body = {"eventId": "x"} if method in ("POST", "PATCH") else None
    path = f"/{created['id']}" + path.format(replay=replay.id)
    status, problem = await api.call(method, path, body, who="other")
    assert (status, problem["code"]) == (404, "ENDPOINT_NOT_FOUND")


async def test_the_public_keys_are_everybodys(api: FeedClient) -> None:
    async with api.client.get("/events/v1/keys") as response:
        (key,) = (await response.json())["keys"]
    raw = base64.b64decode(key["webhookKey"].removeprefix("whpk_"))
    assert base64.urlsafe_b64decode(key["x"] + "=") == raw
    Ed25519PublicKey.from_public_bytes(raw)
