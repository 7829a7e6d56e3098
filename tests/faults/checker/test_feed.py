"""The checks of the feed, its readers and its endpoints fail when they should."""

import json
from typing import Any

import pytest

from tests.faults.checker.feed import PING, feed
from tests.faults.checker.ledger import Arrival, Endpoint, Evidence, Ledger, Reading


def an_event(sequence: int, **changes: Any) -> dict[str, Any]:
    data = {"id": f"i{sequence}", **changes}
    return {"id": f"event-{sequence}", "sequence": sequence, "type": "invoice.issued", "data": data}


def arrived(event: dict[str, Any], *, event_id: str | None = None, is_taken: bool = True) -> Arrival:
    return Arrival(event_id or event["id"], json.dumps(event).encode(), is_taken)


PINGED = arrived({"id": "ping", "sequence": 0, "type": PING})
EVENTS = [an_event(1), an_event(2), an_event(3)]
COMPLETED = {**an_event(4, transactionId="t1"), "type": "order.completed"}


def check(
    *, events: Any = EVENTS, readings: Any = (), arrivals: Any = None, orders: Any = None, **endpoint: Any
) -> list[str]:
    """Return the violations for this feed and an endpoint that was created behind event 1."""
    evidence = Evidence(feed=list(events), invoices=[{"id": f"i{number}"} for number in (1, 2, 3)])
    evidence.transactions.update({each: {"status": status} for each, status in (orders or {}).items()})
    ledger = Ledger(readings=list(readings))
    if arrivals is not None:
        options = {"types": (), "is_ordered": True, "head_before": 1, "head_after": 1, **endpoint}
        ledger.endpoints.append(Endpoint(url="e", **options, arrivals=[PINGED, *arrivals]))
    return [str(each) for each in feed(ledger, evidence)]


@pytest.mark.parametrize(
    "arrivals",
    [
        [arrived(EVENTS[1]), arrived(EVENTS[2])],
        # At least once, the repeats in any order.
        [arrived(EVENTS[1], is_taken=False), arrived(EVENTS[1]), arrived(EVENTS[2]), arrived(EVENTS[1])],
    ],
)
def test_what_was_delivered_at_least_once_is_right(arrivals: Any) -> None:
    readings = [Reading(0, EVENTS[:2]), Reading(1, EVENTS[1:]), Reading(3, []), Reading(0, [])]
    assert check(readings=readings, arrivals=arrivals) == []


@pytest.mark.parametrize("status", ["COMPLETED", "PROCESSING"])
def test_an_order_may_have_ended_since_it_was_looked_at(status: str) -> None:
    assert check(events=[*EVENTS, COMPLETED], orders={"t1": status}) == []


def test_nothing_is_owed_to_an_endpoint_of_which_nobody_knows() -> None:
    assert check(arrivals=[], head_after=None) == []
    assert check(arrivals=[], types=("job.finished",)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": [EVENTS[0], EVENTS[2]]}, "I4: the feed's sequences have a hole"),
        ({"events": [*EVENTS, {**EVENTS[0], "sequence": 4}]}, "I4: an event is in the feed twice"),
        ({"events": EVENTS[:2]}, "I1: invoice i3 is in the feed 0 times, not 1"),
        ({"events": [*EVENTS, an_event(4)]}, "I1: invoice i4 is in the feed 1 times, not 0"),
        ({"orders": {"t1": "COMPLETED"}}, "I1: order t1 is in the feed 0 times"),
        ({"events": [*EVENTS, COMPLETED]}, "I1: order t1 is in the feed 1 times, not 0"),
        ({"readings": [Reading(1, EVENTS[2:])]}, "I4: what a reader saw of the feed behind 1"),
        ({"readings": [Reading(0, [EVENTS[0], EVENTS[0]])]}, "I4: what a reader saw of the feed behind 0"),
        ({"readings": [Reading(0, [{**EVENTS[0], "id": "rolled-back"}])]}, "I4: what a reader saw"),
        ({"arrivals": [arrived(EVENTS[1])]}, "I1: e has never taken event 3"),
        ({"arrivals": [arrived(EVENTS[1]), arrived(EVENTS[2], is_taken=False)]}, "I1: e has never taken event 3"),
        ({"arrivals": [arrived(EVENTS[2]), arrived(EVENTS[1])], "head_after": 0}, "I1: e has never taken event 1"),
        ({"arrivals": [arrived(EVENTS[0]), arrived(EVENTS[1])]}, "I4: e got event 1 of before it existed"),
        ({"arrivals": [arrived(EVENTS[1], event_id="other")]}, "I4: e got event-2 under the id other"),
        ({"arrivals": [arrived(an_event(2, total="1.00"))]}, "I4: e got event 2, which is another one"),
        (
            {"arrivals": [arrived(EVENTS[1], is_taken=False), arrived(EVENTS[2]), arrived(EVENTS[1])]},
            "I4: e is ordered and got event 3 before 2",
        ),
    ],
)
def test_what_is_missing_doubled_or_out_of_order_is_a_violation(options: Any, message: str) -> None:
    violations = check(**options)
    assert any(each.startswith(message) for each in violations), violations


def test_an_endpoint_without_its_ping_is_a_violation() -> None:
    endpoint = Endpoint("e", (), is_ordered=False, head_before=0, head_after=0)
    evidence = Evidence(feed=[])
    assert list(map(str, feed(Ledger(endpoints=[endpoint]), evidence))) == [
        "I1: e has never taken event 0, nor 0 others"
    ]
