"""From a request's body to records: the good and the bad sorted, each on its own."""

from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from services.jobs.events import Fault
from services.sales.batch import Batch, BodyRefused, Note, NoteCode, Refusal, RequestPath, SiteRules
from services.sales.body import malformed, most_records, parse_at, record_texts
from services.sales.duplicates import conflicting
from services.sales.fast_json_reader import quick, typed_body, typed_record
from services.sales.intake import Intake
from services.sales.json_reader import Reading, read_ambiguous, read_order, read_return, refuse
from services.sales.records import OFFLINE, ORDERS, RETURNS, Order, Record
from services.sales.shape import ORDER, RETURN, is_both, is_return
from services.values.strict_json import JsonSyntaxError, check_utf8

__all__ = ["Batch", "BodyRefused", "Note", "NoteCode", "Refusal", "RequestPath", "SiteRules", "read_batch"]


class Draft(NamedTuple):
    """One element of the body: read already if it was usual, else as an object."""

    text: bytes
    record: Record | None
    values: dict[str, Any]


def read_batch(
    body: bytes,
    *,
    path: RequestPath,
    site: SiteRules,
    now_us: int,
    currencies: AbstractSet[str],
    strict_json: bool = False,
) -> Batch:
    """The records of a request, judged by all rules but the catalogue's.

    Raises `BodyRefused` where the body as a whole cannot be read, and nothing else.
    """
    intake = Intake(path.user_id, path.mode, site.site, site.channel, site.time_zone, now_us, currencies)
    most = most_records(is_single=path.user_id is not None)
    return _read_usual(body, path.kind, intake, most=most) or _read_any(
        body, path.kind, intake, most=most, strict=strict_json
    )


def _read_usual(body: bytes, kind: str, intake: Intake, *, most: int) -> Batch | None:
    """The batch, if every record of it is usual and faultless; None sends the body the long way."""
    try:
        check_utf8(body)
    except JsonSyntaxError as bad:
        raise malformed(bad) from None
    typed = typed_body(body, kind=kind)
    if typed is None or not 0 < len(typed) <= most:
        return None
    good = [(index, record) for index, one in enumerate(typed) if (record := quick(one, intake)) is not None]
    if len(good) < len(typed) or conflicting(good):
        return None
    return Batch(kind, intake.mode or good[0][1].mode, len(good), good, [], [])


def _read_any(body: bytes, kind: str, intake: Intake, *, most: int, strict: bool) -> Batch:
    """The batch of any body, record by record."""
    texts, is_tail_ignored = record_texts(body, strict=strict, most=most)
    return judged(_drafts(body, texts, kind, intake), kind, intake, notes=[_TAIL_IGNORED] if is_tail_ignored else [])


def judged(drafts: list[Draft], kind: str, intake: Intake, *, notes: list[Note]) -> Batch:
    """The batch that drafts make: what the job is, and which records are good."""
    if kind == ORDERS and all(draft.record is None and is_return(draft.values) for draft in drafts):
        kind = RETURNS
        notes = [*notes, _REDIRECTED]
    readings = [_reading(draft, kind, intake, index=index) for index, draft in enumerate(drafts)]
    good = [(index, reading.record) for index, reading in enumerate(readings) if reading.record is not None]
    conflicts = conflicting(good)
    refused = [reading.refusal for reading in readings if reading.refusal is not None]
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


def _conflict(draft: Draft, record: Record, reason: Fault, index: int) -> Refusal:
    shape = ORDER if isinstance(record, Order) else RETURN
    return refuse(record, reason, parse_at(draft.text, base=0), shape=shape, index=index, size=len(draft.text))


def _drafts(body: bytes, texts: list[bytes], kind: str, intake: Intake) -> list[Draft]:
    drafts = []
    end = 0
    for text in texts:
        typed = typed_record(text, kind=kind)
        record = None if typed is None else quick(typed, intake)
        # Between records there are only spaces and commas, so that this finds the very record.
        begin = body.find(text, end)
        end = begin + len(text)
        drafts.append(Draft(text, record, {} if record is not None else parse_at(text, base=begin)))
    return drafts


def _reading(draft: Draft, kind: str, intake: Intake, *, index: int) -> Reading:
    if draft.record is not None:
        return Reading(draft.record, None, draft.record.mode, [])
    size = len(draft.text)
    if kind == RETURNS:
        return read_return(draft.values, intake, index=index, size=size)
    if is_both(draft.values) or is_return(draft.values):
        return read_ambiguous(draft.values, intake, index=index, size=size)
    return read_order(draft.values, intake, index=index, size=size)


_TAIL_IGNORED = Note(
    None, NoteCode.TRAILING_CHARACTERS_IGNORED.value, "Characters after the end of the JSON text were ignored"
)
_REDIRECTED = Note(
    None, NoteCode.RETURN_ON_ORDERS_PATH.value, "Returns on an orders path were taken; send them to the returns path"
)
