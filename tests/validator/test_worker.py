"""The worker: polls in, committable offsets out, and the order of effects in between."""

from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.chassis.avro.wire_format import HEADER, LENGTH, prefix
from services.chassis.runtime.errors import UnavailableError
from services.jobs.codec import JobEventCodec
from services.jobs.events import FAILED, SUCCEEDED, JobEvent, Judged, OutcomeRun
from services.validator.metrics import FAULTS, RECORDS
from services.validator.worker import Worker
from tests.validator.fakes import Committed, Harness, Journal, Published, a_harness
from tests.validator.records import (
    JOB_ID,
    NOW_US,
    ORDERS_IN,
    OTHER_JOB_ID,
    RETURNS_IN,
    SCHEMAS,
    Poll,
    a_consumer_record,
    a_job,
    a_poll,
    a_return,
    an_order,
    as_bytes,
    job_headers,
)
from tests.validator.test_job_headers import RANDOM_ID

VALIDATED, REJECTED, JOBS = "orders.validated.v1", "records.rejected.v1", "jobs.events.v1"
TRACE = ("traceparent", b"00-1-2-01")
_EVENTS = JobEventCodec(SCHEMAS["job_event"].definition)


async def handle(harness: Harness, poll: Poll) -> None:
    """Let the worker handle a poll, and journal the offsets that it returns."""
    offsets = await Worker(harness.deps, harness.dead_letter_limit).handle(poll)
    harness.journal += [Committed(tp.partition, offset) for tp, offset in offsets.items()]


def judged_events(harness: Harness) -> list[JobEvent]:
    return [_EVENTS.decode(sent.value or b"", start=LENGTH) for sent in harness.published(JOBS)]


def judged_runs(harness: Harness) -> list[tuple[str, int, str]]:
    """Return job, first index and outcomes of each judged event."""
    return [
        (event.header.job_id, run.first, run.outcomes) for event in judged_events(harness) for run in [_run_of(event)]
    ]


def _run_of(event: JobEvent) -> OutcomeRun:
    assert isinstance(event.fact, Judged)
    return event.fact.run


async def test_nothing_is_committed_before_its_verdict_is_acknowledged(harness: Harness) -> None:
    """I7: the committed offset is never ahead of the durable effect; job events come last."""
    good = an_order(job=a_job(0))
    bad = an_order(job=a_job(1), line_items=[])
    await handle(harness, a_poll(good, bad, b"poison"))
    assert harness.journal == [
        Published(VALIDATED, records=1),
        Published(REJECTED, records=1),
        Published("dead letters", records=1),
        Published(JOBS, records=1),
        Committed(partition=0, offset=3),
    ]


@pytest.mark.parametrize("topic", [VALIDATED, REJECTED, JOBS])
async def test_what_is_not_acknowledged_is_not_committed(harness: Harness, topic: str) -> None:
    harness.producer.unavailable.add(topic)
    poll = a_poll(an_order(job=a_job(0)), an_order(job=a_job(1), line_items=[]))
    with pytest.raises(UnavailableError):
        await handle(harness, poll)
    assert not [entry for entry in harness.journal if isinstance(entry, Committed)]
    if topic != JOBS:
        assert Published(JOBS, 1) not in harness.journal
    harness.producer.unavailable.clear()
    await handle(harness, poll)
    assert harness.journal[-1] == Committed(0, 2)


async def test_an_empty_poll_does_nothing(harness: Harness) -> None:
    await handle(harness, {})
    await handle(harness, {TopicPartition(ORDERS_IN, 0): []})
    assert harness.journal == []


async def test_partitions_are_committed_each_on_its_own(harness: Harness) -> None:
    poll = {
        **a_poll(an_order(), an_order(), first=7, partition=0),
        **a_poll(an_order(), first=40, partition=5),
        **a_poll(a_return(line_items=[]), first=3, topic=RETURNS_IN, partition=1),
    }
    await handle(harness, poll)
    assert [entry for entry in harness.journal if isinstance(entry, Committed)] == [
        Committed(0, 9),
        Committed(5, 41),
        Committed(1, 4),
    ]


async def test_accepted_records_are_passed_on_as_they_came(harness: Harness) -> None:
    headers = (*job_headers(), ("traceparent", b"00-1-2-01"), ("theirs", b"\xff"))
    record = a_consumer_record(an_order(job=a_job()), 0, headers=headers, key=b"608|web|4711")
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    (sent,) = harness.published(VALIDATED)
    assert (sent.key, sent.value) == (record.key, record.value)
    assert sent.headers == (*headers, ("verdict", b"accepted"))


async def test_a_record_without_key_gets_one(harness: Harness) -> None:
    record = a_consumer_record(an_order(id="a|b%", channel=None), 0, key=None)
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    assert harness.published(VALIDATED)[0].key == b"608||a%7Cb%25"


@pytest.mark.parametrize(
    "ours", [(("verdict", b"rejected"),), (("dlq.reason", b"mine"),), (("verdict", None), ("dlq.detail", None))]
)
async def test_nobody_else_can_say_the_verdict_or_whence_a_dead_letter_came(harness: Harness, ours: Any) -> None:
    headers = (*ours, ("theirs", b"1"))
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [a_consumer_record(an_order(), 0, headers=headers)]})
    assert harness.published(VALIDATED)[0].headers == (("theirs", b"1"), ("verdict", b"accepted"))


@pytest.mark.parametrize(
    "header",
    [SCHEMAS["order"].prefix, b"\x01" + SCHEMAS["order"].global_id.bytes],
    ids=["by id", "by global id"],
)
async def test_the_newer_framing_is_read_and_what_is_passed_on_has_the_classic_one(
    harness: Harness, header: bytes
) -> None:
    framed = as_bytes(an_order())
    record = a_consumer_record(framed[LENGTH:], 0, headers=((HEADER, header), ("theirs", b"1")))
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    (sent,) = harness.published(VALIDATED)
    assert sent.value == framed
    assert sent.headers == (("theirs", b"1"), ("verdict", b"accepted"))


async def test_a_refusal_carries_what_identifies_the_record_and_no_other_header(harness: Harness) -> None:
    identity = (("ce_id", b"42"), ("ce_source", b"/till/7"), ("ce_type", b"sale"), ("traceparent", b"00-1-2-01"))
    record = a_consumer_record(an_order(line_items=[]), 0, headers=(*identity, ("email", b"a@b.example")))
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    assert harness.published(REJECTED)[0].headers == identity


async def test_returns_that_are_accepted_go_to_their_own_topic(journal: Journal) -> None:
    harness = a_harness(journal, products=frozenset({"content__662"}))
    await handle(harness, a_poll(a_return(), topic=RETURNS_IN))
    assert harness.journal == [Published("returns.validated.v1", 1), Committed(0, 1)]


async def test_what_is_told_of_a_job_carries_the_trace_of_its_request(harness: Harness) -> None:
    records = [
        a_consumer_record(an_order(job=a_job(0)), 0, headers=(*job_headers(), TRACE, TRACE)),
        a_consumer_record(b"poison", 1, headers=(*job_headers(OTHER_JOB_ID), ("traceparent", b"another"))),
        a_consumer_record(an_order(job=a_job(1)), 2),
    ]
    await handle(harness, {TopicPartition(ORDERS_IN, 0): records})
    assert [sent.headers for sent in harness.published(JOBS)] == [(TRACE,), (("traceparent", b"another"),), ()]


async def test_all_faults_of_a_record_are_told_of_its_job(harness: Harness) -> None:
    await handle(harness, a_poll(an_order(job=a_job(1), currency="usd", id="", line_items=[])))
    ((failure,),) = [_run_of(event).failures for event in judged_events(harness)]
    faults = [f"{fault.code} {fault.field}" for fault in failure.faults]
    assert faults == ["INVALID_VALUE /id", "INVALID_CURRENCY /currency", "INVALID_VALUE /lineItems"]


@pytest.mark.parametrize("value", [b"poison", an_order(job=a_job()), an_order(line_items=[])])
@pytest.mark.parametrize("content", [None, b"", b"\xff\n" * 1000])
async def test_headers_may_hold_anything_or_nothing(
    harness: Harness, capsys: pytest.CaptureFixture[str], value: Any, content: bytes | None
) -> None:
    """A handler that raises gets the same record again, for ever."""
    headers: Any = [(name, content) for name in ("traceparent", "ce_id", "site", "jobId", "total", "verdict", "theirs")]
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [a_consumer_record(value, 0, headers=headers)]})
    assert harness.journal[-1] == Committed(0, 1)
    assert len(capsys.readouterr().out) < 1000


async def test_what_is_given_up_is_logged_with_its_place_and_reason(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    record = a_consumer_record(b"s3cret", 71, partition=5, headers=(*job_headers(), TRACE))
    await handle(harness, {TopicPartition(ORDERS_IN, 5): [record]})
    line = capsys.readouterr().out
    for part in ("unknown-framing", ORDERS_IN, "71", "partition=5", JOB_ID, "00-1-2-01"):
        assert part in line
    assert "s3cret" not in line


async def test_what_became_of_records_is_counted_once_it_is_durable(harness: Harness) -> None:
    def counted() -> dict[str, float]:
        outcomes = {
            f"{kind} {outcome}": RECORDS.labels(kind, outcome)._value.get()
            for kind in ("orders", "returns")
            for outcome in ("accepted", "rejected", "unprocessable")
        }
        return outcomes | {code: FAULTS.labels(code)._value.get() for code in ("INVALID_VALUE", "PRODUCT_NOT_FOUND")}

    before = counted()
    poll = {
        **a_poll(an_order(), an_order(), an_order(line_items=[]), b"poison"),
        **a_poll(a_return(), a_return(order_id=""), topic=RETURNS_IN),
    }
    harness.producer.unavailable.add(JOBS)
    with pytest.raises(UnavailableError):
        await handle(harness, poll)
    assert counted() == before
    harness.producer.unavailable.clear()
    await handle(harness, poll)
    after = counted()
    assert {name: after[name] - before[name] for name in after} == {
        "orders accepted": 2,
        "orders rejected": 1,
        "orders unprocessable": 1,
        "returns accepted": 0,
        "returns rejected": 2,
        "returns unprocessable": 0,
        "INVALID_VALUE": 2,
        "PRODUCT_NOT_FOUND": 2,
    }


async def test_a_stretch_of_a_job_is_one_event_with_the_jobs_header(harness: Harness) -> None:
    await handle(harness, a_poll(*(an_order(id=str(index), job=a_job(index)) for index in range(3))))
    (event,) = judged_events(harness)
    assert (
        event.header.site,
        event.header.job_id,
        event.header.total,
        event.header.created_at,
        event.header.mode,
        event.header.type,
        event.at,
    ) == (
        608,
        JOB_ID,
        3,
        NOW_US,
        "offline",
        "orders",
        NOW_US,
    )
    assert judged_runs(harness) == [(JOB_ID, 0, 3 * SUCCEEDED)]
    assert harness.published(JOBS)[0].key == f"608|{JOB_ID}".encode()


async def test_records_of_two_jobs_that_alternate_are_told_in_their_order(harness: Harness) -> None:
    first = [an_order(job=a_job(index)) for index in range(2)]
    second = an_order(job=a_job(0, job_id=OTHER_JOB_ID))
    await handle(harness, a_poll(first[0], second, first[1]))
    assert judged_runs(harness) == [(JOB_ID, 0, "S"), (OTHER_JOB_ID, 0, "S"), (JOB_ID, 1, "S")]


async def test_a_job_of_another_site_is_another_job(harness: Harness) -> None:
    """A job is identified by (site, jobId)."""
    await handle(harness, a_poll(an_order(job=a_job(0)), an_order(site=609, job=a_job(1))))
    assert [(event.header.site, _run_of(event).outcomes) for event in judged_events(harness)] == [
        (608, "S"),
        (609, "F"),
    ]
    assert [sent.key for sent in harness.published(JOBS)] == [f"{site}|{JOB_ID}".encode() for site in (608, 609)]


async def test_a_stretch_is_cut_at_a_hundred_records(journal: Journal) -> None:
    harness = a_harness(journal)
    await handle(harness, a_poll(*(an_order(job=a_job(index, 250)) for index in range(250))))
    assert [(first, len(outcomes)) for _, first, outcomes in judged_runs(harness)] == [(0, 100), (100, 100), (200, 50)]


async def test_without_a_job_outcomes_are_on_topics_only(harness: Harness) -> None:
    """Headers that name a job do not add a decodable record to it."""
    headers = job_headers()
    records = [
        a_consumer_record(an_order(), 0, headers=headers),
        a_consumer_record(an_order(line_items=[]), 1, headers=headers),
    ]
    await handle(harness, {TopicPartition(ORDERS_IN, 0): records})
    assert harness.journal == [Published(VALIDATED, 1), Published(REJECTED, 1), Committed(0, 2)]


async def test_what_cannot_be_read_fails_in_the_job_that_its_headers_name(harness: Harness) -> None:
    records = [
        a_consumer_record(an_order(job=a_job(0)), 0),
        a_consumer_record(b"poison", 1, headers=job_headers(index=1)),
        a_consumer_record(an_order(job=a_job(2)), 2),
    ]
    await handle(harness, {TopicPartition(ORDERS_IN, 0): records})
    outcomes = "".join(outcomes for _, _, outcomes in judged_runs(harness))
    assert outcomes == SUCCEEDED + FAILED + SUCCEEDED
    (fault,) = [
        fault for event in judged_events(harness) for failure in _run_of(event).failures for fault in failure.faults
    ]
    assert (fault.code, fault.level, fault.field) == ("UNPROCESSABLE", "ERROR", "")
    (dead_letter,) = harness.dead_letters.sent
    assert (dead_letter.reason, dead_letter.record.offset) == ("unknown-framing", 1)


@pytest.mark.parametrize(
    ("job", "headers", "runs"),
    [
        (a_job(index=3), job_headers(index=2), [(608, 2)]),
        (a_job(index=-1), job_headers(index=2), [(608, 2)]),
        (a_job(total=1001), job_headers(index=2), [(608, 2)]),
        (a_job(type="returns"), job_headers(index=2), [(608, 2)]),
        (a_job(created_at=2**62), job_headers(index=2), [(608, 2)]),
        # Zero, seconds and milliseconds.
        *((a_job(created_at=at), job_headers(index=2), [(608, 2)]) for at in (0, NOW_US // 1_000_000, NOW_US // 1_000)),
        (a_job(job_id=JOB_ID.upper()), job_headers(), []),
        (a_job(job_id=f"g{JOB_ID[1:]}"), (), []),
        # Valid neither in the record nor in its headers.
        (a_job(index=3), (), []),
        (a_job(index=3), job_headers(index=3), []),
        (a_job(index=3), job_headers(index=1000, total=1001), []),
        # The headers name a job that the record itself does not name.
        (a_job(index=3), job_headers(OTHER_JOB_ID), []),
        (a_job(index=3), job_headers(site=609), []),
    ],
)
async def test_a_record_that_cannot_be_in_its_job_is_a_dead_letter(
    harness: Harness, job: Any, headers: Any, runs: list[tuple[int, int]]
) -> None:
    record = a_consumer_record(an_order(job=job), 0, headers=headers)
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    (dead_letter,) = harness.dead_letters.sent
    assert dead_letter.reason == "invalid-job"
    assert [(event.header.site, _run_of(event).first) for event in judged_events(harness)] == runs
    assert harness.journal[-1] == Committed(0, 1)


async def test_where_headers_and_a_sound_record_disagree_the_record_counts(harness: Harness) -> None:
    record = a_consumer_record(an_order(job=a_job(1)), 0, headers=job_headers(OTHER_JOB_ID, site=609, index=2))
    await handle(harness, {TopicPartition(ORDERS_IN, 0): [record]})
    assert [(event.header.site, event.header.job_id, _run_of(event).first) for event in judged_events(harness)] == [
        (608, JOB_ID, 1)
    ]


async def test_offsets_need_not_be_consecutive(harness: Harness) -> None:
    """Transaction markers occupy offsets, too."""
    records = [a_consumer_record(an_order(), offset) for offset in (3, 7, 20)]
    await handle(harness, {TopicPartition(ORDERS_IN, 0): records})
    assert harness.journal[-1] == Committed(0, 21)


@pytest.mark.parametrize("offset_s", [-86_400, -3 * 3_600, -600, 0, 3 * 3_600])
async def test_a_record_is_judged_at_the_time_of_its_broker(harness: Harness, offset_s: int) -> None:
    """F20: a clock that is wrong, or a record that waited for a day, changes no verdict."""
    minutes = 60 * 1_000_000
    orders: list[Any] = [
        an_order(job=a_job(0)),
        an_order(job=a_job(1), date_time=NOW_US + 5 * minutes),
        an_order(job=a_job(2), date_time=NOW_US + 6 * minutes),
        an_order(job=a_job(0, created_at=NOW_US + 5 * minutes)),
        an_order(job=a_job(1, created_at=NOW_US + 6 * minutes)),
        an_order(accepted_at=NOW_US + 6 * minutes),
    ]
    records = [
        a_consumer_record(value, offset, headers=job_headers(RANDOM_ID), is_broker_time=True)
        for offset, value in enumerate((*orders, b"poison"))
    ]
    deps = replace(harness.deps, now_us=lambda: NOW_US + offset_s * 1_000_000)
    await Worker(deps, harness.dead_letter_limit).handle({TopicPartition(ORDERS_IN, 0): records})
    assert [sent.value for sent in harness.published(VALIDATED)] == [as_bytes(orders[at]) for at in (0, 1, 3)]
    assert len(harness.published(REJECTED)) == 2
    assert [letter.record.offset for letter in harness.dead_letters.sent] == [4, 6]
    (poisoned,) = [event.header for event in judged_events(harness) if event.header.job_id == RANDOM_ID]
    assert poisoned.created_at == NOW_US


def test_the_prefix_is_the_one_of_the_framing() -> None:
    assert SCHEMAS["order"].prefix == prefix(SCHEMAS["order"].schema_id)
