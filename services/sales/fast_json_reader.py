"""Reads common valid records from JSON straight into typed values, several times faster than field by field.

Its structs and its constructor calls are generated from the table of fields. It returns None for anything that is not
common, and the careful reader decides; tests compare both.
"""

from collections.abc import Sequence
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any, Union

from msgspec import DecodeError, Struct, defstruct, json

from services.sales import field_types
from services.sales.batch import ImportContext
from services.sales.fast_check import passes_fast_check
from services.sales.fields import ORDER, PAYMENT_METHOD, RETURN, TABLES, Field, FieldTable, Lines
from services.sales.payments import payment_kind
from services.sales.records import OFFLINE, ORDERS, SalesRecord
from services.values.currencies import DEFAULT_CURRENCY
from services.values.decimals import quantize
from services.values.instants import parse_instant_fast

_MAX_NUMBER_LENGTH = 24
_CACHE_SIZE = 16_384
_MODES = {"offline": "offline", "online": "online", "Offline": "offline", "Online": "online"}
# Attributes that depend on more than their own field: expressions over the parameters of a generated function.
_PARAMETERS = "typed, defaults, now_us, user_id, instant, mode, kind, currency"
_ARGUMENTS = {
    "site": "defaults.site",
    "job": "None",
    "accepted_at": "now_us",
    "channel": "defaults.channel if typed.channel is None else typed.channel",
    "user_id": "user_id",
    "date_time": "instant[0]",
    "utc_offset_minutes": "instant[1]",
    "mode": "mode",
    "payment_kind": "kind",
    "currency": "currency",
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


def to_record_fast(typed: Struct, context: ImportContext, *, is_printable: bool = False) -> SalesRecord | None:
    """Return the canonical record if it surely keeps every rule and deserves no note, else None.

    With `is_printable`, all texts of the record are known to be printable.
    """
    try:
        record = _to_record(typed, context)
    except (DecimalException, ValueError):
        return None
    rules = context.rules
    if record is not None and passes_fast_check(
        record, now_us=rules.now_us, currencies=rules.currencies, is_printable=is_printable
    ):
        return record
    return None


def _to_record(typed: Any, context: ImportContext) -> SalesRecord | None:
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
    build = (_ORDERS if type(typed) is _ORDERS.struct else _RETURNS).build
    record: SalesRecord = build(typed, defaults, rules.now_us, user_id, instant, mode, kind, currency)
    return record


class _UncommonNumber:
    """Stands for a number that may not be a valid amount."""


_UNCOMMON_NUMBER = _UncommonNumber()


def _read_number(literal: str) -> Decimal | _UncommonNumber:
    """Return the canonical amount of a JSON number with a fraction or an exponent."""
    return _read_cached_number(literal) if len(literal) <= _MAX_NUMBER_LENGTH else _UNCOMMON_NUMBER


@lru_cache(maxsize=_CACHE_SIZE)
def _read_cached_number(literal: str) -> Decimal | _UncommonNumber:
    # Prices repeat.
    try:
        return quantize(Decimal(literal))
    except DecimalException:
        return _UNCOMMON_NUMBER


class _TypedReader:
    """The struct, the decoders and the constructor call that are generated from one table."""

    def __init__(self, table: FieldTable) -> None:
        self.struct = _define_struct(table)
        self.decode_one = json.Decoder(self.struct, float_hook=_read_number).decode
        self.decode_all = json.Decoder(list[self.struct], float_hook=_read_number).decode  # type: ignore[name-defined]
        self.build = _compile(table)


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


def _compile(table: FieldTable) -> Any:
    """A function that builds a record. Its source is generated, so positional arguments are safe and faster."""
    names: dict[str, Any] = dict(vars(field_types))
    names |= {part.record_type.__name__: part.record_type for part in TABLES}
    exec(f"def build({_PARAMETERS}):\n    return {_call_source(table, 'typed')}\n", names)  # noqa: S102 - our own table
    return names["build"]


def _call_source(table: FieldTable, of: str) -> str:
    """A call of the record's constructor with the values of a typed struct."""
    fields = {field.attribute: field for field in table.fields}
    arguments = [
        (_ARGUMENTS if of == "typed" else {}).get(attribute) or _argument_source(fields[attribute], f"{of}.{attribute}")
        for attribute in table.record_type.__struct_fields__
    ]
    return f"{table.record_type.__name__}({', '.join(arguments)})"


def _argument_source(field: Field, value: str) -> str:
    if isinstance(field.type, Lines):
        return f"[{_call_source(field.type.table, 'line')} for line in {value}]"
    converted = field.type.from_typed(value)
    can_be_none = not field.is_required and field.default is None and converted != value
    return f"None if {value} is None else {converted}" if can_be_none else converted


_ORDERS, _RETURNS = _TypedReader(ORDER), _TypedReader(RETURN)
