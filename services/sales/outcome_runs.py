"""Outcomes of records as runs for job events: outcome characters, rows of ids, failures, in runs of bounded size."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, json

from services.jobs.events import FAILED, SUCCEEDED, UNDECIDED, Failure, Fault, JobHeader, JobRef, OutcomeRun
from services.sales.batch import Batch, RejectedRecord
from services.sales.json_writer import to_json
from services.sales.records import RETURNS, RecordSummary, SalesRecord
from services.values.time_uuids import is_uuid

MAX_RUN_LENGTH = 100
MAX_RUN_BYTES = 512 * 1024
_FAILURE_OVERHEAD = 64

Row = Sequence[str | None] | None


class RecordPassed(Struct, frozen=True, gc=False):
    """One record of a job, without faults."""

    position: int
    record: SalesRecord | RecordSummary


class RecordFailed(Struct, frozen=True, gc=False):
    """One record of a job and its faults; `record` is None if its bytes could not be decoded."""

    position: int
    record: SalesRecord | None
    faults: Sequence[Fault]


RecordOutcome = RecordPassed | RecordFailed


class _RunItem(Struct, frozen=True, gc=False):
    """One record's share of a run; `size` is an estimate in bytes."""

    position: int
    row: Row
    failure: Failure | None
    size: int


def build_rejection_runs(batch: Batch) -> list[OutcomeRun]:
    """Return the records that ingest rejected as runs without a success; an empty list if there are none."""
    return _build_runs(_item_of_rejected(record, batch.kind, batch.mode) for record in batch.rejected)


def build_outcome_runs(header: JobHeader, outcomes: Sequence[RecordOutcome]) -> list[OutcomeRun]:
    """Return the outcomes of records of one job as runs, in the given order.

    A run ends where the next record's position is not greater, or where it would exceed 100 records or 512 KiB.
    """
    kind, mode = header.type, header.mode
    if 0 < len(outcomes) <= MAX_RUN_LENGTH and (run := _build_passed_run(outcomes, kind, mode)) is not None:
        return [run]
    return _build_runs(_item_of_outcome(outcome, kind, mode) for outcome in outcomes)


def validate_job_ref(job: JobRef, *, max_total: int) -> str | None:
    """Return why a record cannot belong to the job that it names, or None."""
    if not is_uuid(job.job_id):
        return "jobId is not a UUID in lower case"
    if not 0 < job.total <= max_total:
        return "total is out of bounds"
    if not 0 <= job.index < job.total:
        return "index is not below total"
    return None


def _item_of_rejected(record: RejectedRecord, kind: str, job_mode: str) -> _RunItem:
    failure = Failure(
        index=record.index,
        order_id=record.order_id,
        return_id=record.return_id,
        mode=record.mode,
        faults=record.faults,
        record=record.received_json and _bounded(record.received_json),
    )
    row = _row(kind, record.order_id, record.return_id, record.user_id)
    return _failed_item(failure, row, job_mode=job_mode)


def _item_of_outcome(outcome: RecordOutcome, kind: str, job_mode: str) -> _RunItem:
    if not isinstance(outcome, RecordPassed):
        return _item_of_failed(outcome, kind, job_mode)
    row = _passed_row(outcome.record, kind, job_mode)
    return _RunItem(outcome.position, row, None, 4 * len("".join(row)))


def _build_passed_run(outcomes: Sequence[RecordOutcome], kind: str, job_mode: str) -> OutcomeRun | None:
    """Return one run of records without faults that follow each other, as most do; None if they are not such."""
    passed = [outcome for outcome in outcomes if type(outcome) is RecordPassed]
    first = outcomes[0].position
    if [outcome.position for outcome in passed] != list(range(first, first + len(outcomes))):
        return None
    rows = json.encode([_passed_row(outcome.record, kind, job_mode) for outcome in passed])
    # At least the estimate of the items' sizes.
    return None if 4 * len(rows) > MAX_RUN_BYTES else OutcomeRun(first, SUCCEEDED * len(passed), rows.decode(), [])


def _passed_row(record: SalesRecord | RecordSummary, kind: str, job_mode: str) -> list[str]:
    ids = [record.order_id, record.user_id]
    if kind == RETURNS:
        ids.insert(1, record.return_id or "")
    if record.mode != job_mode:
        ids.append(record.mode)
    return ids


def _item_of_failed(outcome: RecordFailed, kind: str, job_mode: str) -> _RunItem:
    index, record, faults = outcome.position, outcome.record, outcome.faults
    if record is None:
        return _failed_item(Failure(index, None, None, job_mode, list(faults), None), None, job_mode=job_mode)
    # An invalid id is not repeated.
    invalid = {fault.field for fault in faults if fault.code.startswith("INVALID")}
    order_id = None if invalid & {"/id", "/orderId"} else record.order_id
    return_id = None if "/returnId" in invalid else record.return_id
    user_id = None if "/userId" in invalid else record.user_id
    failure = Failure(
        index=index,
        order_id=order_id,
        return_id=return_id,
        mode=record.mode,
        faults=list(faults),
        record=_bounded(to_json(record)),
    )
    return _failed_item(failure, _row(kind, order_id, return_id, user_id), job_mode=job_mode)


def _failed_item(failure: Failure, row: Row, *, job_mode: str) -> _RunItem:
    if row is not None and failure.mode != job_mode:
        row = [*row, failure.mode]
    return _RunItem(
        failure.index,
        row,
        failure,
        4 * sum([4 if part is None else len(part) for part in row or ()]) + _failure_size(failure),
    )


def _bounded(text: str) -> str | None:
    # A single record must not make its event too large to send.
    return text if len(text.encode()) <= MAX_RUN_BYTES else None


def _row(kind: str, order_id: str | None, return_id: str | None, user_id: str | None) -> list[str | None]:
    return [order_id, return_id, user_id] if kind == RETURNS else [order_id, user_id]


def _failure_size(failure: Failure) -> int:
    faults = sum(len(fault.field) + 2 * len(fault.message.encode()) + _FAILURE_OVERHEAD for fault in failure.faults)
    return _FAILURE_OVERHEAD + faults + len((failure.record or "").encode())


def _build_runs(items: Iterable[_RunItem]) -> list[OutcomeRun]:
    runs: list[OutcomeRun] = []
    current: list[_RunItem] = []
    first, last, size = 0, 0, 0
    for item in items:
        position = item.position
        size += item.size
        if not current or not last < position < first + MAX_RUN_LENGTH or size > MAX_RUN_BYTES:
            if current:
                runs.append(_build_run(current))
            current, first, size = [], position, item.size
        current.append(item)
        last = position
    if current:
        runs.append(_build_run(current))
    return runs


def _build_run(items: Sequence[_RunItem]) -> OutcomeRun:
    first = items[0].position
    length = items[-1].position - first + 1
    outcomes = [UNDECIDED] * length
    rows: list[Row] = [None] * length
    failures = []
    for item in items:
        position, failure = item.position, item.failure
        outcomes[position - first] = SUCCEEDED if failure is None else FAILED
        rows[position - first] = item.row
        if failure is not None:
            failures.append(failure)
    return OutcomeRun(first, "".join(outcomes), json.encode(rows).decode(), failures)
