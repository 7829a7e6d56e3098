"""What went wrong with the records of a job: grouped, with samples and with the money that is held up."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from services.portal.domain.fault_texts import FaultText, describe_fault
from tillstream.models import RecordResult

MAX_SAMPLES = 3
_POSITION = re.compile(r"/[0-9]+(?=/|$)")
# Larger ones are no prices.
_MAX_DIGITS = 30

Money = Mapping[str, Decimal]


class Sample(Struct, frozen=True):
    """A record of a group."""

    index: int
    name: str
    message: str


class FailureGroup(Struct, kw_only=True):
    """Records with the same fault: code, field (without positions) and, if it is one, the unknown product."""

    code: str
    field: str
    product: str | None
    text: FaultText
    is_retryable: bool
    records: int = 0
    money: dict[str, Decimal]
    samples: list[Sample]


class FailureReport(Struct, kw_only=True, frozen=True):
    """All groups, the largest first; a record with several faults is in several. Money counts a record once.

    `records` were read; unless `is_complete`, there are more.
    """

    groups: list[FailureGroup]
    records: int
    money: Money
    is_complete: bool


class FailureCounter:
    """Groups failed records one after the other."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str | None], FailureGroup] = {}
        self._records = 0
        self._money: dict[str, Decimal] = {}

    def add(self, record: RecordResult) -> None:
        """Count a record with each of its different faults."""
        self._records += 1
        currency, amount = money_of(record.record)
        _add(self._money, currency, amount)
        seen = set()
        for fault in record.faults:
            key = (fault.code, strip_positions(fault.field), fault.product_id)
            if key in seen:
                continue
            seen.add(key)
            group = self._groups.get(key) or self._new_group(key, is_retryable=fault.retryable)
            group.records += 1
            _add(group.money, currency, amount)
            if len(group.samples) < MAX_SAMPLES:
                group.samples.append(Sample(record.index, name_of(record), fault.message))

    def _new_group(self, key: tuple[str, str, str | None], *, is_retryable: bool) -> FailureGroup:
        code, field, product = key
        text = describe_fault(code)
        self._groups[key] = FailureGroup(
            code=code, field=field, product=product, text=text, is_retryable=is_retryable, money={}, samples=[]
        )
        return self._groups[key]

    def report(self, *, is_complete: bool) -> FailureReport:
        """Return what was counted."""
        groups = sorted(self._groups.values(), key=lambda group: (-group.records, group.code, group.field))
        return FailureReport(groups=groups, records=self._records, money=self._money, is_complete=is_complete)


def name_of(record: RecordResult) -> str:
    """Return what a record is called in its file: the id of an order, or both of a return."""
    if record.return_id is not None or record.order_id is not None:
        return " / ".join(part for part in (record.order_id, record.return_id) if part) or f"#{record.index + 1}"
    return record.id or f"#{record.index + 1}"


def strip_positions(pointer: str) -> str:
    """Return a JSON pointer without the positions in lists: `/lineItems/3/quantity` is `/lineItems/quantity`."""
    return _POSITION.sub("", pointer)


def money_of(record: Any) -> tuple[str, Decimal]:
    """Return currency and amount of a record that may be malformed; an empty currency is the site's own."""
    if not isinstance(record, dict):
        return "", Decimal()
    currency = record.get("currency")
    lines = record.get("lineItems")
    amounts = [_line_amount(line) for line in lines] if isinstance(lines, list) else []
    return currency if isinstance(currency, str) and len(currency) == 3 else "", sum(amounts, Decimal())


def _line_amount(line: Any) -> Decimal:
    if not isinstance(line, dict):
        return Decimal()
    return _number(line.get("quantity")) * _number(line.get("unitPrice"))


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return Decimal()
    text = str(value)
    try:
        number = Decimal(text) if len(text) <= _MAX_DIGITS else Decimal()
    except InvalidOperation:
        return Decimal()
    return number if number.is_finite() and abs(number.adjusted()) <= _MAX_DIGITS else Decimal()


def _add(money: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    if amount:
        money[currency] = money.get(currency, Decimal()) + amount


def merge_reports(reports: Iterable[FailureReport]) -> FailureReport:
    """Return the sums of several reports, without samples."""
    groups: dict[tuple[str, str, str | None], FailureGroup] = {}
    money: dict[str, Decimal] = {}
    records, is_complete = 0, True
    for report in reports:
        records += report.records
        is_complete = is_complete and report.is_complete
        for currency, amount in report.money.items():
            _add(money, currency, amount)
        for group in report.groups:
            merged = groups.setdefault(
                (group.code, group.field, group.product),
                FailureGroup(
                    code=group.code,
                    field=group.field,
                    product=group.product,
                    text=group.text,
                    is_retryable=group.is_retryable,
                    money={},
                    samples=[],
                ),
            )
            merged.records += group.records
            for currency, amount in group.money.items():
                _add(merged.money, currency, amount)
    ordered = sorted(groups.values(), key=lambda group: (-group.records, group.code, group.field))
    return FailureReport(groups=ordered, records=records, money=money, is_complete=is_complete)
