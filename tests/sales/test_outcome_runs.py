"""Outcomes of records as runs."""

import json
from typing import Any

import msgspec
import pytest

from services.jobs.events import JobEvent, JobHeader, JobKey, Judged, Opened
from services.sales.faults import FaultCode, make_fault, product_not_found, unprocessable
from services.sales.outcome_runs import (
    RecordFailed,
    RecordOutcome,
    RecordPassed,
    build_outcome_runs,
    build_rejection_runs,
    validate_job_ref,
)
from services.sales.records import SalesRecord
from tests.sales.samples import HEADER, JOB_EVENTS, a_place, a_return, an_order, by_fastavro, read
from tests.sales.test_fields import ORDER, RETURN

NOT_FOUND = product_not_found("/lineItems/0/productId", "product3")


def rows(text: str) -> list[Any]:
    value: list[Any] = json.loads(text)
    return value


def test_refusals_make_a_run_that_holds_no_success() -> None:
    records = [
        ORDER | {"id": 1},
        ORDER | {"id": 2, "lineItems": []},
        ORDER | {"id": 3},
        ORDER | {"id": "", "mode": "online"},
    ]
    (run,) = build_rejection_runs(read(json.dumps(records).encode()))
    assert (run.first, run.outcomes) == (1, "F.F")
    assert rows(run.rows) == [["2", "userA2"], None, [None, "userA2", "online"]]
    assert [(failure.index, failure.order_id, failure.mode) for failure in run.failures] == [
        (1, "2", "offline"),
        (3, None, "online"),
    ]
    assert json.loads(run.failures[0].record or "") == records[1]


def test_a_batch_without_refusals_makes_no_run() -> None:
    assert build_rejection_runs(read(json.dumps(ORDER).encode())) == []


def test_refused_returns_are_told_with_both_ids() -> None:
    (run,) = build_rejection_runs(read(json.dumps(RETURN | {"lineItems": []}).encode(), kind="returns"))
    assert rows(run.rows) == [["13", "15", "userA2"]]
    assert (run.failures[0].order_id, run.failures[0].return_id) == ("13", "15")


def test_outcomes_make_a_run_of_letters_and_rows() -> None:
    outcomes: list[RecordOutcome] = [
        RecordPassed(4, an_order(id="a")),
        RecordFailed(5, an_order(id="b", mode="online"), [NOT_FOUND]),
        RecordPassed(7, an_order(id="c", mode="online")),
        RecordFailed(8, None, [unprocessable()]),
    ]
    (run,) = build_outcome_runs(HEADER, outcomes)
    assert (run.first, run.outcomes) == (4, "SF.SF")
    assert rows(run.rows) == [["a", "userA2"], ["b", "userA2", "online"], None, ["c", "userA2", "online"], None]
    assert [failure.index for failure in run.failures] == [5, 8]
    assert json.loads(run.failures[0].record or "")["id"] == "b"
    assert (run.failures[1].record, run.failures[1].mode) == (None, "offline")
    event = JobEvent(HEADER, HEADER.created_at, Judged(run))
    assert JOB_EVENTS.encode(event) == by_fastavro("job_event", event)


def test_outcomes_of_returns() -> None:
    header = msgspec.structs.replace(HEADER, type="returns", mode="online")
    (run,) = build_outcome_runs(header, [RecordPassed(0, a_return()), RecordFailed(1, a_return(), [NOT_FOUND])])
    assert rows(run.rows) == [["13", "15", "userC2"]] * 2


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([0, 1, 2], [(0, 3)]),
        ([0, 2], [(0, 3)]),
        ([2, 1], [(2, 1), (1, 1)]),
        ([1, 1], [(1, 1), (1, 1)]),
        ([0, 99], [(0, 100)]),
        ([0, 100], [(0, 1), (100, 1)]),
        (list(range(250)), [(0, 100), (100, 100), (200, 50)]),
        ([0, 50_000], [(0, 1), (50_000, 1)]),
        ([], []),
    ],
)
def test_a_run_is_a_stretch_of_at_most_a_hundred(positions: list[int], expected: list[tuple[int, int]]) -> None:
    runs = build_outcome_runs(HEADER, [RecordPassed(position, an_order()) for position in positions])
    assert [(run.first, len(run.outcomes)) for run in runs] == expected
    assert sum(run.outcomes.count("S") for run in runs) == len(positions)


def test_a_run_stays_below_half_a_mebibyte_and_what_is_larger_itself_is_left_out() -> None:
    large = an_order(segment_ids=["é" * 100] * 1000)
    huge = an_order(segment_ids=["é" * 256] * 3000)
    outcomes = [RecordFailed(index, large, [NOT_FOUND]) for index in range(6)] + [RecordFailed(6, huge, [NOT_FOUND])]
    runs = build_outcome_runs(HEADER, outcomes)
    assert [(run.first, run.outcomes) for run in runs] == [(0, "FF"), (2, "FF"), (4, "FFF")]
    for run in runs:
        assert len(JOB_EVENTS.encode(JobEvent(HEADER, 0, Judged(run)))) <= 520 * 1024
    assert runs[-1].failures[-1].record is None


def test_what_is_told_of_faults_counts_towards_the_size_of_a_run() -> None:
    faults = [product_not_found(f"/lineItems/{number}/productId", "🛒" * 128) for number in range(20)]
    runs = build_outcome_runs(HEADER, [RecordFailed(index, an_order(), faults) for index in range(100)])
    assert sum(run.outcomes.count("F") for run in runs) == 100
    for run in runs:
        assert len(JOB_EVENTS.encode(JobEvent(HEADER, 0, Judged(run)))) <= 520 * 1024


def test_what_is_told_of_good_records_counts_as_well() -> None:
    failed = RecordFailed(0, an_order(segment_ids=["x" * 250] * 2000), [NOT_FOUND])
    good = an_order(id="🛒" * 128, user_id="🛒" * 256)
    runs = build_outcome_runs(HEADER, [failed, *(RecordPassed(index, good) for index in range(1, 100))])
    assert "".join(run.outcomes for run in runs) == "F" + 99 * "S"
    for run in runs:
        assert len(JOB_EVENTS.encode(JobEvent(HEADER, 0, Judged(run)))) <= 520 * 1024


def test_a_record_is_large_by_its_bytes() -> None:
    large = an_order(segment_ids=["€" * 256] * 1000)
    (run,) = build_outcome_runs(HEADER, [RecordFailed(0, large, [NOT_FOUND])])
    assert run.failures[0].record is None


@pytest.mark.parametrize(
    ("record", "pointer", "row"),
    [
        (an_order(id=""), "/id", [None, "userA2"]),
        (an_order(user_id="x" * 1_000_000), "/userId", ["1723ABC", None]),
        (a_return(order_id=""), "/orderId", [None, "15", "userC2"]),
        (a_return(return_id="x" * 1_000_000), "/returnId", ["13", None, "userC2"]),
        (a_return(user_id=""), "/userId", ["13", "15", None]),
    ],
)
def test_an_id_that_is_the_fault_is_not_told(record: SalesRecord, pointer: str, row: list[str | None]) -> None:
    header = msgspec.structs.replace(HEADER, type="orders" if len(row) == 2 else "returns", mode=record.mode)
    (run,) = build_outcome_runs(header, [RecordFailed(0, record, [make_fault(FaultCode.INVALID_VALUE, pointer, "…")])])
    (failure,) = run.failures
    assert rows(run.rows) == [row]
    assert [failure.order_id, failure.return_id] == (row[:2] if len(row) == 3 else [row[0], None])


@pytest.mark.parametrize(
    ("changes", "is_sound"),
    [
        ({}, True),
        ({"index": 0, "total": 1}, True),
        ({"index": 1, "total": 1}, False),
        ({"index": -1}, False),
        ({"index": 0, "total": 0}, False),
        ({"total": 100_000}, True),
        ({"total": 100_001}, False),
        ({"job_id": "nonsense"}, False),
        ({"job_id": "F29DD805-0156-11EE-AD68-7D780AFC9F2C"}, False),
    ],
)
def test_a_place_in_a_job(changes: dict[str, Any], *, is_sound: bool) -> None:
    assert (validate_job_ref(a_place(**changes), max_total=100_000) is None) == is_sound


def test_an_opened_job_without_refusals() -> None:
    header = JobHeader(JobKey(608, HEADER.job_id), 1, 1_000_000, "online", "returns")
    event = JobEvent(header, 2_000_000, Opened(None))
    assert JOB_EVENTS.encode(event) == by_fastavro("job_event", event)
