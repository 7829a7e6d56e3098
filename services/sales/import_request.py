"""Reads the body of a request into records, accepted and rejected, each on its own."""

from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales.batch import (
    MAX_RECORDS,
    Batch,
    ImportContext,
    ImportTarget,
    InvalidBodyError,
    Note,
    NoteCode,
    SiteDefaults,
)
from services.sales.fast_json_reader import is_surely_printable, parse_typed_body, parse_typed_record, to_record_fast
from services.sales.faults import FaultCode, make_fault
from services.sales.field_types import RuleContext
from services.sales.json_reader import (
    ParsedRecord,
    is_ambiguous,
    is_return,
    read_ambiguous,
    read_record,
    reject,
    reject_surrogates,
)
from services.sales.records import OFFLINE, ORDERS, RETURNS, Order, SalesRecord
from services.sales.request_body import malformed_json, parse_at, split_records
from services.values.strict_json import JsonSyntaxError, check_utf8, replace_lone_surrogates

_NOTE_TRAILING_CHARACTERS = Note(
    None, NoteCode.TRAILING_CHARACTERS_IGNORED.value, "Characters after the end of the JSON text were ignored"
)
_NOTE_RETURNS_ON_ORDERS_PATH = Note(
    None, NoteCode.RETURN_ON_ORDERS_PATH.value, "Returns on an orders path were taken; send them to the returns path"
)


class ParsedElement(NamedTuple):
    """One element of the body: a record if the fast reader accepted it, else an object."""

    text: bytes
    record: SalesRecord | None
    values: dict[str, Any]
    has_lone_surrogates: bool = False


def read_batch(
    body: bytes,
    *,
    target: ImportTarget,
    defaults: SiteDefaults,
    now_us: int,
    currencies: AbstractSet[str],
    max_records: int = MAX_RECORDS,
    strict_json: bool = False,
) -> Batch:
    """Read the records of a request, a single one in a PUT, and check all rules but the catalogue's.

    Raises `InvalidBodyError` if the body as a whole cannot be read, and nothing else.
    """
    context = _build_context(target, defaults, now_us, currencies)
    if target.user_id is not None:
        max_records = 1
    return _read_fast(body, context, max_records=max_records) or _read_each(
        body, context, max_records=max_records, strict=strict_json
    )


def read_common_record(
    body: bytes, *, target: ImportTarget, defaults: SiteDefaults, now_us: int, currencies: AbstractSet[str]
) -> Batch | None:
    """Read a request of one record as `read_batch` does if it is common and keeps all rules, else return None."""
    try:
        return _read_fast(body, _build_context(target, defaults, now_us, currencies), max_records=1)
    except InvalidBodyError:
        return None


def _build_context(
    target: ImportTarget, defaults: SiteDefaults, now_us: int, currencies: AbstractSet[str]
) -> ImportContext:
    return ImportContext(target, defaults, RuleContext(now_us, currencies, defaults.time_zone))


def assemble_batch(elements: list[ParsedElement], context: ImportContext, *, notes: list[Note]) -> Batch:
    """Build the batch: determine the job's kind and mode, and which records are accepted."""
    kind = context.target.kind
    if kind == ORDERS and all(element.record is None and is_return(element.values) for element in elements):
        kind = RETURNS
        notes = [*notes, _NOTE_RETURNS_ON_ORDERS_PATH]
    parsed = [_read_element(element, kind, context, index=index) for index, element in enumerate(elements)]
    valid = [(index, element.record) for index, element in enumerate(parsed) if element.record is not None]
    conflicts = _find_conflicts(valid)
    rejected = [element.rejected for element in parsed if element.rejected is not None]
    for index, record in valid:
        if index in conflicts:
            text = elements[index].text
            values = parse_at(text, base=0)
            rejected.append(reject(record, [conflicts[index]], values, index=index, size=len(text)))
    return Batch(
        kind=kind,
        mode=context.target.mode or parsed[0].stated_mode or OFFLINE,
        total=len(elements),
        accepted=[(index, record) for index, record in valid if index not in conflicts],
        rejected=sorted(rejected, key=lambda record: record.index),
        notes=[*notes, *(note for element in parsed for note in element.notes)],
    )


def _read_fast(body: bytes, context: ImportContext, *, max_records: int) -> Batch | None:
    """Return the batch if the fast reader accepts every record, else None."""
    try:
        check_utf8(body)
    except JsonSyntaxError as error:
        raise malformed_json(error) from None
    kind, mode = context.target.kind, context.target.mode
    typed = parse_typed_body(body, kind=kind)
    if typed is None or not 0 < len(typed) <= max_records:
        return None
    is_printable = is_surely_printable(body, context)
    accepted = [
        (index, record)
        for index, one in enumerate(typed)
        if (record := to_record_fast(one, context, is_printable=is_printable)) is not None
    ]
    if len(accepted) < len(typed) or _find_conflicts(accepted):
        return None
    return Batch(kind, mode or accepted[0][1].mode, len(accepted), accepted, [], [])


def _read_each(body: bytes, context: ImportContext, *, max_records: int, strict: bool) -> Batch:
    """Return the batch of any body, record by record."""
    repaired = replace_lone_surrogates(body)
    texts, is_tail_ignored = split_records(repaired, strict=strict, max_records=max_records)
    notes = [_NOTE_TRAILING_CHARACTERS] if is_tail_ignored else []
    return assemble_batch(_parse_elements(body, repaired, texts, context), context, notes=notes)


def _parse_elements(body: bytes, repaired: bytes, texts: list[bytes], context: ImportContext) -> list[ParsedElement]:
    """Parse the elements as they were sent; `texts` are those of the body with lone surrogates replaced."""
    elements = []
    end = 0
    for repaired_text in texts:
        # Between records there are only spaces and commas, so this finds the text of this record.
        begin = repaired.find(repaired_text, end)
        end = begin + len(repaired_text)
        text = repaired_text if repaired is body else body[begin:end]
        typed = parse_typed_record(text, kind=context.target.kind)
        record = None if typed is None else to_record_fast(typed, context)
        values = {} if record is not None else parse_at(text, base=begin)
        elements.append(ParsedElement(text, record, values, text != repaired_text))
    return elements


def _read_element(element: ParsedElement, kind: str, context: ImportContext, *, index: int) -> ParsedRecord:
    if element.record is not None:
        return ParsedRecord(element.record, None, element.record.mode, [])
    size = len(element.text)
    if kind == ORDERS and (is_ambiguous(element.values) or is_return(element.values)):
        parsed = read_ambiguous(element.values, context, index=index, size=size)
    else:
        parsed = read_record(element.values, kind, context, index=index, size=size)
    return reject_surrogates(parsed, element.values, index=index, size=size) if element.has_lone_surrogates else parsed


def _find_conflicts(valid: list[tuple[int, SalesRecord]]) -> dict[int, Fault]:
    """The faults, by index, of records that differ from an earlier one of the same identity; identical ones pass."""
    if len({record.id if type(record) is Order else record.return_id for _, record in valid}) == len(valid):
        return {}
    first: dict[tuple[str | None, ...], SalesRecord] = {}
    faults = {}
    for index, record in valid:
        if first.setdefault((record.channel, record.order_id, record.return_id), record) != record:
            pointer = "/id" if isinstance(record, Order) else "/returnId"
            message = "The batch holds another version of this record"
            faults[index] = make_fault(FaultCode.DUPLICATE_IN_BATCH, pointer, message)
    return faults
