"""The rules of a valid record, as the table of fields states them, for records of REST clients and of Kafka producers.

Nothing is normalised here: a currency in lower case is an unknown currency.
"""

from collections.abc import Callable, Container, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales.fast_check import passes_fast_check
from services.sales.faults import first_faults, invalid_value, product_not_found
from services.sales.field_types import YEAR_1980_US, FieldType, RuleContext
from services.sales.fields import PRODUCT_ID, TABLES, FieldTable, Lines
from services.sales.records import SalesRecord
from services.values.instants import MIN_INSTANT_US
from services.values.invalid import Invalid
from services.values.time_uuids import timestamp_us


class _Check(NamedTuple):
    attribute: str
    name: str
    validate: Callable[[Any, RuleContext], Invalid | None]
    is_lines: bool


def check_record(record: SalesRecord, *, now_us: int, currencies: AbstractSet[str]) -> list[Fault]:
    """Return the first 20 faults of a record, in the order of the table; empty if it keeps every rule."""
    if passes_fast_check(record, now_us=now_us, currencies=currencies):
        return []
    min_date_time_us = MIN_INSTANT_US if _is_from_ingest(record) else YEAR_1980_US
    return first_faults(find_faults(record, RuleContext(now_us, currencies, min_date_time_us=min_date_time_us)))


def find_faults(record: SalesRecord, context: RuleContext) -> Iterator[Fault]:
    """Yield all faults of a record, in the order of the table."""
    return _find_faults(record, context, at="")


def find_unknown_products(record: SalesRecord, known: Container[str]) -> list[Fault]:
    """Return one fault for each distinct product of the record that is not `known`; the first 20."""
    missing = [
        (line.product_id, position) for position, line in enumerate(record.line_items) if line.product_id not in known
    ]
    if not missing:
        return []
    first: dict[str, int] = {}
    for product_id, position in missing:
        first.setdefault(product_id, position)
    # An invalid id has its own fault already, and must not be quoted.
    return first_faults(
        product_not_found(f"/lineItems/{position}/productId", product_id)
        for product_id, position in first.items()
        if PRODUCT_ID.validate(product_id) is None
    )


def _is_from_ingest(record: SalesRecord) -> bool:
    # Ingest makes the job's id when it accepts the records, and reads dates from texts: none is of another unit.
    return record.job is not None and timestamp_us(record.job.job_id) == record.accepted_at


def _find_faults(values: Any, context: RuleContext, *, at: str) -> Iterator[Fault]:
    for attribute, name, validate, is_lines in _CHECKS[type(values)]:
        value = getattr(values, attribute)
        if value is None:
            continue
        if invalid := validate(value, context):
            yield invalid_value(f"{at}/{name}", invalid)
        elif is_lines:
            for position, line in enumerate(value):
                yield from _find_faults(line, context, at=f"{at}/{name}/{position}")


def _list_checks(table: FieldTable) -> list[_Check]:
    return [
        _Check(field.attribute, field.name, field.type.validate, isinstance(field.type, Lines))
        for field in table.fields
        if type(field.type).validate is not FieldType.validate
    ]


_CHECKS = {table.record_type: _list_checks(table) for table in TABLES}
