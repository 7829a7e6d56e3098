"""Poison records in the submitted topics, written by Confluent's client, and a real validator (F14)."""

import asyncio
import json
from time import time_ns
from typing import Any
from uuid import uuid1

import pytest

from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from services.jobs.codec import JobEventCodec
from services.jobs.events import JobRef, Judged
from tests.chassis.eventually import until
from tests.events.conftest import StartValidator
from tests.events.harness import SCHEMAS, KafkaHarness, OutgoingRecord, RecordPosition
from tests.validator.records import a_return, an_order, as_bytes, job_headers

pytestmark = pytest.mark.long

ORDERS_IN, RETURNS_IN = "orders.submitted.v1", "returns.submitted.v1"
VALIDATED = "orders.validated.v1"
LETTERS, RETURN_LETTERS = f"{ORDERS_IN}.dlq", f"{RETURNS_IN}.dlq"
_EVENTS = JobEventCodec(SCHEMAS["job_event"].definition)


def an_order_now(**changes: Any) -> bytes:
    now = time_ns() // 1000 - 1_000_000
    return as_bytes(an_order(**{"accepted_at": now, "date_time": now, **changes}))


def job_ref(job_id: str, index: int, total: int) -> JobRef:
    return JobRef(job_id, index, total, time_ns() // 1000 - 1_000_000, "offline", "orders")


GOOD = an_order_now()
ORDER = SCHEMAS["order"].prefix
POISON: dict[str, tuple[str, bytes | None, tuple[tuple[str, bytes], ...]]] = {
    "no value": ("unknown-framing", None, ()),
    "empty": ("unknown-framing", b"", ()),
    "text": ("unknown-framing", b'{"id":"1"}', ()),
    "no room for an id": ("unknown-framing", b"\0\0\0\0", ()),
    "another magic byte": ("unknown-framing", b"\x07" + GOOD[1:], ()),
    "a header that names nothing": ("unknown-framing", GOOD, ((HEADER, b"?"),)),
    "an unknown schema": ("unknown-schema", prefix(4_000_000) + GOOD[LENGTH:], ()),
    "a schema of another topic": ("unknown-schema", as_bytes(a_return()), ()),
    "an unknown global id": ("unknown-schema", GOOD[LENGTH:], ((HEADER, b"\x01" + b"\x07" * 16),)),
    "truncated": ("undecodable", GOOD[:-3], ()),
    "nothing behind the id": ("undecodable", ORDER, ()),
    "trailing bytes": ("undecodable", GOOD + b"\0", ()),
    "wrong UTF-8": ("undecodable", GOOD.replace(b"userA2", b"\xff\xfe\xfduA2"), ()),
    "a huge array": ("undecodable", GOOD[:-40] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", ()),
    "random": ("undecodable", ORDER + bytes(range(256)), ()),
    "oversize": ("oversize", b"\0" * 6_500_000, ()),
    "a place that cannot be": ("invalid-job", an_order_now(job=job_ref(str(uuid1()), 5, 5)), ()),
}


def dead_letter_headers(record: Any) -> dict[str, str]:
    return {name: content.decode() for name, content in record.headers if name.startswith("dlq.")}


@pytest.mark.timeout(180)
async def test_each_poison_is_one_dead_letter_and_the_records_around_it_pass(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    """Every kind of poison in one partition, each followed by a valid record: none lost, duplicated or delayed."""
    start_validator()
    sent: list[OutgoingRecord] = []
    for number, (_, value, headers) in enumerate(POISON.values()):
        sent.append(
            OutgoingRecord(ORDERS_IN, value, b"poison|%d" % number, (*headers, ("theirs", b"\xff")), partition=2)
        )
        sent.append(OutgoingRecord(ORDERS_IN, an_order_now(id=f"good-{number}"), b"608|web|g%d" % number, partition=2))
    places = await asyncio.to_thread(harness.send, sent)

    async def all_judged() -> bool:
        return len(await harness.records(VALIDATED)) >= len(POISON)

    await until(all_judged, deadline_s=60)
    passed = await harness.records(VALIDATED)
    assert sorted(record.key for record in passed) == sorted(b"608|web|g%d" % n for n in range(len(POISON)))

    letters = {int(dead_letter_headers(one)["dlq.original-offset"]): one for one in await harness.records(LETTERS)}
    assert len(letters) == len(POISON)
    for (kind, (reason, value, headers)), place, record in zip(POISON.items(), places[::2], sent[::2], strict=True):
        letter = letters[place.offset]
        provenance = dead_letter_headers(letter)
        assert provenance["dlq.reason"] == reason, kind
        assert provenance["dlq.detail"]
        assert (
            RecordPosition(provenance["dlq.original-topic"], int(provenance["dlq.original-partition"]), place.offset)
            == place
        )
        assert provenance["dlq.consumer-group"] == "validator"
        assert provenance["dlq.attempts"] == "1"
        assert int(provenance["dlq.original-timestamp"]) > 0
        assert (letter.key, letter.value) == (record.key, value), kind
        assert [header for header in letter.headers if not header[0].startswith("dlq.")] == [
            *headers,
            ("theirs", b"\xff"),
        ]


@pytest.mark.timeout(180)
async def test_what_died_of_a_setting_is_replayed_once_when_it_is_mended(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    """A job above the configured maximum: dead letters, failed outcomes by its headers, then a replay."""
    job_id, total = str(uuid1()), 6
    validator = start_validator(MAX_JOB_RECORDS="5")
    records = [
        OutgoingRecord(
            ORDERS_IN,
            an_order_now(id=f"{job_id}-{index}", job=job_ref(job_id, index, total)),
            f"608||{index}".encode(),
            job_headers(job_id, total=total, index=index),
        )
        for index in range(total)
    ]
    await asyncio.to_thread(harness.send, records)

    async def all_died() -> bool:
        return sum(job_id.encode() in (one.value or b"") for one in await harness.records(LETTERS)) == total

    async def letters() -> list[dict[str, Any]]:
        out = await asyncio.to_thread(harness.run_cli, "dead-letters", "list", "--json", "--reason", "invalid-job")
        found = [json.loads(line) for line in out.splitlines()]
        return [one for one in found if one["detail"] == "total is out of bounds"]

    await until(all_died, deadline_s=60)
    await asyncio.to_thread(validator.stop)
    start_validator()
    names = [one["name"] for one in await letters()]
    assert len(names) == total
    shown = await asyncio.to_thread(harness.run_cli, "dead-letters", "show", names[0])
    assert job_id in shown
    assert '"productId": "4556"' in shown

    dry = await asyncio.to_thread(harness.run_cli, "dead-letters", "replay", *names, "--dry-run")
    assert f"{total} of {total} dead letters would be replayed" in dry
    for expected in (total, 0):
        output = await asyncio.to_thread(harness.run_cli, "dead-letters", "replay", *names)
        assert f"{expected} of {total} dead letters replayed" in output
    assert {one["state"] for one in await letters()} == {"replayed"}

    async def passed() -> list[Any]:
        return [one for one in await harness.records(VALIDATED) if job_id.encode() in one.value]

    async def all_passed() -> bool:
        return len(await passed()) >= total

    await until(all_passed, deadline_s=30)
    delivered = await passed()
    assert sorted((one.key, one.value) for one in delivered) == sorted((one.key, one.value) for one in records)
    assert all(not dead_letter_headers(one) for one in delivered)
    job_events = [
        _EVENTS.decode(one.value, start=LENGTH)
        for one in await harness.records("jobs.events.v1")
        if job_id.encode() in one.value
    ]
    runs = [event.fact.run for event in job_events if isinstance(event.fact, Judged)]
    assert "".join(run.outcomes for run in runs).count("S") == total


@pytest.mark.timeout(180)
async def test_a_topic_full_of_poison_stops_that_partition_and_asks_for_no_restart(
    harness: KafkaHarness, start_validator: StartValidator
) -> None:
    """The partition is halted instead of drained into dead letters; the others continue.

    A kubelet that restarted the process for it would drain the partition after all.
    """
    validator = start_validator(DEAD_LETTER_MAX_CONSECUTIVE="50")
    await until(lambda: asyncio.to_thread(validator.is_ready), deadline_s=60)
    assert await asyncio.to_thread(validator.is_live)
    await asyncio.to_thread(
        harness.send, [OutgoingRecord(RETURNS_IN, b"poison %d" % number, partition=1) for number in range(400)]
    )

    async def is_halted() -> bool:
        return len(await harness.records(RETURN_LETTERS)) == 50

    await until(is_halted, deadline_s=30)
    marker = f"after the stop {uuid1()}"
    await asyncio.to_thread(
        harness.send,
        [
            OutgoingRecord(RETURNS_IN, b"more poison", partition=1),
            *(OutgoingRecord(ORDERS_IN, an_order_now(id=marker), b"608||x", partition=number) for number in range(4)),
        ],
    )

    async def others_went_on() -> bool:
        return sum(marker.encode() in one.value for one in await harness.records(VALIDATED)) == 4

    await until(others_went_on, deadline_s=30)
    assert await is_halted()
    assert await asyncio.to_thread(validator.is_live)
    assert await asyncio.to_thread(validator.is_ready)
