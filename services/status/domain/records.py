"""The items of `/records`: one per record with a given outcome."""

from collections.abc import Iterator

import msgspec

from services.jobs.events import FAILED, SUCCEEDED
from services.status.domain.block import Block, StoredRun, find_indexes
from services.status.domain.event import DETAILS_SEPARATOR, EXPIRED, EXPIRED_MESSAGE
from services.status.domain.rows import RETURNS, UNKNOWN_IDS, RecordIds, parse_rows
from services.status.domain.updates import UNPROCESSED

OUTCOMES_BY_NAME = {"succeeded": SUCCEEDED, "failed": FAILED, "unprocessed": UNPROCESSED}
_NAMES = {outcome: name for name, outcome in OUTCOMES_BY_NAME.items()}
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
        for run in block.runs
        if not run.is_late and outcome in run.outcomes
        for index, text in _render_items(run, outcome, late, job_type)
        if low <= index < high
    ]
    found.sort()
    return found


def _render_items(
    run: StoredRun, outcome: str, late: dict[int, tuple[str, RecordIds]], job_type: str
) -> Iterator[tuple[int, str]]:
    rows = parse_rows(run.rows, len(run.outcomes), job_type=job_type)
    faults = dict(run.failure_parts(run.details, DETAILS_SEPARATOR)) if outcome == FAILED else {}
    for position in find_indexes(run.outcomes, outcome):
        index = run.first + position
        if outcome == UNPROCESSED:
            late_name, ids = late.get(index, ("", UNKNOWN_IDS))
            last = f',"lateOutcome":"{late_name}"' if late_name else ""
            yield index, _render_item(index, ids, job_type, _NAMES[outcome], _EXPIRED_FAULTS + last)
        else:
            yield index, _render_item(index, rows[position], job_type, _NAMES[outcome], faults.get(index, _NO_FAULTS))


def _late_outcomes(block: Block, job_type: str) -> dict[int, tuple[str, RecordIds]]:
    """Name of the late outcome and ids of each record that has one, by index."""
    found = {}
    for run in block.runs:
        if run.is_late:
            rows = parse_rows(run.rows, len(run.outcomes), job_type=job_type)
            for position, outcome in enumerate(run.outcomes):
                if outcome in _NAMES:
                    found[run.first + position] = (_NAMES[outcome], rows[position])
    return found


def _render_item(index: int, record: RecordIds, job_type: str, outcome: str, rest: str) -> str:
    is_return = job_type == RETURNS
    ids = {"orderId": record.order_id, "returnId": record.return_id} if is_return else {"id": record.order_id}
    ids["userId"] = record.user_id
    return f'{{"index":{index},{_encode(ids)[1:-1].decode()},"outcome":"{outcome}",{rest}}}'
