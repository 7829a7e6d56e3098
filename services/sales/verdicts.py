"""What became of records, told in runs: letters, rows of ids, failures, cut into events of bounded size."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import json

from services.jobs.events import FAILED, SUCCEEDED, UNDECIDED, Failure, Fault, JobHeader, JobRef, OutcomeRun
from services.sales.batch import Batch, RejectedRecord
from services.sales.json_writer import to_json
from services.sales.records import RETURNS, RecordSummary, SalesRecord, get_order_id, get_return_id
from services.values.time_uuids import is_uuid

MAX_RUN_LENGTH = 100
MAX_RUN_BYTES = 512 * 1024
_FAILURE_OVERHEAD = 64

Row = Sequence[str | None] | None


class RecordPassed(NamedTuple):
    """One record of a job, without faults."""

    position: int
    record: SalesRecord | RecordSummary


class RecordFailed(NamedTuple):
    """One record of a job, and why it failed; `record` is None where its bytes could not be read."""

    position: int
    record: SalesRecord | None
    faults: Sequence[Fault]


Verdict = RecordPassed | RecordFailed


class _RunItem(NamedTuple):
    """One record's share of a run."""

    position: int
    row: Row
    failure: Failure | None
    size: int


def build_rejection_runs(batch: Batch) -> list[OutcomeRun]:
    """The records that intake refused, in runs that hold no success; empty if there are none."""
    return _runs(_refused(refusal, batch.kind, batch.mode) for refusal in batch.rejected)


def build_verdict_runs(header: JobHeader, verdicts: Iterable[Verdict]) -> list[OutcomeRun]:
    """What became of records of one job, in the order of the verdicts.

    A run ends where the next record is not behind the last, where it would grow over 100 letters, or too large.
    """
    return _runs(_judged(verdict, header.type, header.mode) for verdict in verdicts)


def validate_job_ref(job: JobRef, *, max_total: int) -> str | None:
    """Why a record cannot belong to the job that it names, or None. Such a record is no record of any job."""
    if not is_uuid(job.job_id):
        return "jobId is not a UUID in lower case"
    if not 0 < job.total <= max_total:
        return "total is out of bounds"
    if not 0 <= job.index < job.total:
        return "index is not below total"
    return None


def _refused(refusal: RejectedRecord, kind: str, mode: str) -> _RunItem:
    row = _row(kind, refusal.order_id, refusal.return_id, refusal.user_id)
    failure = Failure(
        refusal.index,
        refusal.order_id,
        refusal.return_id,
        refusal.mode,
        refusal.faults,
        refusal.received_json and _bounded(refusal.received_json),
    )
    return _told(refusal.index, row, failure, own_mode=refusal.mode, job_mode=mode)


def _judged(verdict: Verdict, kind: str, mode: str) -> _RunItem:
    if isinstance(verdict, RecordPassed):
        # Nearly all are of this sort: no more is done for them than must be.
        sound = verdict.record
        ids = [get_order_id(sound), sound.user_id]
        if kind == RETURNS:
            ids.insert(1, get_return_id(sound) or "")
        if sound.mode != mode:
            ids.append(sound.mode)
        return _RunItem(verdict.position, ids, None, 4 * len("".join(ids)))
    record, faults = verdict.record, list(verdict.faults)
    if record is None:
        return _told(verdict.position, None, Failure(verdict.position, None, None, mode, faults, None))
    # An id that is the fault is no id: it is not told.
    ill = {fault.field for fault in faults if fault.code.startswith("INVALID")}
    order_id = None if ill & {"/id", "/orderId"} else get_order_id(record)
    return_id = None if "/returnId" in ill else get_return_id(record)
    row = _row(kind, order_id, return_id, None if "/userId" in ill else record.user_id)
    failure = Failure(verdict.position, order_id, return_id, record.mode, faults, _bounded(to_json(record)))
    return _told(verdict.position, row, failure, own_mode=record.mode, job_mode=mode)


def _bounded(text: str) -> str | None:
    # One record alone must not make an event that cannot be sent.
    return text if len(text.encode()) <= MAX_RUN_BYTES else None


def _row(kind: str, order_id: str | None, return_id: str | None, user_id: str | None) -> list[str | None]:
    return [order_id, return_id, user_id] if kind == RETURNS else [order_id, user_id]


def _told(position: int, row: Row, failure: Failure | None, *, own_mode: str = "", job_mode: str = "") -> _RunItem:
    if row is not None and own_mode != job_mode:
        row = [*row, own_mode]
    return _RunItem(position, row, failure, _row_size(row) + (0 if failure is None else _failure_size(failure)))


def _row_size(row: Row) -> int:
    return 4 * sum([4 if part is None else len(part) for part in row or ()])


def _failure_size(failure: Failure) -> int:
    faults = sum(len(fault.field) + 2 * len(fault.message.encode()) + _FAILURE_OVERHEAD for fault in failure.faults)
    return _FAILURE_OVERHEAD + faults + len((failure.record or "").encode())


def _runs(told: Iterable[_RunItem]) -> list[OutcomeRun]:
    runs: list[OutcomeRun] = []
    stretch: list[_RunItem] = []
    first, last, size = 0, 0, 0
    for one in told:
        position = one.position
        size += one.size
        if not stretch or not last < position < first + MAX_RUN_LENGTH or size > MAX_RUN_BYTES:
            if stretch:
                runs.append(_run(stretch))
            stretch, first, size = [], position, one.size
        stretch.append(one)
        last = position
    if stretch:
        runs.append(_run(stretch))
    return runs


def _run(stretch: Sequence[_RunItem]) -> OutcomeRun:
    first = stretch[0].position
    length = stretch[-1].position - first + 1
    letters = [UNDECIDED] * length
    rows: list[Row] = [None] * length
    failures = []
    for position, row, failure, _ in stretch:
        letters[position - first] = SUCCEEDED if failure is None else FAILED
        rows[position - first] = row
        if failure is not None:
            failures.append(failure)
    return OutcomeRun(first, "".join(letters), json.encode(rows).decode(), failures)
