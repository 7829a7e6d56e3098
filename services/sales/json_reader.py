"""Reads one record from JSON field by field: finds everything that is wrong with it, and whatever deserves a note.

`size` is that of the record's text: what is too large is not kept with its refusal.
"""

from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales import readers
from services.sales.batch import Note, NoteCode, RejectedRecord
from services.sales.faults import FaultCode, first_faults, make_fault
from services.sales.form import ObjectReader
from services.sales.intake import ImportContext
from services.sales.records import Order, OrderLine, Return, ReturnLine, SalesRecord, get_order_id, get_return_id
from services.sales.redaction import redacted_json
from services.sales.sale import ParsedSale, read_sale
from services.sales.shape import ORDER, RETURN, FieldNames, is_present, unknown_fields
from services.values.decimals import read_amount
from services.values.identifiers import read_identifier

MAX_NOTES = 20

_ZERO = Decimal(0)


class ParsedRecord(NamedTuple):
    """One record, read: either the record or its refusal; the mode that it states itself, if any; notes."""

    record: SalesRecord | None
    rejected: RejectedRecord | None
    stated_mode: str | None
    notes: list[Note]


def read_order(values: dict[str, Any], intake: ImportContext, *, index: int, size: int) -> ParsedRecord:
    """An order, from an object that is meant as one."""
    form = ObjectReader(values, faults=[])
    order_id = form.required("id", read_identifier)
    read = read_sale(form, intake)
    coupon_code = form.optional("couponCode", readers.coupon_code)
    coupon_value = form.optional("couponValue", read_amount)
    lines = [OrderLine(*_line(line)) for line in form.required_objects("lineItems", readers.lines)]
    notes = _notes(values, read, index=index, shape=ORDER)
    if form.faults:
        received = redacted_json(values, known=ORDER.fields, known_in_lines=ORDER.line_fields, size=size)
        faults = first_faults(form.faults)
        refusal = RejectedRecord(index, order_id, None, read.user_id, read.sale.mode, faults, received)
        return ParsedRecord(None, refusal, read.stated_mode, notes)
    order = Order(intake.site, None, intake.now_us, order_id or "", *read.sale, coupon_code, coupon_value, lines)
    return ParsedRecord(order, None, read.stated_mode, notes)


def read_return(values: dict[str, Any], intake: ImportContext, *, index: int, size: int) -> ParsedRecord:
    """A return, from an object that is meant as one."""
    form = ObjectReader(values, faults=[])
    order_id = form.required("orderId", read_identifier)
    return_id = form.required("returnId", read_identifier)
    read = read_sale(form, intake)
    value = form.optional("returnValue", read_amount)
    lines = [
        ReturnLine(*_line(line), line.optional("creditType", readers.credit_type))
        for line in form.required_objects("lineItems", readers.lines)
    ]
    notes = _notes(values, read, index=index, shape=RETURN)
    if form.faults:
        received = redacted_json(values, known=RETURN.fields, known_in_lines=RETURN.line_fields, size=size)
        faults = first_faults(form.faults)
        refusal = RejectedRecord(index, order_id, return_id, read.user_id, read.sale.mode, faults, received)
        return ParsedRecord(None, refusal, read.stated_mode, notes)
    record = Return(intake.site, None, intake.now_us, order_id or "", return_id or "", *read.sale, value, lines)
    return ParsedRecord(record, None, read.stated_mode, notes)


def read_ambiguous(values: dict[str, Any], intake: ImportContext, *, index: int, size: int) -> ParsedRecord:
    """The refusal of a record that cannot be told to be an order or a return, or is not what its neighbours are."""
    reason = "has both id and returnId" if is_present(values, "id") else "is a return among orders"
    form = ObjectReader(values, faults=[make_fault(FaultCode.AMBIGUOUS_RECORD, "", f"The record {reason}")])
    order_id = form.optional("id", read_identifier) or form.optional("orderId", read_identifier)
    return_id = form.optional("returnId", read_identifier)
    read = read_sale(form, intake)
    for line in form.required_objects("lineItems", readers.lines):
        _line(line)
    received = redacted_json(
        values, known=ORDER.fields | RETURN.fields, known_in_lines=ORDER.line_fields | RETURN.line_fields, size=size
    )
    faults = first_faults(form.faults)
    refusal = RejectedRecord(index, order_id, return_id, read.user_id, read.sale.mode, faults, received)
    return ParsedRecord(None, refusal, read.stated_mode, [])


def reject(
    record: SalesRecord, reason: Fault, values: dict[str, Any], *, shape: FieldNames, index: int, size: int
) -> RejectedRecord:
    """The refusal of a record that is faultless by itself; `values` is what it was read from."""
    received = redacted_json(values, known=shape.fields, known_in_lines=shape.line_fields, size=size)
    return RejectedRecord(
        index, get_order_id(record), get_return_id(record), record.user_id, record.mode, [reason], received
    )


def _line(line: ObjectReader) -> tuple[str, str | None, int, Decimal]:
    """What the lines of orders and of returns have in common, in the order of the schemas."""
    return (
        line.required("productId", read_identifier) or "",
        line.optional("skuId", read_identifier),
        line.required("quantity", readers.quantity) or 0,
        line.required("unitPrice", read_amount) or _ZERO,
    )


def _notes(values: dict[str, Any], read: ParsedSale, *, index: int, shape: FieldNames) -> list[Note]:
    notes = [
        Note(index, NoteCode.UNKNOWN_FIELD.value, f"The field {pointer} is unknown and was ignored")
        for pointer in islice(unknown_fields(values, shape), MAX_NOTES)
    ]
    if read.is_zone_assumed:
        notes.insert(0, zone_note(index))
    return notes


def zone_note(index: int) -> Note:
    """The note on a dateTime that came without an offset."""
    return Note(index, NoteCode.TIMEZONE_ASSUMED.value, "dateTime has no offset; the site's time zone was assumed")
