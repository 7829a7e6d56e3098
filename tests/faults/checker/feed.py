"""What a site's feed must have in the end, what its readers may have seen of it, and what endpoints must have got."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.faults.checker.ledger import Endpoint, Evidence, Ledger, Reading, Violation

PING = "endpoint.ping"
# States in which an order has ended.
ENDS = frozenset({"PARTIALLY_COMPLETED", "COMPLETED", "CANCELLED"})

Found = Iterator[Violation]


def feed(ledger: Ledger, evidence: Evidence) -> Found:
    """I1 and I4 for the feed, its readers and its endpoints."""
    if evidence.feed is None:
        return
    yield from numbering(evidence.feed)
    yield from finished_jobs(evidence.feed, evidence)
    yield from _fulfilment(evidence.feed, evidence)
    yield from read_in_order(evidence.feed, ledger.readings)
    for endpoint in ledger.endpoints:
        yield from _arrivals(evidence.feed, endpoint)
        yield from _owed(evidence.feed, endpoint)
        if endpoint.is_ordered:
            yield from _order(evidence.feed, endpoint)


def numbering(events: Sequence[Any]) -> Found:
    """I4: sequences count from 1 without a hole, and no event is there twice."""
    sequences = [event["sequence"] for event in events]
    if sequences != list(range(1, len(sequences) + 1)):
        yield Violation("I4", "the feed's sequences have a hole or a repeat")
    if len({event["id"] for event in events}) < len(events):
        yield Violation("I4", "an event is in the feed twice")


def finished_jobs(events: Sequence[Any], evidence: Evidence) -> Found:
    """I1: each job that has ended is in the feed once, with its counts, and no other job is."""
    of_jobs = _of_type(events, "job.finished")
    announced = Counter(event["data"]["jobId"] for event in of_jobs)
    ended = {job_id for job_id, job in evidence.jobs.items() if job and job["summary"]["job"]["terminal"]}
    for job_id in sorted(ended | set(announced)):
        if announced[job_id] != (job_id in ended):
            yield Violation("I1", f"job {job_id} ended and is in the feed {announced[job_id]} times")
    for event in of_jobs:
        if problem := _counts_differ(event["data"], evidence):
            yield Violation("I1", problem)


def _fulfilment(events: Sequence[Any], evidence: Evidence) -> Found:
    """I1: each order that has ended and each invoice is in the feed once, and nothing that does not exist is."""
    orders = evidence.transactions
    ended = {each for each, found in orders.items() if found["status"] in ENDS}
    # An order may have ended since it was looked at.
    completed = (each["data"]["transactionId"] for each in _of_type(events, "order.completed"))
    yield from _once("order", completed, expected=ended, possible=set(orders))
    issued = {one["id"] for one in evidence.invoices}
    announced = (each["data"]["id"] for each in _of_type(events, "invoice.issued"))
    yield from _once("invoice", announced, expected=issued, possible=issued)


def _once(noun: str, found: Iterable[str], *, expected: set[str], possible: set[str]) -> Found:
    counts = Counter(found)
    for one in sorted(expected | set(counts)):
        if not (one in expected) <= counts[one] <= (one in possible):
            yield Violation("I1", f"{noun} {one} is in the feed {counts[one]} times, not {int(one in possible)}")


def read_in_order(events: Sequence[Any], readings: Iterable[Reading]) -> Found:
    """I4: each reader saw the events behind its cursor, each once and in order."""
    final = [(event["sequence"], event["id"]) for event in events]
    for reading in readings:
        seen = [(event["sequence"], event["id"]) for event in reading.events]
        if seen != final[reading.after : reading.after + len(seen)]:
            message = f"what a reader saw of the feed behind {reading.after} is not the beginning of what it is there"
            yield Violation("I4", message)
            return


def _arrivals(events: Sequence[Any], endpoint: Endpoint) -> Found:
    """I4: an endpoint gets events of the feed as they are there, under their ids, and none of before it existed."""
    by_id = {event["id"]: event for event in events}
    for arrival in endpoint.arrivals:
        event = json.loads(arrival.body)
        if event["id"] != arrival.event_id:
            yield Violation("I4", f"{endpoint.url} got {event['id']} under the id {arrival.event_id}")
        elif event["type"] == PING:
            continue
        elif by_id.get(event["id"]) != event:
            yield Violation("I4", f"{endpoint.url} got event {event['sequence']}, which is another one in the feed")
        elif event["sequence"] <= endpoint.head_before:
            yield Violation("I4", f"{endpoint.url} got event {event['sequence']} of before it existed")
        else:
            continue
        return


def _owed(events: Sequence[Any], endpoint: Endpoint) -> Found:
    """I1: an endpoint has taken its ping and every event since it exists, at least once."""
    if endpoint.head_after is None:
        return
    taken = {json.loads(arrival.body)["sequence"] for arrival in endpoint.arrivals if arrival.is_taken}
    owed = [0, *(each["sequence"] for each in _wanted(events, endpoint) if each["sequence"] > endpoint.head_after)]
    if missing := [sequence for sequence in owed if sequence not in taken]:
        yield Violation("I1", f"{endpoint.url} has never taken event {missing[0]}, nor {len(missing) - 1} others")


def _order(events: Sequence[Any], endpoint: Endpoint) -> Found:
    """I4: an ordered endpoint gets an event for the first time when it has taken all before it."""
    wanted = [each["sequence"] for each in _wanted(events, endpoint)]
    first: int | None = None
    taken: set[int] = set()
    for arrival in endpoint.arrivals:
        sequence = json.loads(arrival.body)["sequence"]
        if not sequence:
            continue
        first = sequence if first is None else first
        if early := [each for each in wanted if first <= each < sequence and each not in taken]:
            yield Violation("I4", f"{endpoint.url} is ordered and got event {sequence} before {early[0]}")
            return
        if arrival.is_taken:
            taken.add(sequence)


def _wanted(events: Sequence[Any], endpoint: Endpoint) -> list[Any]:
    return [event for event in events if not endpoint.types or event["type"] in endpoint.types]


def _of_type(events: Sequence[Any], type_: str) -> list[Any]:
    return [event for event in events if event["type"] == type_]


def _counts_differ(data: Any, evidence: Evidence) -> str | None:
    job = evidence.jobs.get(data["jobId"])
    counts = job["summary"]["job"]["baggage"]["records"] if job else None
    if counts is None or counts == data["counts"]:
        return None
    return f"job {data['jobId']} has {counts}, its event {data['counts']}"
