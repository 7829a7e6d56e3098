"""What became of records, told in runs: letters, rows of ids, failures, cut into events of bounded size."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import json

from services.jobs.events import FAILED, SILENT, SUCCEEDED, Failure, Fault, JobHeader, JobRef, Run
from services.sales.batch import Batch, Refusal
from services.sales.json_writer import canonical_text
from services.sales.records import RETURNS, Record, Seen, order_id_of, return_id_of
from services.values.time_uuids import is_uuid

MOST_IN_RUN = 100
LARGEST_RUN = 512 * 1024
_FAILURE_OVERHEAD = 64

Row = Sequence[str | None] | None


class Passed(NamedTuple):
    """One record of a job, without faults."""

    position: int
    record: Record | Seen


class Failed(NamedTuple):
    """One record of a job, and why it failed; `record` is None where its bytes could not be read."""

    position: int
    record: Record | None
    faults: Sequence[Fault]


Verdict = Passed | Failed


class _Told(NamedTuple):
    """One record's share of a run."""

    position: int
    row: Row
    failure: Failure | None
    size: int


def runs_of_refusals(batch: Batch) -> list[Run]:
    """The records that intake refused, in runs that hold no success; empty if there are none."""
    return _runs(_refused(refusal, batch.kind, batch.mode) for refusal in batch.refused)


def runs_of_verdicts(header: JobHeader, verdicts: Iterable[Verdict]) -> list[Run]:
    """What became of records of one job, in the order of the verdicts.

    A run ends where the next record is not behind the last, where it would grow over 100 letters, or too large.
    """
    return _runs(_judged(verdict, header.type, header.mode) for verdict in verdicts)


def misplaced(job: JobRef, *, largest_total: int) -> str | None:
    """Why a record cannot belong to the job that it names, or None. Such a record is no record of any job."""
    if not is_uuid(job.job_id):
        return "jobId is not a UUID in lower case"
    if not 0 < job.total <= largest_total:
        return "total is out of bounds"
    if not 0 <= job.index < job.total:
        return "index is not below total"
    return None


def _refused(refusal: Refusal, kind: str, mode: str) -> _Told:
    row = _row(kind, refusal.order_id, refusal.return_id, refusal.user_id)
    failure = Failure(
        refusal.index,
        refusal.order_id,
        refusal.return_id,
        refusal.mode,
        refusal.faults,
        refusal.received and _bounded(refusal.received),
    )
    return _told(refusal.index, row, failure, own_mode=refusal.mode, job_mode=mode)


def _judged(verdict: Verdict, kind: str, mode: str) -> _Told:
    if isinstance(verdict, Passed):
        # Nearly all are of this sort: no more is done for them than must be.
        sound = verdict.record
        ids = [order_id_of(sound), sound.user_id]
        if kind == RETURNS:
            ids.insert(1, return_id_of(sound) or "")
        if sound.mode != mode:
            ids.append(sound.mode)
        return _Told(verdict.position, ids, None, 4 * len("".join(ids)))
    record, faults = verdict.record, list(verdict.faults)
    if record is None:
        return _told(verdict.position, None, Failure(verdict.position, None, None, mode, faults, None))
    # An id that is the fault is no id: it is not told.
    ill = {fault.field for fault in faults if fault.code.startswith("INVALID")}
    order_id = None if ill & {"/id", "/orderId"} else order_id_of(record)
    return_id = None if "/returnId" in ill else return_id_of(record)
    row = _row(kind, order_id, return_id, None if "/userId" in ill else record.user_id)
    failure = Failure(verdict.position, order_id, return_id, record.mode, faults, _bounded(canonical_text(record)))
    return _told(verdict.position, row, failure, own_mode=record.mode, job_mode=mode)


def _bounded(text: str) -> str | None:
    # One record alone must not make an event that cannot be sent.
    return text if len(text.encode()) <= LARGEST_RUN else None


def _row(kind: str, order_id: str | None, return_id: str | None, user_id: str | None) -> list[str | None]:
    return [order_id, return_id, user_id] if kind == RETURNS else [order_id, user_id]


def _told(position: int, row: Row, failure: Failure | None, *, own_mode: str = "", job_mode: str = "") -> _Told:
    if row is not None and own_mode != job_mode:
        row = [*row, own_mode]
    return _Told(position, row, failure, _row_size(row) + (0 if failure is None else _failure_size(failure)))


def _row_size(row: Row) -> int:
    return 4 * sum([4 if part is None else len(part) for part in row or ()])


def _failure_size(failure: Failure) -> int:
    faults = sum(len(fault.field) + 2 * len(fault.message.encode()) + _FAILURE_OVERHEAD for fault in failure.faults)
    return _FAILURE_OVERHEAD + faults + len((failure.record or "").encode())


def _runs(told: Iterable[_Told]) -> list[Run]:
    runs: list[Run] = []
    stretch: list[_Told] = []
    first, last, size = 0, 0, 0
    for one in told:
        position = one.position
        size += one.size
        if not stretch or not last < position < first + MOST_IN_RUN or size > LARGEST_RUN:
            if stretch:
                runs.append(_run(stretch))
            stretch, first, size = [], position, one.size
        stretch.append(one)
        last = position
    if stretch:
        runs.append(_run(stretch))
    return runs


def _run(stretch: Sequence[_Told]) -> Run:
    first = stretch[0].position
    length = stretch[-1].position - first + 1
    letters = [SILENT] * length
    rows: list[Row] = [None] * length
    failures = []
    for position, row, failure, _ in stretch:
        letters[position - first] = SUCCEEDED if failure is None else FAILED
        rows[position - first] = row
        if failure is not None:
            failures.append(failure)
    return Run(first, "".join(letters), json.encode(rows).decode(), failures)
