"""The job that a record's headers name, for records whose bytes cannot be read."""

from services.sales.records import OFFLINE, JobHeader
from services.validator.domain.submitted import Submitted
from services.values.time_uuids import is_uuid, made_at_us

_LONGEST_NUMBER = 18


def job_named_by(submitted: Submitted, *, largest_job: int) -> tuple[JobHeader, int] | None:
    """The job and the record's index in it; None where the headers do not name one soundly."""
    headers = dict(submitted.headers)
    job_id = headers.get("jobId", b"").decode("ascii", "replace")
    site, total, index = (_number(headers.get(name)) for name in ("site", "total", "index"))
    if site is None or total is None or index is None or not is_uuid(job_id):
        return None
    if not 0 <= index < total <= largest_job:
        return None
    # The id itself tells when the job was made; other kinds of ids are dated to the epoch until a sound record comes.
    created_at = made_at_us(job_id) or 0
    return JobHeader(site, job_id, total, created_at, OFFLINE, submitted.kind), index


def _number(text: bytes | None) -> int | None:
    if text is None or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        return None
    return int(text)
