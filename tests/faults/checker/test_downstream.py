"""The checks of feed and ledger fail when they should."""

from typing import Any

import pytest

from tests.faults.checker.downstream import VALIDATED_ORDERS, Downstream, check_downstream
from tests.faults.checker.ledger import Evidence, KafkaRecord

COUNTS = {"total": 2, "failed": 1, "success": 1}


def an_event(sequence: int, job_id: str, **changes: Any) -> dict[str, Any]:
    data = {"jobId": job_id, "counts": COUNTS, **changes}
    return {"id": f"event-{job_id}", "sequence": sequence, "type": "job.finished", "data": data}


def evidence() -> Evidence:
    job = {"summary": {"job": {"terminal": True, "baggage": {"records": COUNTS}}}, "events": []}
    records = [KafkaRecord(VALIDATED_ORDERS, key, {}) for key in (b"1||a", b"1||b", b"1||b")]
    return Evidence(jobs={"j1": job, "j2": job}, records={VALIDATED_ORDERS: records})


def found(**changes: Any) -> Downstream:
    return Downstream(**{"feed": [an_event(1, "j1"), an_event(2, "j2")], "ledger_orders": 2, **changes})


def test_a_record_that_was_published_twice_is_one_order() -> None:
    assert list(check_downstream(evidence(), found())) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed": [an_event(1, "j1")]}, "j2 ended and is in the feed 0 times"),
        ({"feed": [an_event(1, "j1"), an_event(3, "j2")]}, "hole"),
        ({"feed": [an_event(1, "j1"), an_event(2, "j2"), an_event(3, "j2")]}, "twice"),
        ({"feed": [an_event(1, "j1"), an_event(2, "j2"), an_event(3, "j3")]}, "j3 ended and is in the feed 1 times"),
        ({"feed": [an_event(1, "j1"), an_event(2, "j2", counts={})]}, "its event {}"),
        ({"readings": [[an_event(1, "j2")]]}, "not the beginning"),
        ({"ledger_orders": 1}, "1 orders of 2"),
    ],
)
def test_what_is_missing_doubled_or_different_is_a_violation(changes: Any, message: str) -> None:
    violations = [str(each) for each in check_downstream(evidence(), found(**changes))]
    assert any(message in each for each in violations), violations
