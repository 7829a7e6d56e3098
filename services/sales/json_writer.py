"""Writes a record as JSON text, for rejected records."""

from collections.abc import Callable
from typing import Any

from msgspec import json

from services.sales.field_types import FieldType
from services.sales.fields import TABLES, FieldTable, Lines
from services.sales.records import SalesRecord

_Convert = Callable[[Any, SalesRecord], Any]
_encode = json.Encoder(decimal_format="number").encode


def to_json(record: SalesRecord) -> str:
    """Return a record, valid or not, without absent fields: exact amounts, local times, invalid hashes replaced."""
    return _encode(_to_members(record, record)).decode()


def _to_members(values: Any, record: SalesRecord) -> dict[str, Any]:
    members = {}
    for attribute, name, convert in _SHOWN[type(values)]:
        value = getattr(values, attribute)
        if value is not None and convert is not None:
            value = convert(value, record)
        if value is not None:
            members[name] = value
    return members


def _lines_to_json(lines: list[Any], record: SalesRecord) -> list[dict[str, Any]]:
    return [_to_members(line, record) for line in lines]


def _get_converter(type_: FieldType) -> _Convert | None:
    if isinstance(type_, Lines):
        return _lines_to_json
    return None if type(type_).to_json is FieldType.to_json else type_.to_json


def _list_shown(table: FieldTable) -> list[tuple[str, str, _Convert | None]]:
    """Attribute, name and converter of each field, in the order of the Avro schema, but acceptedAt after dateTime."""
    order = list(table.record_type.__struct_fields__)
    if "accepted_at" in order:
        order.remove("accepted_at")
        order.insert(order.index("date_time") + 1, "accepted_at")
    shown = {field.attribute: field for field in table.fields if field.is_shown}
    fields = [shown[attribute] for attribute in order if attribute in shown]
    return [(field.attribute, field.name, _get_converter(field.type)) for field in fields]


_SHOWN = {table.record_type: _list_shown(table) for table in TABLES}
