"""What the ledger must report of the sales that the clients sent."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from tests.faults.checker.clients import UNIT_PRICE, units_of
from tests.faults.checker.ledger import Evidence, Ledger, Violation


class Sums(NamedTuple):
    """What a report counts."""

    orders: int
    units: int
    gross: Decimal
    returned_units: int
    returned: Decimal


def sums_of(rows: Iterable[Any]) -> Sums:
    """Add the rows of a report; all clients use one currency."""
    found = list(rows)
    return Sums(
        sum(row["orders"] for row in found),
        sum(row["units"] for row in found),
        sum((Decimal(row["gross"]) for row in found), Decimal(0)),
        sum(row["returnedUnits"] for row in found),
        sum((Decimal(row["returned"]) for row in found), Decimal(0)),
    )


def expected_sales(ledger: Ledger, evidence: Evidence) -> Sums:
    """Each valid order and return of the importers once, however often it was sent or published."""
    orders, returns = _valid_ids(ledger, evidence, "orders"), _valid_ids(ledger, evidence, "returns")
    units, returned = sum(map(units_of, orders)), sum(map(units_of, returns))
    price = Decimal(str(UNIT_PRICE))
    return Sums(len(orders), units, units * price, returned, returned * price)


def _valid_ids(ledger: Ledger, evidence: Evidence, kind: str) -> set[str]:
    """The ids of valid records that importers sent; direct producers sell on another day."""
    sent = [one for one in ledger.imports if one.kind == kind and not one.direct_job_id]
    published = {record.record_id for record in evidence.of([f"{kind}.validated.v1"])}
    return published & {record_id for one in sent for record_id in one.records}


def sales(ledger: Ledger, evidence: Evidence) -> Iterator[Violation]:
    """I6: the ledger's sums are those of the published orders and returns, each counted once."""
    if evidence.sales is None:
        return
    found, expected = sums_of(evidence.sales), expected_sales(ledger, evidence)
    if found != expected:
        yield Violation("I6", f"the ledger has {found}, not {expected}")
