"""Accepting: what is published, charged and kept, and in which order."""

import json
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from services.chassis.http.idempotency import StoredResponse
from services.chassis.runtime.errors import Problem, UnavailableError
from services.ingest.flows.accept import LacksScope, Replayed, Taken, Throttled, UnacknowledgedError, accept
from services.sales.batch import ImportTarget, InvalidBodyError
from services.values.time_uuids import timestamp_us
from tests.ingest.world import (
    NOW_US,
    Charged,
    Journal,
    JournalPublisher,
    JournalRateLimiter,
    JournalReplies,
    Kept,
    Published,
    a_return,
    a_submission,
    a_world,
    order,
)

FIRST_ANSWER = StoredResponse(202, b"{}", {"Location": "/there"})


@pytest.fixture
def journal() -> Journal:
    return []


async def taken(body: Any, journal: Journal, **changes: Any) -> Taken:
    outcome = await accept(a_submission(body, **changes), a_world(journal))
    assert isinstance(outcome, Taken)
    return outcome


async def test_a_site_pays_before_anything_is_published(journal: Journal) -> None:
    outcome = await taken([order(), order(id="o2")], journal)
    assert journal == [Charged(2), Published("orders", 2)]
    assert (outcome.left.remaining, outcome.turn) == (98, None)


async def test_good_and_bad_records_travel_in_one_job(journal: Journal) -> None:
    outcome = await taken([order(), order(id="o2", lineItems=[]), order(id="o3")], journal)
    assert journal == [Charged(3), Published("orders", 2, refused=1)]
    assert outcome.accepted.message == "Total records = 3. Success = 2. Failed = 1"
    assert [index for index, _ in outcome.accepted.batch.accepted] == [0, 2]


async def test_a_batch_of_bad_records_is_a_job_all_the_same(journal: Journal) -> None:
    outcome = await taken([order(lineItems=[])], journal)
    assert journal == [Charged(1), Published("orders", 0, refused=1)]
    assert outcome.accepted.message == "Total records = 1. Success = 0. Failed = 1"


async def test_the_job_tells_when_it_was_made(journal: Journal) -> None:
    header = (await taken([order()], journal)).accepted.header
    assert (header.created_at, timestamp_us(header.job_id)) == (NOW_US, NOW_US)
    assert (header.site, header.total, header.mode, header.type) == (608, 1, "offline", "orders")


@pytest.mark.parametrize(
    ("query", "records", "mode"),
    [
        ("online", [order()], "online"),
        (None, [order(mode="Online"), order(id="o2", mode="offline")], "online"),
        (None, [order(), order(id="o2", mode="online")], "offline"),
        ("offline", [order(mode="online")], "offline"),
    ],
)
async def test_the_mode_of_a_job(journal: Journal, query: str | None, records: Any, mode: str) -> None:
    """The query's, else the first record's, else offline."""
    outcome = await taken(records, journal, path=ImportTarget("orders", None, query))
    assert outcome.accepted.header.mode == mode


async def test_a_body_that_cannot_be_read_leaves_nothing(journal: Journal) -> None:
    with pytest.raises(InvalidBodyError):
        await accept(a_submission(b"[{"), a_world(journal))
    assert journal == []


async def test_who_cannot_pay_leaves_nothing(journal: Journal) -> None:
    outcome = await accept(a_submission([order(), order(id="o2")], records_per_second=1), a_world(journal))
    assert isinstance(outcome, Throttled)
    assert journal == [Charged(2, allowed=False)]


async def test_kafka_away_is_an_unknown_outcome_with_the_job(journal: Journal) -> None:
    publisher = JournalPublisher(journal)
    publisher.away = True
    with pytest.raises(UnacknowledgedError) as unknown:
        await accept(a_submission([order()]), a_world(journal, publisher=publisher))
    assert timestamp_us(unknown.value.job_id) == NOW_US
    assert unknown.value.retry_after_s >= 1


async def test_an_unknown_outcome_is_logged_with_its_job_and_says_when_to_come_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_accepted: object) -> None:
        raise UnavailableError("Kafka", retry_after_s=7)

    publisher = JournalPublisher(journal)
    monkeypatch.setattr(publisher, "publish", away)
    with capture_logs(processors=[merge_contextvars]) as lines, pytest.raises(UnacknowledgedError) as unknown:
        await accept(a_submission([order()]), a_world(journal, publisher=publisher))
    assert unknown.value.retry_after_s == 7
    assert [(line["event"], line["jobId"]) for line in lines] == [("nobody confirmed the job", unknown.value.job_id)]


@pytest.mark.parametrize(
    ("kind", "records", "scopes", "missing"),
    [
        ("orders", [a_return()], {"orders:write"}, "returns:write"),
        ("orders", [a_return(), a_return(returnId="r2")], {"orders:write"}, "returns:write"),
        ("orders", [a_return()], {"orders:write", "returns:write"}, None),
        ("orders", [order(), a_return()], {"orders:write"}, None),
        ("orders", [order()], {"orders:write"}, None),
        ("returns", [a_return()], {"returns:write"}, None),
    ],
)
async def test_returns_need_their_own_scope_wherever_they_are_sent(
    journal: Journal, kind: str, records: Any, scopes: set[str], missing: str | None
) -> None:
    outcome = await accept(a_submission(records, kind=kind, scopes=scopes), a_world(journal))
    if missing is None:
        assert isinstance(outcome, Taken)
    else:
        assert outcome == LacksScope(missing)
        assert journal == []


async def test_with_a_key_the_job_is_reserved_before_it_is_published(journal: Journal) -> None:
    """Idempotency: reserve, pay, publish; who answers keeps the answer."""
    outcome = await taken([order()], journal, idempotency_key="k")
    assert journal == [Kept("begun"), Charged(1), Published("orders", 1)]
    assert outcome.turn is not None
    assert outcome.turn.resource_id == outcome.accepted.header.job_id


async def test_a_replay_costs_nothing(journal: Journal) -> None:
    replies = JournalReplies(journal)
    world = a_world(journal, replies=replies)
    first = await accept(a_submission([order()], idempotency_key="k"), world)
    assert isinstance(first, Taken)
    assert first.turn is not None
    await replies.finish(first.turn, FIRST_ANSWER)
    journal.clear()
    again = await accept(a_submission([order()], idempotency_key="k", records_per_second=1), world)
    assert again == Replayed(FIRST_ANSWER)
    assert journal == [Kept("replayed")]


async def test_nothing_is_kept_of_who_cannot_pay(journal: Journal) -> None:
    world = a_world(journal)
    outcome = await accept(a_submission([order()] * 2, idempotency_key="k", records_per_second=1), world)
    assert isinstance(outcome, Throttled)
    assert journal == [Kept("begun"), Charged(2, allowed=False), Kept("forgotten")]


@pytest.mark.parametrize("body", [b"", b"[]", b"7"])
async def test_nothing_is_kept_of_a_body_that_cannot_be_read(journal: Journal, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        await accept(a_submission(body, idempotency_key="k"), a_world(journal))
    assert journal == []


async def test_a_retry_makes_the_very_same_job_again(journal: Journal) -> None:
    """What the first attempt may have published is absorbed: the same ids, the same times, the same refusals."""
    publisher, replies, gate = JournalPublisher(journal), JournalReplies(journal), JournalRateLimiter(journal)
    parts = {"publisher": publisher, "replies": replies, "gate": gate}
    records = [order(), order(id="o2", dateTime="2024-05-01T08:05:01Z")]
    publisher.away = True
    with pytest.raises(UnacknowledgedError) as unknown:
        await accept(a_submission(records, idempotency_key="k"), a_world(journal, **parts))
    publisher.away = False
    later = a_world(journal, **parts, now_us=lambda: NOW_US + 20_000_000)
    again = await accept(a_submission(records, idempotency_key="k"), later)
    assert isinstance(again, Taken)
    assert again.accepted.header.job_id == unknown.value.job_id
    assert again.accepted.header.created_at == NOW_US
    # Twenty seconds later the second record would no longer lie too far ahead.
    assert [refusal.index for refusal in again.accepted.batch.rejected] == [1]
    assert [record.accepted_at for _, record in again.accepted.batch.accepted] == [NOW_US]
    assert journal == [
        Kept("begun"),
        Charged(2),
        Kept("paused"),
        Kept("resumed"),
        Charged(2),
        Published("orders", 1, refused=1),
    ]


async def test_another_body_under_the_same_key_is_a_conflict(journal: Journal) -> None:
    world = a_world(journal)
    await accept(a_submission([order()], idempotency_key="k"), world)
    with pytest.raises(Problem) as conflict:
        await accept(a_submission([order(id="o2")], idempotency_key="k"), world)
    assert (conflict.value.status, conflict.value.code) == (422, "IDEMPOTENCY_CONFLICT")


async def test_without_a_key_no_store_is_touched(journal: Journal) -> None:
    replies = JournalReplies(journal, away=True)
    assert isinstance(await accept(a_submission([order()]), a_world(journal, replies=replies)), Taken)
    with pytest.raises(UnavailableError):
        await accept(a_submission([order()], idempotency_key="k"), a_world(journal, replies=replies))
    assert journal == [Charged(1), Published("orders", 1)]


def test_the_sample_is_a_sample() -> None:
    assert json.loads(a_submission([order()]).body)[0]["id"] == "o1"
