"""Reads one record from JSON field by field: finds every fault, and what deserves a note.

`size` is the length of the record's JSON text: a rejection does not keep a very large one.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import structs

from services.jobs.events import Fault
from services.sales.batch import ImportContext, Note, NoteCode, RejectedRecord
from services.sales.faults import MAX_FAULTS, FaultCode, first_faults, invalid_value, make_fault
from services.sales.fields import LINE_ITEMS, MAX_LINES, ORDER, RETURN, TABLES, Field, FieldTable, Lines, get_table
from services.sales.object_reader import ObjectReader, Plan, ReadField
from services.sales.payments import payment_kind
from services.sales.records import OFFLINE, ORDERS, SalesRecord
from services.sales.redaction import displayable_name, redacted_json
from services.values.identifiers import LONE_SURROGATE
from services.values.instants import Instant
from services.values.invalid import Invalid, InvalidKind
from services.values.strict_json import find_lone_surrogates

MAX_NOTES = 20

# In a PUT the path has the user.
_OPTIONAL_USER_ID = replace(ORDER.sent["userId"], is_required=False)
_NOT_AN_OBJECT = Invalid(InvalidKind.TYPE, "must be an object")


class ParsedRecord(NamedTuple):
    """The record or its rejection; the mode that it states itself, if any; notes."""

    record: SalesRecord | None
    rejected: RejectedRecord | None
    stated_mode: str | None
    notes: list[Note]


def read_record(values: dict[str, Any], kind: str, context: ImportContext, *, index: int, size: int) -> ParsedRecord:
    """Read an object that is meant as an order or as a return."""
    table = ORDER if kind == ORDERS else RETURN
    reader = ObjectReader(values, context, faults=[])
    read = reader.read_by_attribute(_PLANS[table.record_type])
    notes = _list_notes(values, table, read["date_time"], index=index)
    stated_mode = read["mode"]
    if not reader.faults:
        return ParsedRecord(_build_record(table, read, context), None, stated_mode, notes)
    read["order_id"] = read.get("id", read.get("order_id"))
    received = redacted_json(values, table.sent, size=size)
    return ParsedRecord(None, _reject(reader, read, received, index=index), stated_mode, notes)


def read_ambiguous(values: dict[str, Any], context: ImportContext, *, index: int, size: int) -> ParsedRecord:
    """Reject an object that may be an order or a return, or a return among orders; find what else is wrong with it."""
    reason = "has both id and returnId" if is_present(values, "id") else "is a return among orders"
    reader = ObjectReader(values, context, faults=[make_fault(FaultCode.AMBIGUOUS_RECORD, "", f"The record {reason}")])
    order_id = reader.read(ORDER.sent["id"]) or reader.read(RETURN.sent["orderId"])
    return_id = reader.read(RETURN.sent["returnId"])
    read = reader.read_by_attribute(_COMMON_PLAN) | {"order_id": order_id, "return_id": return_id}
    received = redacted_json(values, _ALL_SENT, size=size)
    return ParsedRecord(None, _reject(reader, read, received, index=index), read["mode"], [])


def reject(
    record: SalesRecord, faults: list[Fault], values: dict[str, Any], *, index: int, size: int
) -> RejectedRecord:
    """Reject a record that is valid by itself; `values` is the object that it was read from."""
    received = redacted_json(values, get_table(record).sent, size=size)
    order_id, return_id = record.order_id, record.return_id
    return RejectedRecord(index, order_id, return_id, record.user_id, record.mode, faults, received)


def reject_surrogates(parsed: ParsedRecord, values: dict[str, Any], *, index: int, size: int) -> ParsedRecord:
    """Reject a record that contains lone surrogates; the rules have missed those in unknown fields."""
    reported = set() if parsed.rejected is None else {fault.field for fault in parsed.rejected.faults}
    faults = [
        invalid_value(pointer, LONE_SURROGATE)
        for pointer in islice(find_lone_surrogates(values, token=_pointer_token), MAX_FAULTS)
        if pointer not in reported
    ]
    if parsed.rejected is not None:
        all_faults = first_faults([*parsed.rejected.faults, *faults])
        return parsed._replace(rejected=structs.replace(parsed.rejected, faults=all_faults))
    if parsed.record is None or not faults:
        return parsed
    rejected = reject(parsed.record, faults, values, index=index, size=size)
    return parsed._replace(record=None, rejected=rejected)


def is_present(values: Mapping[str, Any], name: str) -> bool:
    """Return whether a field is present; null and the empty string count as absent."""
    return values.get(name) not in (None, "")


def is_return(values: Mapping[str, Any]) -> bool:
    """Return whether an object on an orders path is a return: it has the ids of one, and no order's id."""
    return is_present(values, "returnId") and is_present(values, "orderId") and not is_present(values, "id")


def is_ambiguous(values: Mapping[str, Any]) -> bool:
    """Return whether an object has the id of an order and that of a return."""
    return is_present(values, "id") and is_present(values, "returnId")


def _read_aliased(reader: ObjectReader, field: Field) -> Any:
    value = reader.read(field)
    if field.alias is None or (other := reader.read(field, field.alias)) is None:
        return value
    if value is not None and value != other:
        message = f"{field.name} and {field.alias} differ"
        reader.faults.append(make_fault(FaultCode.ALIAS_CONFLICT, reader.pointer(field.name), message))
    return other if value is None else value


def _read_user_id(reader: ObjectReader, field: Field) -> str | None:
    in_path = reader.context.target.user_id
    if in_path is None:
        required: str | None = reader.read_required(field)
        return required
    user_id = reader.read(_OPTIONAL_USER_ID)
    pointer = reader.pointer(field.name)
    if invalid := field.type.validate(in_path, reader.context.rules):
        reader.faults.append(invalid_value(pointer, invalid))
        return None
    if user_id is not None and user_id != in_path:
        message = "userId differs from the user in the path"
        reader.faults.append(make_fault(FaultCode.USER_ID_MISMATCH, pointer, message))
    return in_path


def _read_date_time(reader: ObjectReader, field: Field) -> Instant | None:
    instant: Instant | None = reader.read_required(field)
    if instant is not None and (invalid := field.type.validate(instant.us, reader.context.rules)):
        reader.faults.append(invalid_value(reader.pointer(field.name), invalid))
    return instant


def _read_mode(reader: ObjectReader, field: Field) -> str | None:
    mode: str | None = reader.read(field)
    if mode is not None and reader.context.target.mode is not None and mode != reader.context.target.mode:
        message = "mode differs from the mode of the request"
        reader.faults.append(make_fault(FaultCode.MODE_CONFLICT, reader.pointer(field.name), message))
    return mode


def _read_lines(reader: ObjectReader, field: Field, *, record_type: type[Any]) -> list[Any]:
    """Read the lines; one that is not an object is a fault and is left out."""
    plan, pointer = _PLANS[record_type], reader.pointer(field.name)
    lines = []
    for position, values in enumerate(reader.read_required(field) or ()):
        at = f"{pointer}/{position}"
        if isinstance(values, dict):
            line = ObjectReader(values, reader.context, faults=reader.faults, at=at)
            lines.append(record_type(*line.read_all(plan)))
        else:
            reader.faults.append(invalid_value(at, _NOT_AN_OBJECT.but_found(values)))
    return lines


# Fields whose value depends on the request or on more than their own type.
_SPECIAL_READERS: dict[str, ReadField] = {"userId": _read_user_id, "dateTime": _read_date_time, "mode": _read_mode}


def _make_plan(fields: Iterable[Field]) -> Plan:
    """Plan to read each field that a client may send, in the order of the table."""
    sent = [field for field in fields if field.is_sent]
    steps = [(field, field.type.read, _get_special_reader(field)) for field in sent]
    return Plan([field.attribute for field in sent], steps)


def _get_special_reader(field: Field) -> ReadField | None:
    if isinstance(field.type, Lines):
        return partial(_read_lines, record_type=field.type.table.record_type)
    return _SPECIAL_READERS.get(field.name) or (None if field.alias is None else _read_aliased)


_PLANS = {table.record_type: _make_plan(table.fields) for table in TABLES}
_GET_ARGUMENTS = {table.record_type: itemgetter(*table.record_type.__struct_fields__) for table in TABLES}
# An ambiguous record is read as far as orders and returns agree.
_COMMON_PLAN = _make_plan(field for field in ORDER.fields if field.name in RETURN.sent)
_ALL_SENT = {**ORDER.sent, **RETURN.sent}


def _build_record(table: FieldTable, values: dict[str, Any], context: ImportContext) -> SalesRecord:
    """Build a record from valid values, which are completed: defaults, and what ingest sets itself."""
    instant: Instant = values["date_time"]
    method = values["payment_method"]
    values["site"] = context.defaults.site
    values["job"] = None
    values["accepted_at"] = context.rules.now_us
    values["date_time"] = instant.us
    values["utc_offset_minutes"] = instant.offset_minutes
    values["payment_kind"] = None if method is None else payment_kind(method)
    if values["channel"] is None:
        values["channel"] = context.defaults.channel
    if values["mode"] is None:
        values["mode"] = context.target.mode
    for attribute, default in table.defaults.items():
        if values[attribute] is None:
            values[attribute] = copy(default)
    record: SalesRecord = table.record_type(*_GET_ARGUMENTS[table.record_type](values))
    return record


def _reject(reader: ObjectReader, read: Mapping[str, Any], received_json: str | None, *, index: int) -> RejectedRecord:
    return RejectedRecord(
        index=index,
        order_id=read["order_id"],
        return_id=read.get("return_id"),
        user_id=read["user_id"],
        mode=read["mode"] or reader.context.target.mode or OFFLINE,
        faults=first_faults(reader.faults),
        received_json=received_json,
    )


def _list_notes(values: Mapping[str, Any], table: FieldTable, instant: Instant | None, *, index: int) -> list[Note]:
    notes = [
        Note(index, NoteCode.UNKNOWN_FIELD.value, f"The field {pointer} is unknown and was ignored")
        for pointer in islice(_unknown_fields(values, table), MAX_NOTES)
    ]
    if instant is not None and instant.is_assumed:
        detail = "dateTime has no offset; the site's time zone was assumed"
        notes.insert(0, Note(index, NoteCode.TIMEZONE_ASSUMED.value, detail))
    return notes


def _unknown_fields(values: Mapping[str, Any], table: FieldTable, at: str = "") -> Iterator[str]:
    """Yield the JSON pointers of fields that are not in the table, fit to be shown to the sender."""
    for name in values:
        if name not in table.sent:
            yield f"{at}/{_pointer_token(name)}"
    lines = values.get(LINE_ITEMS)
    if table.lines is not None and isinstance(lines, list):
        known = table.lines.sent.keys()
        for position, line in enumerate(lines[:MAX_LINES]):
            if isinstance(line, dict) and not line.keys() <= known:
                yield from _unknown_fields(line, table.lines, f"/{LINE_ITEMS}/{position}")


def _pointer_token(name: str) -> str:
    return displayable_name(name).replace("~", "~0").replace("/", "~1")
