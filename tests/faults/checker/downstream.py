"""What services behind the validator and status must have in the end: the feed of a site, and its ledger of sales."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.checker.feed import finished_jobs, numbering, read_in_order
from tests.faults.checker.ledger import Evidence, Reading, Violation

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
    yield from numbering(found.feed)
    yield from read_in_order(found.feed, [Reading(events=list(reading)) for reading in found.readings])
    yield from finished_jobs(found.feed, evidence)
    sold = {record.key for record in evidence.of([VALIDATED_ORDERS])}
    if found.ledger_orders != len(sold):
        yield Violation("I1", f"the ledger has {found.ledger_orders} orders of {len(sold)} that were validated")
