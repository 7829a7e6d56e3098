"""Accepting import requests: what is published, charged and stored, in which order."""

import json
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from services.chassis.http.idempotency import StoredResponse
from services.chassis.runtime.errors import Problem, UnavailableError
from services.ingest.flows.accept import (
    JobAccepted,
    MissingScope,
    RateLimited,
    ReplayedResponse,
    UnacknowledgedError,
    accept,
)
from services.sales.batch import ImportTarget, InvalidBodyError
from services.values.time_uuids import timestamp_us
from tests.ingest.fakes import (
    NOW_US,
    Charged,
    FakeIdempotencyStore,
    FakePublisher,
    FakeRateLimiter,
    Journal,
    KeyState,
    Published,
    a_return,
    an_import_request,
    fake_deps,
    order,
)

STORED_RESPONSE = StoredResponse(202, b"{}", {"Location": "/there"})


@pytest.fixture
def journal() -> Journal:
    return []


async def accept_job(body: Any, journal: Journal, **changes: Any) -> JobAccepted:
    outcome = await accept(an_import_request(body, **changes), fake_deps(journal))
    assert isinstance(outcome, JobAccepted)
    return outcome


async def test_a_site_pays_before_anything_is_published(journal: Journal) -> None:
    outcome = await accept_job([order(), order(id="o2")], journal)
    assert journal == [Charged(2), Published("orders", 2)]
    assert (outcome.quota.remaining, outcome.reservation) == (98, None)


async def test_good_and_bad_records_travel_in_one_job(journal: Journal) -> None:
    outcome = await accept_job([order(), order(id="o2", lineItems=[]), order(id="o3")], journal)
    assert journal == [Charged(3), Published("orders", 2, rejected=1)]
    assert outcome.job.summary == "Total records = 3. Success = 2. Failed = 1"
    assert [index for index, _ in outcome.job.batch.accepted] == [0, 2]


async def test_a_batch_of_bad_records_is_a_job_all_the_same(journal: Journal) -> None:
    outcome = await accept_job([order(lineItems=[])], journal)
    assert journal == [Charged(1), Published("orders", 0, rejected=1)]
    assert outcome.job.summary == "Total records = 1. Success = 0. Failed = 1"


async def test_the_job_tells_when_it_was_made(journal: Journal) -> None:
    header = (await accept_job([order()], journal)).job.header
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
    outcome = await accept_job(records, journal, target=ImportTarget("orders", None, query))
    assert outcome.job.header.mode == mode


async def test_a_body_that_cannot_be_read_leaves_nothing(journal: Journal) -> None:
    with pytest.raises(InvalidBodyError):
        await accept(an_import_request(b"[{"), fake_deps(journal))
    assert journal == []


async def test_who_cannot_pay_leaves_nothing(journal: Journal) -> None:
    deps, request = fake_deps(journal), an_import_request([order(), order(id="o2")], records_per_second=2)
    await deps.rate_limiter.acquire(str(request.site.site), limit=2)
    outcome = await accept(request, deps)
    assert isinstance(outcome, RateLimited)
    assert journal == [Charged(1), Charged(2, allowed=False)]


async def test_kafka_away_is_an_unknown_outcome_with_the_job(journal: Journal) -> None:
    publisher = FakePublisher(journal)
    publisher.is_unavailable = True
    with pytest.raises(UnacknowledgedError) as unknown:
        await accept(an_import_request([order()]), fake_deps(journal, publisher=publisher))
    assert timestamp_us(unknown.value.job_id) == NOW_US
    assert unknown.value.retry_after_s >= 1


async def test_an_unknown_outcome_is_logged_with_its_job_and_says_when_to_come_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_job: object) -> None:
        raise UnavailableError("Kafka", retry_after_s=7)

    publisher = FakePublisher(journal)
    monkeypatch.setattr(publisher, "publish", fail)
    with capture_logs(processors=[merge_contextvars]) as lines, pytest.raises(UnacknowledgedError) as unknown:
        await accept(an_import_request([order()]), fake_deps(journal, publisher=publisher))
    assert unknown.value.retry_after_s == 7
    assert [(line["event"], line["jobId"]) for line in lines] == [("publish not acknowledged", unknown.value.job_id)]


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
    outcome = await accept(an_import_request(records, kind=kind, scopes=scopes), fake_deps(journal))
    if missing is None:
        assert isinstance(outcome, JobAccepted)
    else:
        assert outcome == MissingScope(missing)
        assert journal == []


async def test_with_a_key_the_job_is_reserved_before_it_is_published(journal: Journal) -> None:
    """Idempotency: reserve, charge, publish; the API stores the response."""
    outcome = await accept_job([order()], journal, idempotency_key="k")
    assert journal == [KeyState("reserved"), Charged(1), Published("orders", 1)]
    assert outcome.reservation is not None
    assert outcome.reservation.resource_id == outcome.job.header.job_id


async def test_a_replay_costs_nothing(journal: Journal) -> None:
    idempotency = FakeIdempotencyStore(journal)
    deps = fake_deps(journal, idempotency=idempotency)
    first = await accept(an_import_request([order()], idempotency_key="k"), deps)
    assert isinstance(first, JobAccepted)
    assert first.reservation is not None
    await idempotency.complete(first.reservation, STORED_RESPONSE)
    journal.clear()
    again = await accept(an_import_request([order()], idempotency_key="k", records_per_second=1), deps)
    assert again == ReplayedResponse(STORED_RESPONSE)
    assert journal == [KeyState("replayed")]


async def test_nothing_is_kept_of_who_cannot_pay(journal: Journal) -> None:
    deps, request = fake_deps(journal), an_import_request([order()] * 2, idempotency_key="k", records_per_second=2)
    await deps.rate_limiter.acquire(str(request.site.site), limit=2)
    outcome = await accept(request, deps)
    assert isinstance(outcome, RateLimited)
    assert journal == [Charged(1), KeyState("reserved"), Charged(2, allowed=False), KeyState("discarded")]


@pytest.mark.parametrize("body", [b"", b"[]", b"7"])
async def test_nothing_is_kept_of_a_body_that_cannot_be_read(journal: Journal, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        await accept(an_import_request(body, idempotency_key="k"), fake_deps(journal))
    assert journal == []


async def test_a_retry_makes_the_very_same_job_again(journal: Journal) -> None:
    """What the first attempt may have published is absorbed: the same ids, the same times, the same refusals."""
    publisher, idempotency, rate_limiter = (
        FakePublisher(journal),
        FakeIdempotencyStore(journal),
        FakeRateLimiter(journal),
    )
    parts = {"publisher": publisher, "idempotency": idempotency, "rate_limiter": rate_limiter}
    records = [order(), order(id="o2", dateTime="2024-05-01T08:05:01Z")]
    publisher.is_unavailable = True
    with pytest.raises(UnacknowledgedError) as unknown:
        await accept(an_import_request(records, idempotency_key="k"), fake_deps(journal, **parts))
    publisher.is_unavailable = False
    later = fake_deps(journal, **parts, now_us=lambda: NOW_US + 20_000_000)
    again = await accept(an_import_request(records, idempotency_key="k"), later)
    assert isinstance(again, JobAccepted)
    assert again.job.header.job_id == unknown.value.job_id
    assert again.job.header.created_at == NOW_US
    # As of twenty seconds later, the second record would no longer be too far in the future.
    assert [refusal.index for refusal in again.job.batch.rejected] == [1]
    assert [record.accepted_at for _, record in again.job.batch.accepted] == [NOW_US]
    assert journal == [
        KeyState("reserved"),
        Charged(2),
        KeyState("released"),
        KeyState("resumed"),
        Charged(2),
        Published("orders", 1, rejected=1),
    ]


async def test_another_body_under_the_same_key_is_a_conflict(journal: Journal) -> None:
    deps = fake_deps(journal)
    await accept(an_import_request([order()], idempotency_key="k"), deps)
    with pytest.raises(Problem) as conflict:
        await accept(an_import_request([order(id="o2")], idempotency_key="k"), deps)
    assert (conflict.value.status, conflict.value.code) == (422, "IDEMPOTENCY_CONFLICT")


async def test_without_a_key_no_store_is_touched(journal: Journal) -> None:
    idempotency = FakeIdempotencyStore(journal, is_unavailable=True)
    assert isinstance(
        await accept(an_import_request([order()]), fake_deps(journal, idempotency=idempotency)), JobAccepted
    )
    with pytest.raises(UnavailableError):
        await accept(an_import_request([order()], idempotency_key="k"), fake_deps(journal, idempotency=idempotency))
    assert journal == [Charged(1), Published("orders", 1)]


def test_the_sample_is_a_sample() -> None:
    assert json.loads(an_import_request([order()]).body)[0]["id"] == "o1"
