"""What `/records` shows: one item per record with a given outcome."""

from collections.abc import Iterator

import msgspec

from services.jobs.events import FAILED, SUCCEEDED
from services.status.domain.block import Block, StoredRun
from services.status.domain.event import DETAILS_SEPARATOR, EXPIRED, EXPIRED_MESSAGE
from services.status.domain.letters import UNPROCESSED, find_indexes
from services.status.domain.rows import RETURNS, UNKNOWN_IDS, RecordIds, parse_rows

OUTCOMES_BY_NAME = {"succeeded": SUCCEEDED, "failed": FAILED, "unprocessed": UNPROCESSED}
_NAMES = {letter: name for name, letter in OUTCOMES_BY_NAME.items()}
_encode = msgspec.json.Encoder().encode

_NO_FAULTS = '"faults":[]'
_EXPIRED_FAULTS = (
    '"faults":' + _encode([{"code": EXPIRED, "field": "", "message": EXPIRED_MESSAGE, "retryable": True}]).decode()
)


def render_records(block: Block, outcome: str, low: int, high: int, *, job_type: str) -> list[tuple[int, str]]:
    """Index and JSON text of the records from `low` up to `high` with this outcome, ascending."""
    late = _late_outcomes(block, job_type) if outcome == UNPROCESSED else {}
    found = [
        (index, text)
        for entry in block.runs
        if not entry.is_late and outcome in entry.outcomes
        for index, text in _render_items(entry, outcome, late, job_type)
        if low <= index < high
    ]
    found.sort()
    return found


def _render_items(
    entry: StoredRun, letter: str, late: dict[int, tuple[str, RecordIds]], of: str
) -> Iterator[tuple[int, str]]:
    rows = parse_rows(entry.rows, len(entry.outcomes), job_type=of)
    faults = dict(entry.failure_parts(entry.details, DETAILS_SEPARATOR)) if letter == FAILED else {}
    for place in find_indexes(entry.outcomes, letter):
        index = entry.first + place
        if letter == UNPROCESSED:
            came, who = late.get(index, ("", UNKNOWN_IDS))
            last = f',"lateOutcome":"{came}"' if came else ""
            yield index, _render_item(index, who, of, _NAMES[letter], _EXPIRED_FAULTS + last)
        else:
            yield index, _render_item(index, rows[place], of, _NAMES[letter], faults.get(index, _NO_FAULTS))


def _late_outcomes(block: Block, of: str) -> dict[int, tuple[str, RecordIds]]:
    found = {}
    for entry in block.runs:
        if entry.is_late:
            rows = parse_rows(entry.rows, len(entry.outcomes), job_type=of)
            for place, letter in enumerate(entry.outcomes):
                if letter in _NAMES:
                    found[entry.first + place] = (_NAMES[letter], rows[place])
    return found


def _render_item(index: int, who: RecordIds, of: str, outcome: str, rest: str) -> str:
    ids = {"orderId": who.order_id, "returnId": who.return_id} if of == RETURNS else {"id": who.order_id}
    ids["userId"] = who.user_id
    return f'{{"index":{index},{_encode(ids)[1:-1].decode()},"outcome":"{outcome}",{rest}}}'
