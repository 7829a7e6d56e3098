"""Reads common valid records from JSON straight into typed values, several times faster than field by field.

Its structs and its constructor calls are generated from the table of fields. It returns None for anything that is not
common, and the careful reader decides; tests compare both.
"""

from collections.abc import Sequence
from typing import Any, Union

from msgspec import DecodeError, Struct, defstruct, json

from services.avro.schema import to_snake_case
from services.sales import field_types
from services.sales.amounts import read_literal
from services.sales.batch import ImportContext
from services.sales.fast_check import condition_source, texts_source
from services.sales.fields import LINE_ITEMS, ORDER, PAYMENT_METHOD, RETURN, TABLES, Field, FieldTable, Lines
from services.sales.payments import payment_kind
from services.sales.records import OFFLINE, ORDERS, SalesRecord
from services.values.currencies import DEFAULT_CURRENCY
from services.values.instants import latest_valid_us, parse_instant_fast

_LINE_ITEMS = f"{to_snake_case(LINE_ITEMS)}_"
_MODES = {"offline": "offline", "online": "online", "Offline": "offline", "Online": "online"}
# Attributes that depend on more than their own field: parameters of a generated function, or expressions over them.
_PARAMETERS = ("typed", "defaults", "rules", "instant", "user_id_", "mode_", "payment_kind_", "currency_")
_DERIVED = {
    "site": "defaults.site",
    "job": "None",
    "accepted_at": "rules.now_us",
    "channel": "defaults.channel if typed.channel is None else typed.channel",
    "date_time": "instant[0]",
    "utc_offset_minutes": "instant[1]",
}


def parse_typed_body(body: bytes, *, kind: str) -> Sequence[Struct] | None:
    """Return all records of a body that is JSON and holds common records only, else None."""
    reader = _ORDERS if kind == ORDERS else _RETURNS
    try:
        return [reader.decode_one(body)] if body.startswith(b"{") else reader.decode_all(body)
    except (DecodeError, RecursionError):
        return None


def parse_typed_record(text: bytes, *, kind: str) -> Struct | None:
    """Return one common record, else None."""
    try:
        return (_ORDERS if kind == ORDERS else _RETURNS).decode_one(text)
    except (DecodeError, RecursionError):
        return None


def is_surely_printable(body: bytes, context: ImportContext) -> bool:
    """Whether all texts of the body's records, and those that the request sets, are printable, by a glance at each."""
    # JSON has control characters only as escapes, except for the last of ASCII.
    return (
        body.isascii()
        and b"\\" not in body
        and b"\x7f" not in body
        and (context.target.user_id or "").isprintable()
        and (context.defaults.channel or "").isprintable()
    )


def to_record_fast(typed: Any, context: ImportContext, *, is_printable: bool = False) -> SalesRecord | None:
    """Return the canonical record if it surely keeps every rule and deserves no note, else None.

    With `is_printable`, all texts of the record are known to be printable.
    """
    target, defaults, rules = context
    instant = parse_instant_fast(typed.date_time)
    user_id = typed.user_id
    if type(user_id) is not str:
        user_id = target.user_id if user_id is None else str(user_id)
    mode = target.mode or OFFLINE if typed.mode is None else _MODES.get(typed.mode)
    if instant is None or user_id is None or mode is None:
        return None
    if (target.user_id is not None and user_id != target.user_id) or (target.mode is not None and mode != target.mode):
        return None
    currency = typed.currency
    if currency is None:
        currency = DEFAULT_CURRENCY
    elif currency not in rules.currencies and currency.isascii():
        currency = currency.upper()
    method = typed.payment_method
    # Bounded first: kinds are cached by method.
    kind = None if method is None or len(method) > PAYMENT_METHOD.max_length else payment_kind(method)
    reader = _ORDERS if type(typed) is _ORDERS.struct else _RETURNS
    build = reader.build_printable if is_printable else reader.build
    try:
        record: SalesRecord | None = build(typed, defaults, rules, instant, user_id, mode, kind, currency)
    except ValueError:
        return None
    return record


class _TypedReader:
    """The struct, the decoders and the constructor call that are generated from one table."""

    def __init__(self, table: FieldTable) -> None:
        self.struct = _define_struct(table)
        self.decode_one = json.Decoder(self.struct, float_hook=read_literal).decode
        self.decode_all = json.Decoder(list[self.struct], float_hook=read_literal).decode  # type: ignore[name-defined]
        # They return None for a record that may break a rule.
        self.build = _compile(table, is_printable=False)
        self.build_printable = _compile(table, is_printable=True)


def _define_struct(table: FieldTable) -> type[Struct]:
    sent = [field for field in table.fields if field.is_sent]
    return defstruct(
        f"Typed{table.record_type.__name__}",
        [_define_member(field) for field in sent],
        rename={field.attribute: field.name for field in sent},
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,
    )


def _define_member(field: Field) -> Any:
    json_type = field.type.json_type
    if isinstance(field.type, Lines):
        json_type = list[_define_struct(field.type.table)]  # type: ignore[misc]  # the type is a value here
    if field.is_required and not field.is_from_request:
        return (field.attribute, json_type)
    return (field.attribute, Union[json_type, None], None)  # noqa: UP007 - the type is a value here


def _compile(table: FieldTable, *, is_printable: bool) -> Any:
    """A function that builds and checks a record in one pass over its values.

    Its source is generated, so positional arguments are safe and faster.
    """
    lines = table.lines
    if lines is None:
        raise TypeError(f"{table.record_type.__name__} has no lines")
    source = [
        f"def build({', '.join(_PARAMETERS)}):",
        "    currencies, latest_us = rules.currencies, latest_valid_us(rules.now_us)",
        f"    {_LINE_ITEMS}, texts = [], []",
        f"    for line in typed.{to_snake_case(LINE_ITEMS)}:",
        *(f"        {line}" for field in lines.fields for line in _value_source(field, "line")),
        f"        if not ({condition_source(lines.fields, is_typed=True)}):",
        "            return None",
        *([] if is_printable else [f"        texts.append({texts_source(lines.fields)})"]),
        f"        {_LINE_ITEMS}.append({_call_source(lines)})",
        *(
            f"    {line}"
            for field in table.fields
            if not isinstance(field.type, Lines)
            for line in _value_source(field, "typed")
        ),
        f"    if not ({condition_source(table.fields, is_typed=True)}):",
        "        return None",
        *([] if is_printable else [f"    texts.append({texts_source(table.fields)})"]),
        *([] if is_printable else ["    if not ''.join(texts).isprintable():", "        return None"]),
        f"    return {_call_source(table)}",
    ]
    names: dict[str, Any] = {**vars(field_types), "latest_valid_us": latest_valid_us}
    names |= {part.record_type.__name__: part.record_type for part in TABLES}
    exec("\n".join(source), names)  # noqa: S102 - our own table
    return names["build"]


def _call_source(table: FieldTable) -> str:
    """A call of the record's constructor."""
    arguments = ", ".join(f"{attribute}_" for attribute in table.record_type.__struct_fields__)
    return f"{table.record_type.__name__}({arguments})"


def _value_source(field: Field, of: str) -> list[str]:
    """Lines that bind the canonical value of a field to its variable."""
    name = f"{field.attribute}_"
    if of == "typed" and name in _PARAMETERS:
        return []
    if of == "typed" and field.attribute in _DERIVED:
        return [f"{name} = {_DERIVED[field.attribute]}"]
    converted = field.type.from_typed(name)
    lines = [f"{name} = {of}.{field.attribute}"]
    if converted != name:
        can_be_none = not field.is_required and field.default is None
        lines.append(f"{name} = None if {name} is None else {converted}" if can_be_none else f"{name} = {converted}")
    return lines


_ORDERS, _RETURNS = _TypedReader(ORDER), _TypedReader(RETURN)
