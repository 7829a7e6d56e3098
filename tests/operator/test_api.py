"""The API for operators: topics with their lag, groups of dead letters, one of them with its record, access."""

import pytest

from tests.chassis.eventually import until
from tests.events.harness import KafkaHarness, OutgoingRecord
from tests.operator.conftest import ORDERS_IN, Process, StartProcess, send_dead_letters
from tests.validator.records import an_order, as_bytes

ROUTES = [
    ("GET", "/topics"),
    ("GET", "/dead-letters"),
    ("GET", f"/dead-letters/{ORDERS_IN}.dlq/0/0"),
    ("GET", "/replays"),
    ("POST", "/replays"),
    ("GET", "/replays/one"),
    ("POST", "/replays/one/start"),
    ("POST", "/replays/one/abort"),
    ("GET", "/audit"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_administrators_get_in(process: Process, method: str, path: str) -> None:
    await process.request(method, path, who="nobody", status=401)
    await process.request(method, path, who="customer", status=403)


async def test_topics_have_records_rate_and_the_lag_of_their_consumers(kafka: KafkaHarness, process: Process) -> None:
    kafka.send([OutgoingRecord("jobs.events.v1", b"x", b"k", partition=2)] * 7)
    # A new cluster has no group coordinator until somebody asks for one.
    await until(lambda: kafka.uncommitted("jobs.events.v1", partitions=4, group="status") == 7)
    topics = {each["name"]: each for each in (await process.request("GET", "/topics"))["topics"]}
    events = topics["jobs.events.v1"]
    assert (events["exists"], events["records"], len(events["partitions"])) == (True, 7, 4)
    assert events["partitions"][2] == {"number": 2, "begin": 0, "end": 7}
    (status,) = events["groups"]
    assert (status["group"], status["lag"]) == ("status", 7)
    assert status["oldestUnreadSeconds"] is not None
    assert topics["auth.sites.v1"]["groups"] == []
    assert topics["catalog.products.v1"]["groups"] == []


async def test_dead_letters_are_grouped(process: Process) -> None:
    await send_dead_letters(process.producer, "grouped", 7, group="validator")
    await send_dead_letters(process.producer, "grouped", 2, group="someone")
    found = await process.request("GET", "/dead-letters?reason=grouped")
    assert (found["total"], found["isComplete"]) == (9, True)
    first, second = found["groups"]
    assert (first["reason"], first["topic"], first["group"]) == ("grouped", ORDERS_IN, "validator")
    assert (first["count"], first["replayable"], first["replayed"]) == (7, 7, 0)
    assert (second["group"], second["count"]) == ("someone", 2)
    assert len(first["samples"]) == 5
    assert first["samples"][0]["failedAt"] == first["lastFailedAt"]


async def test_a_look_at_the_groups_is_bounded(process: Process, start_process: StartProcess) -> None:
    await send_dead_letters(process.producer, "bounded", 60)
    small = await start_process(max_scanned=20)
    found = await small.request("GET", "/dead-letters")
    assert not found["isComplete"]
    assert 0 < found["total"] <= 20


async def test_a_record_is_shown_without_what_is_personal(process: Process) -> None:
    order = an_order(user_id="canary-user")
    await send_dead_letters(process.producer, "decodable", 1, value=as_bytes(order))
    (group,) = (await process.request("GET", "/dead-letters?reason=decodable"))["groups"]
    shown = await process.request("GET", f"/dead-letters/{group['samples'][0]['name']}")
    assert (shown["schema"], shown["record"]["id"], shown["record"]["userId"]) == ("order", order.id, "[removed]")
    assert "canary" not in str(shown)


async def test_what_cannot_be_decoded_is_not_shown(process: Process) -> None:
    """Nothing in it could be masked. Who looks is in the audit trail."""
    await send_dead_letters(process.producer, "undecodable", 1, value=b"canary@example.com")
    (group,) = (await process.request("GET", "/dead-letters?reason=undecodable"))["groups"]
    name = group["samples"][0]["name"]
    shown = await process.request("GET", f"/dead-letters/{name}")
    assert shown["record"] is None
    assert shown["problem"]
    assert "canary" not in str(shown)
    (entry,) = (await process.request("GET", "/audit"))["entries"]
    assert (entry["action"], entry["details"]) == ("dead letter shown", {"deadLetter": name})


@pytest.mark.parametrize(
    "name", [f"{ORDERS_IN}.dlq/0/999999", f"{ORDERS_IN}/0/0", f"{ORDERS_IN}.dlq/77/0", f"{ORDERS_IN}.dlq/x/0"]
)
async def test_unknown_dead_letters_are_not_found(process: Process, name: str) -> None:
    await process.request("GET", f"/dead-letters/{name}", status=404)


async def test_unknown_replays_are_not_found(process: Process) -> None:
    await process.request("GET", "/replays/unknown", status=404)
    for action in ("start", "abort"):
        await process.request("POST", f"/replays/unknown/{action}", status=404)


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b'{"reason": "x"}', b'{"since": "yesterday"}', b'{"reasons": [""]}', b'{"topics": [1]}']
)
async def test_invalid_filters_are_refused(process: Process, body: bytes) -> None:
    problem = await process.request("POST", "/replays", data=body, status=400)
    assert problem["code"] == "INVALID_BODY"


@pytest.mark.parametrize("path", ["/audit?limit=0", "/audit?limit=x", "/dead-letters?since=x", "/dead-letters?reason="])
async def test_invalid_parameters_are_refused(process: Process, path: str) -> None:
    assert (await process.request("GET", path, status=400))["code"] == "INVALID_PARAMETER"
