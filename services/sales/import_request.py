"""From a request's body to records: the good and the bad sorted, each on its own."""

from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales.batch import Batch, ImportTarget, InvalidBodyError, Note, NoteCode, RejectedRecord, SiteDefaults
from services.sales.body import get_max_records, malformed, parse_at, split_records
from services.sales.duplicates import find_conflicts
from services.sales.fast_json_reader import parse_typed_body, parse_typed_record, to_record_fast
from services.sales.intake import ImportContext
from services.sales.json_reader import ParsedRecord, read_ambiguous, read_order, read_return, reject
from services.sales.records import OFFLINE, ORDERS, RETURNS, Order, SalesRecord
from services.sales.shape import ORDER, RETURN, is_ambiguous, is_return
from services.values.strict_json import JsonSyntaxError, check_utf8

__all__ = [
    "Batch",
    "ImportTarget",
    "InvalidBodyError",
    "Note",
    "NoteCode",
    "RejectedRecord",
    "SiteDefaults",
    "read_batch",
]


class ParsedElement(NamedTuple):
    """One element of the body: read already if it was usual, else as an object."""

    text: bytes
    record: SalesRecord | None
    values: dict[str, Any]


def read_batch(
    body: bytes,
    *,
    target: ImportTarget,
    defaults: SiteDefaults,
    now_us: int,
    currencies: AbstractSet[str],
    strict_json: bool = False,
) -> Batch:
    """The records of a request, judged by all rules but the catalogue's.

    Raises `BodyRefused` where the body as a whole cannot be read, and nothing else.
    """
    intake = ImportContext(
        target.user_id, target.mode, defaults.site, defaults.channel, defaults.time_zone, now_us, currencies
    )
    most = get_max_records(is_single=target.user_id is not None)
    return _read_usual(body, target.kind, intake, most=most) or _read_any(
        body, target.kind, intake, most=most, strict=strict_json
    )


def _read_usual(body: bytes, kind: str, intake: ImportContext, *, most: int) -> Batch | None:
    """The batch, if every record of it is usual and faultless; None sends the body the long way."""
    try:
        check_utf8(body)
    except JsonSyntaxError as bad:
        raise malformed(bad) from None
    typed = parse_typed_body(body, kind=kind)
    if typed is None or not 0 < len(typed) <= most:
        return None
    good = [(index, record) for index, one in enumerate(typed) if (record := to_record_fast(one, intake)) is not None]
    if len(good) < len(typed) or find_conflicts(good):
        return None
    return Batch(kind, intake.mode or good[0][1].mode, len(good), good, [], [])


def _read_any(body: bytes, kind: str, intake: ImportContext, *, most: int, strict: bool) -> Batch:
    """The batch of any body, record by record."""
    texts, is_tail_ignored = split_records(body, strict=strict, max_records=most)
    return assemble_batch(
        _drafts(body, texts, kind, intake), kind, intake, notes=[_NOTE_TRAILING_CHARACTERS] if is_tail_ignored else []
    )


def assemble_batch(drafts: list[ParsedElement], kind: str, intake: ImportContext, *, notes: list[Note]) -> Batch:
    """The batch that drafts make: what the job is, and which records are good."""
    if kind == ORDERS and all(draft.record is None and is_return(draft.values) for draft in drafts):
        kind = RETURNS
        notes = [*notes, _NOTE_RETURNS_ON_ORDERS_PATH]
    readings = [_reading(draft, kind, intake, index=index) for index, draft in enumerate(drafts)]
    good = [(index, reading.record) for index, reading in enumerate(readings) if reading.record is not None]
    conflicts = find_conflicts(good)
    refused = [reading.rejected for reading in readings if reading.rejected is not None]
    refused += [
        _conflict(drafts[index], record, conflicts[index], index) for index, record in good if index in conflicts
    ]
    return Batch(
        kind,
        intake.mode or readings[0].stated_mode or OFFLINE,
        len(drafts),
        [(index, record) for index, record in good if index not in conflicts],
        sorted(refused, key=lambda refusal: refusal.index),
        [*notes, *(note for reading in readings for note in reading.notes)],
    )


def _conflict(draft: ParsedElement, record: SalesRecord, reason: Fault, index: int) -> RejectedRecord:
    shape = ORDER if isinstance(record, Order) else RETURN
    return reject(record, reason, parse_at(draft.text, base=0), shape=shape, index=index, size=len(draft.text))


def _drafts(body: bytes, texts: list[bytes], kind: str, intake: ImportContext) -> list[ParsedElement]:
    drafts = []
    end = 0
    for text in texts:
        typed = parse_typed_record(text, kind=kind)
        record = None if typed is None else to_record_fast(typed, intake)
        # Between records there are only spaces and commas, so that this finds the very record.
        begin = body.find(text, end)
        end = begin + len(text)
        drafts.append(ParsedElement(text, record, {} if record is not None else parse_at(text, base=begin)))
    return drafts


def _reading(draft: ParsedElement, kind: str, intake: ImportContext, *, index: int) -> ParsedRecord:
    if draft.record is not None:
        return ParsedRecord(draft.record, None, draft.record.mode, [])
    size = len(draft.text)
    if kind == RETURNS:
        return read_return(draft.values, intake, index=index, size=size)
    if is_ambiguous(draft.values) or is_return(draft.values):
        return read_ambiguous(draft.values, intake, index=index, size=size)
    return read_order(draft.values, intake, index=index, size=size)


_NOTE_TRAILING_CHARACTERS = Note(
    None, NoteCode.TRAILING_CHARACTERS_IGNORED.value, "Characters after the end of the JSON text were ignored"
)
_NOTE_RETURNS_ON_ORDERS_PATH = Note(
    None, NoteCode.RETURN_ON_ORDERS_PATH.value, "Returns on an orders path were taken; send them to the returns path"
)
