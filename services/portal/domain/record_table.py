"""Records of a job as rows of a file: failed ones with the columns of an import file, to be mended and imported again.

A record has a row for each of its lines; `_errors` is in the first one.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tillstream.models import RecordResult
from tillstream.sources.columns import ERRORS_COLUMN, LINE_FIELDS, RECORD_FIELDS

Row = Sequence[Any]
_OUTCOME_COLUMNS = ("index", "outcome", "userId", ERRORS_COLUMN)
_NUMERIC = frozenset(
    name
    for fields in (*RECORD_FIELDS.values(), *LINE_FIELDS.values())
    for name, type_ in fields.items()
    if type_ in ("integer", "amount")
)
# A spreadsheet would take a text that begins with one of these signs for a formula. With apostrophes before it, too, so
# that `restore` returns any text as it was.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NEUTRALISED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*")


def columns(kind: str, *, has_records: bool) -> list[str]:
    """Return the heading of a file of failed records, or of one that only says what became of each."""
    if has_records:
        return [*RECORD_FIELDS[kind], *LINE_FIELDS[kind], ERRORS_COLUMN]
    keys = ["id"] if kind == "orders" else ["orderId", "returnId"]
    return [*keys, *_OUTCOME_COLUMNS]


def describe_faults(record: RecordResult) -> str:
    """Return the faults of a record as one text."""
    return "; ".join(f"{fault.field or '/'} {fault.code}: {fault.message}" for fault in record.faults)


def rows(record: RecordResult, kind: str, *, has_records: bool) -> Iterator[Row]:
    """Yield the rows of a record, with a cell for each column."""
    if not has_records:
        keys = [record.id] if kind == "orders" else [record.order_id, record.return_id]
        yield [*keys, record.index, record.outcome, record.user_id, describe_faults(record)]
        return
    content = record.record if isinstance(record.record, dict) else {}
    lines = content.get("lineItems")
    is_first = True
    for line in [each for each in lines if isinstance(each, dict)] if isinstance(lines, list) and lines else [{}]:
        cells = [_cell(content.get(name)) for name in RECORD_FIELDS[kind]]
        cells += [_cell(line.get(name)) for name in LINE_FIELDS[kind]]
        yield [*cells, describe_faults(record) if is_first else ""]
        is_first = False


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    if isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def neutralise(cells: Row, headings: Sequence[str]) -> list[Any]:
    """Return the cells for CSV: a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return [
        f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell, heading) else cell
        for cell, heading in zip(cells, headings, strict=True)
    ]


def restore(value: Any) -> Any:
    """Return a value of a record from a file of ours without the apostrophes that `neutralise` has added."""
    match value:
        case str():
            return value[1:] if _NEUTRALISED.match(value) else value
        case list():
            return [restore(each) for each in value]
        case dict():
            return {name: restore(each) for name, each in value.items()}
    return value


def _is_number(cell: str, heading: str) -> bool:
    return heading in _NUMERIC and _NUMBER.fullmatch(cell) is not None
