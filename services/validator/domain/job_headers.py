"""The job that a record's headers name, for records that cannot be judged."""

from services.jobs.events import JobHeader, JobKey
from services.sales.field_types import YEAR_2020_US
from services.sales.records import OFFLINE, SalesRecord
from services.validator.domain.submitted_record import SubmittedRecord
from services.values.instants import latest_valid_us
from services.values.time_uuids import is_uuid, timestamp_us

_MAX_DIGITS = 18


def job_from_headers(
    source: SubmittedRecord, *, record: SalesRecord | None = None, max_job_records: int, now_us: int
) -> tuple[JobHeader, int] | None:
    """Return the job and the record's index in it; None unless the headers name both validly.

    If the `record` could be decoded, its headers count only where they name the job that it names itself.
    """
    headers = dict(source.headers)
    job_id = (headers.get("jobId") or b"").decode("ascii", "replace")
    site, total, index = (_parse_number(headers.get(name)) for name in ("site", "total", "index"))
    if site is None or total is None or index is None or not is_uuid(job_id):
        return None
    if not 0 <= index < total <= max_job_records:
        return None
    if record is not None and (record.job is None or (record.site, record.job.job_id) != (site, job_id)):
        return None
    return JobHeader(JobKey(site, job_id), total, _created_at(job_id, source, now_us), OFFLINE, source.kind), index


def _created_at(job_id: str, source: SubmittedRecord, now_us: int) -> int:
    """Return the time in the job's id; if that cannot be, the timestamp of the record, or else the current time."""
    for created_at in (timestamp_us(job_id), source.timestamp * 1000):
        if created_at is not None and YEAR_2020_US <= created_at <= latest_valid_us(now_us):
            return created_at
    return now_us


def _parse_number(text: bytes | None) -> int | None:
    if text is None or not text.isdigit() or len(text) > _MAX_DIGITS:
        return None
    return int(text)
