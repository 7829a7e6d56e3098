"""Columns of flat files: which field each one is, and what its cells mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from tillstream.sources.records import SourceError

ERRORS_COLUMN = "_errors"
TEXT, INTEGER, AMOUNT, TIME = "text", "integer", "amount", "time"
_SALE = {
    "channel": TEXT,
    "userId": TEXT,
    "dateTime": TIME,
    "mode": TEXT,
    "paymentMethod": TEXT,
    "emailHash": TEXT,
    "ccHash": TEXT,
    "storeId": TEXT,
    "regionId": INTEGER,
    "segmentIds": TEXT,
    "segmentNames": TEXT,
    "currency": TEXT,
}
_LINE = {"productId": TEXT, "skuId": TEXT, "quantity": INTEGER, "unitPrice": AMOUNT}
RECORD_FIELDS: Mapping[str, Mapping[str, str]] = {
    "orders": {"id": TEXT, **_SALE, "couponCode": TEXT, "couponValue": AMOUNT},
    "returns": {"orderId": TEXT, "returnId": TEXT, **_SALE, "returnValue": AMOUNT},
}
LINE_FIELDS: Mapping[str, Mapping[str, str]] = {"orders": _LINE, "returns": {**_LINE, "creditType": TEXT}}
KEYS: Mapping[str, tuple[str, ...]] = {"orders": ("id",), "returns": ("orderId", "returnId")}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    kind: (*keys, "userId", "dateTime", "productId", "quantity", "unitPrice") for kind, keys in KEYS.items()
}
_ALIASES = {"orders": {"orderid": "id", "segmentid": "segmentIds"}, "returns": {"segmentid": "segmentIds"}}
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_THOUSANDS = {
    ",": re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]+)?"),
    ".": re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?"),
}
_DAY_FIRST = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})(?:[ T,]+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?))?")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ISO_WITH_BLANK = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) +([0-9]{2}:[0-9]{2}.*)")
HAS_OFFSET = re.compile(r"(?:Z|[+-][0-9]{2}:?(?:[0-9]{2})?)$", re.IGNORECASE)
# Excel's numbers have 15 digits; it changes the others without a word.
MAX_EXACT_FLOAT = 10**15


class RoundedNumberError(ValueError):
    """A spreadsheet cell holds a number of more digits than a spreadsheet keeps."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is sent: its position, heading, field, and type of cells."""

    position: int
    heading: str
    field: str
    type: str
    is_line: bool


def normalise(heading: object) -> str:
    """Return a heading without case, blanks and punctuation."""
    return _NOT_ALPHANUMERIC.sub("", str(heading or "")).lower()


class ColumnMap:
    """Recognises headings: by the fields' names in any spelling, or by the user's `wire=column` pairs."""

    def __init__(self, kind: str, mapping: Mapping[str, str]) -> None:
        self.kind = kind
        fields = {**RECORD_FIELDS[kind], **LINE_FIELDS[kind]}
        unknown = [name for name in mapping if name not in fields]
        if unknown:
            raise SourceError(f"--map: {', '.join(unknown)} is no field of {kind}; the fields are {', '.join(fields)}")
        self._mapped = {normalise(column): name for name, column in mapping.items()}
        self._own = {normalise(name): name for name in fields if name not in mapping} | {
            alias: name for alias, name in _ALIASES[kind].items() if name not in mapping
        }
        self._types = fields

    def field_of(self, heading: object) -> str | None:
        """Return the field of a column; None if it is not one of ours."""
        key = normalise(heading)
        return self._mapped.get(key) or self._own.get(key)

    def score(self, row: Sequence[object]) -> int:
        """Return how many cells of a row are headings of ours."""
        return len({field for cell in row if (field := self.field_of(cell))})

    def columns(self, header: Sequence[object], *, line: int) -> list[Column]:
        """Return the columns that are sent; raises `SourceError` for a missing or doubled one."""
        found: dict[str, Column] = {}
        for position, heading in enumerate(header):
            field = self.field_of(heading)
            if field is None:
                continue
            if field in found:
                both = f"{found[field].heading!r} and {str(heading)!r}"
                raise SourceError(f"line {line}: columns {both} are both {field}; choose one with --map {field}=COLUMN")
            is_line = field in LINE_FIELDS[self.kind]
            found[field] = Column(position, str(heading), field, self._types[field], is_line)
        missing = [field for field in REQUIRED[self.kind] if field not in found]
        if missing:
            raise SourceError(
                f"line {line}: no column for {', '.join(missing)}; name it with --map {missing[0]}=COLUMN "
                f"(`tillstream template {self.kind}` writes an example)"
            )
        return list(found.values())


def to_value(cell: Any, type_: str, *, decimal: str, zone: tzinfo | None) -> Any:
    """Return what is sent for a cell; None for an empty one.

    What cannot be understood is sent as it is, so that the server names the fault. Raises `RoundedNumberError`.
    """
    if isinstance(cell, str):
        cell = cell.strip()
    if cell is None or cell == "":
        return None
    match type_:
        case "integer":
            return _to_integer(cell)
        case "amount":
            return _to_amount(cell, decimal)
        case "time":
            return _to_time(cell, zone)
    return _to_text(cell)


def _to_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        if abs(cell) >= MAX_EXACT_FLOAT:
            raise RoundedNumberError
        return str(int(cell))
    return str(cell)


def _to_integer(cell: Any) -> Any:
    text = cell if isinstance(cell, str) else _to_text(cell)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    is_whole = number.is_finite() and number.adjusted() < 20 and number == number.to_integral_value()
    return int(number) if is_whole else text


def _to_amount(cell: Any, decimal: str) -> str:
    if isinstance(cell, float):
        # What the cell shows: 0.1 + 0.2 is 0.30000000000000004.
        return format(Decimal(repr(round(cell, 6))), "f")
    text = str(cell).replace("\u00a0", "").replace(" ", "")
    if _THOUSANDS[decimal].fullmatch(text):
        text = text.replace("." if decimal == "," else ",", "")
    return text.replace(",", ".") if decimal == "," and "." not in text else text


def _to_time(cell: Any, zone: tzinfo | None) -> str:
    if isinstance(cell, datetime):
        text = cell.isoformat()
    elif isinstance(cell, date):
        text = datetime.combine(cell, time()).isoformat()
    else:
        text = str(cell)
        if found := _DAY_FIRST.fullmatch(text):
            day, month, year, clock = found.groups()
            clock = clock or "00:00"
            text = f"{year}-{int(month):02}-{int(day):02}T{clock.zfill(5) if clock.count(':') == 1 else clock.zfill(8)}"
        elif found := _ISO_WITH_BLANK.fullmatch(text):
            text = "T".join(found.groups())
        elif _ISO_DAY.fullmatch(text):
            text += "T00:00:00"
    if zone is None or "T" not in text or HAS_OFFSET.search(text.partition("T")[2]):
        return text
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).isoformat()
    except ValueError:
        return text
