"""What services behind the validator and status must have in the end: the feed of a site, and its ledger of sales."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.checker.ledger import Evidence, Violation

VALIDATED_ORDERS = "orders.validated.v1"


@dataclass
class Downstream:
    """The feed as a reader has seen it while it grew and at last, and the ledger's number of orders."""

    # Each reading of the feed from its beginning, page by page.
    readings: list[Sequence[Any]] = field(default_factory=list)
    feed: Sequence[Any] = ()
    ledger_orders: int = 0


def check_downstream(evidence: Evidence, found: Downstream) -> Iterator[Violation]:
    """I4 for the feed, I1 for what it and the ledger of sales must have."""
    yield from _feed(found)
    announced = Counter(event["data"]["jobId"] for event in found.feed if event["type"] == "job.finished")
    ended = {job_id for job_id, job in evidence.jobs.items() if job and job["summary"]["job"]["terminal"]}
    for job_id in sorted(ended | set(announced)):
        if announced[job_id] != (job_id in ended):
            yield Violation("I1", f"job {job_id} ended and is in the feed {announced[job_id]} times")
    for event in found.feed:
        if event["type"] == "job.finished" and (problem := _counts_differ(event["data"], evidence)):
            yield Violation("I1", problem)
    sold = {record.key for record in evidence.of([VALIDATED_ORDERS])}
    if found.ledger_orders != len(sold):
        yield Violation("I1", f"the ledger has {found.ledger_orders} orders of {len(sold)} that were validated")


def _feed(found: Downstream) -> Iterator[Violation]:
    sequences = [event["sequence"] for event in found.feed]
    if sequences != list(range(1, len(sequences) + 1)):
        yield Violation("I4", "the feed's sequences have a hole or a repeat")
    ids = [event["id"] for event in found.feed]
    if len(set(ids)) < len(ids):
        yield Violation("I4", "an event is in the feed twice")
    for reading in found.readings:
        if [event["id"] for event in reading] != ids[: len(reading)]:
            yield Violation("I4", "what a reader saw of the feed is not the beginning of what it is at last")
            return


def _counts_differ(data: Any, evidence: Evidence) -> str | None:
    job = evidence.jobs.get(data["jobId"])
    counts = job["summary"]["job"]["baggage"]["records"] if job else None
    if counts is None or counts == data["counts"]:
        return None
    return f"job {data['jobId']} has {counts}, its event {data['counts']}"
