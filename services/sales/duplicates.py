"""One sale twice in one batch: identical records both pass, of different ones the first."""

from services.jobs.events import Fault
from services.sales.faults import FaultCode, make_fault
from services.sales.records import Order, SalesRecord


def find_conflicts(good: list[tuple[int, SalesRecord]]) -> dict[int, Fault]:
    """The faults, by index, of those records that say something else than an earlier one of the same identity."""
    if len({record.id if isinstance(record, Order) else record.return_id for _, record in good}) == len(good):
        return {}
    first: dict[tuple[str | None, ...], SalesRecord] = {}
    faults = {}
    for index, record in good:
        if first.setdefault(_identity(record), record) != record:
            field = "/id" if isinstance(record, Order) else "/returnId"
            faults[index] = make_fault(
                FaultCode.DUPLICATE_IN_BATCH, field, "The batch holds another version of this record"
            )
    return faults


def _identity(record: SalesRecord) -> tuple[str | None, ...]:
    if isinstance(record, Order):
        return (record.channel, record.id)
    return (record.channel, record.order_id, record.return_id)
