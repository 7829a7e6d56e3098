"""Failed records as people mend them: a record as texts to be edited, and the texts as a record again."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from tillstream.sources.columns import AMOUNT, INTEGER, LINE_FIELDS, RECORD_FIELDS, REQUIRED

_LISTS = frozenset({"segmentIds", "segmentNames"})
# What the server adds to a record that it shows.
_ADDED = frozenset({"acceptedAt"})
_LINE = re.compile(r"/lineItems/([0-9]{1,4})/([A-Za-z]+)")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
# A record with more is edited as JSON: a form has a bounded number of fields.
MAX_LINES = 30


class DraftState(StrEnum):
    """Where a record that is mended stands. One that is `sending` belongs to a request that may have been sent."""

    FAULTY = "faulty"
    READY = "ready"
    SENDING = "sending"
    SENT = "sent"


class Fault(Struct, frozen=True):
    """What is wrong with a field; `field` is a JSON pointer, empty for the whole record."""

    code: str
    field: str
    message: str


class Draft(Struct, frozen=True, kw_only=True):
    """A record of a job as it was mended: JSON, what is still wrong, and the job that it was sent in.

    `batch` is the idempotency key of its request.
    """

    index: int
    record: bytes
    state: DraftState
    faults: Sequence[Fault] = ()
    batch: str | None = None
    job: str | None = None


class JobLink(Struct, frozen=True, kw_only=True):
    """`job` holds records of `mends`, mended."""

    job: str
    mends: str
    created_us: int
    records: int | None = None


class EditableField(Struct, frozen=True, kw_only=True):
    """A field of a record as text. `line` is the number of its line from 1, None if it is of the record."""

    pointer: str
    name: str
    line: int | None
    value: str
    is_required: bool
    faults: Sequence[Fault] = ()


def decode_record(text: bytes | str) -> Any:
    """Return a record; numbers with a fraction stay exact. Raises `ValueError` for what is not JSON."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from None


def encode_record(record: Any) -> bytes:
    """Return a record as JSON."""
    return _ENCODER.encode(record)


def prepare_record(record: Any, *, mode: str, user_id: str | None) -> Any:
    """Return a record as it can be sent again: with what its request or its job said of it beside the record."""
    if not isinstance(record, dict):
        return record
    prepared = {name: value for name, value in record.items() if name not in _ADDED}
    if user_id is not None and prepared.get("userId") in (None, ""):
        prepared["userId"] = user_id
    if prepared.get("mode") in (None, ""):
        prepared["mode"] = mode
    return prepared


def has_fields(record: Any) -> bool:
    """Whether a record can be edited field by field; otherwise only as JSON."""
    if not isinstance(record, dict):
        return False
    lines = record.get("lineItems", [])
    if not isinstance(lines, list) or len(lines) > MAX_LINES or not all(isinstance(line, dict) for line in lines):
        return False
    values = [value for name, value in record.items() if name != "lineItems"]
    values += [value for line in lines for value in line.values()]
    return all(_is_plain(value) for value in values)


def list_fields(record: Mapping[str, Any], kind: str, faults: Iterable[Fault]) -> list[EditableField]:
    """Return the fields of a record that are there, have to be there, or have a fault."""
    by_pointer: dict[str, list[Fault]] = {}
    for fault in faults:
        by_pointer.setdefault(fault.field, []).append(fault)
    fields = list(_fields(record, RECORD_FIELDS[kind], kind, by_pointer))
    lines = record.get("lineItems") or [{}]
    for number, line in enumerate(lines, 1):
        fields += _fields(line, LINE_FIELDS[kind], kind, by_pointer, line=number)
    return fields


def other_faults(fields: Iterable[EditableField], faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults that are of none of the fields."""
    shown = {field.pointer for field in fields}
    return [fault for fault in faults if fault.field not in shown]


def apply_edits(record: Mapping[str, Any], kind: str, edits: Mapping[str, str]) -> dict[str, Any]:
    """Return the record with what was edited, by JSON pointer. What was not changed keeps its value to the digit."""
    edited = dict(record)
    lines = [dict(line) for line in record.get("lineItems") or []]
    for pointer, text in edits.items():
        if found := _LINE.fullmatch(pointer):
            number, name = int(found[1]), found[2]
            if name in LINE_FIELDS[kind] and number < MAX_LINES:
                while len(lines) <= number:
                    lines.append({})
                _set(lines[number], name, text, LINE_FIELDS[kind][name])
        elif (name := pointer.removeprefix("/")) in RECORD_FIELDS[kind]:
            _set(edited, name, text, RECORD_FIELDS[kind][name])
    if record.get("lineItems") or any(lines):
        edited["lineItems"] = lines
    return edited


def to_text(value: Any) -> str:
    """Return a value as it is edited."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(to_text(each) for each in value)
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value.adjusted()) < 40 else str(value)
    return str(value)


def _fields(
    values: Mapping[str, Any],
    types: Mapping[str, str],
    kind: str,
    faults: Mapping[str, Sequence[Fault]],
    *,
    line: int | None = None,
) -> Iterator[EditableField]:
    prefix = "" if line is None else f"/lineItems/{line - 1}"
    for name in types:
        pointer = f"{prefix}/{name}"
        is_required = name in REQUIRED[kind]
        if is_required or pointer in faults or values.get(name) not in (None, ""):
            yield EditableField(
                pointer=pointer,
                name=name,
                line=line,
                value=to_text(values.get(name)),
                is_required=is_required,
                faults=faults.get(pointer, ()),
            )


def _set(values: dict[str, Any], name: str, text: str, type_: str) -> None:
    # Browsers send line ends as two characters.
    text = text.replace("\r\n", "\n").strip()
    if text == to_text(values.get(name)).strip():
        return
    if not text:
        values.pop(name, None)
    else:
        values[name] = _to_value(text, name, type_)


def _to_value(text: str, name: str, type_: str) -> Any:
    if name in _LISTS:
        return [part.strip() for part in text.split(",")]
    if type_ == INTEGER and _INTEGER.fullmatch(text):
        return int(text)
    if type_ == AMOUNT:
        return _to_amount(text)
    return text


def _to_amount(text: str) -> Any:
    """Return an amount; a decimal comma is understood. What is no number is sent as it is: the check will say so."""
    number = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        return Decimal(number) if Decimal(number).is_finite() and abs(Decimal(number).adjusted()) < 40 else text
    except InvalidOperation:
        return text


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(not isinstance(each, list | dict) and "," not in to_text(each) for each in value)
    return not isinstance(value, dict)
