"""What a caller reads of a job: the documents' JSON, key for key and in their order."""

from typing import Any

from services.status.domain.event import DETAIL, ERROR, SUMMARY, WARNING
from services.status.domain.instants import duration
from services.status.domain.job import Job
from services.values.instants import utc_text

DEFAULT_ROWS = 5_000


def summary_of(job: Job, *, show_all: bool = False, rows: int = DEFAULT_ROWS) -> dict[str, Any]:
    """The `summary` object under a filter."""
    counts = level_counts(job, show_all=show_all)
    return {
        "owner": _owner(job),
        "job-id": job.key.job_id,
        "job-status": job_status(job),
        "job-batches": 1,
        "job-tasks": 1,
        "total-events": sum(counts.values()),
        "query-param": f"showAll={'true' if show_all else 'false'}&rows={rows}",
        **{level: count for level, count in counts.items() if count},
        "job": job_object(job),
    }


def job_object(job: Job) -> dict[str, Any]:
    """The `job` object, as it stands in summaries and lists."""
    header, origin, whole = job.profile.header, job.profile.origin, job.whole
    records = {"total": header.total, "failed": whole.failed, "success": whole.succeeded}
    if whole.unprocessed:
        records["unprocessed"] = whole.unprocessed
    last_us, is_terminal = job.last_us, job.is_terminal
    modified = utc_text(last_us, digits=3)
    return {
        "owner": _owner(job),
        "jobId": job.key.job_id,
        "appId": {"appType": "MISC", "id": origin.app_id},
        "batches": 1,
        "tasks": 1,
        "name": name_of(job),
        "childJobs": 0,
        "rootSource": origin.root_source,
        "apps": ["omnichannel-api"],
        "datacenters": [origin.datacenter],
        "baggage": {"records": records},
        "attributes": {"mode": header.mode, "type": header.type},
        "restarts": 0,
        "status": job_status(job),
        "jobCreated": utc_text(header.created_us, digits=9),
        "lastModified": modified,
        # Of what is printed: the two times and their difference must agree.
        "duration": duration(last_us // 1000 * 1000 - header.created_us),
        "state": job.state.value,
        "terminal": is_terminal,
        "completedAt": modified if is_terminal else None,
    }


def name_of(job: Job) -> str:
    """The counts so far, in words."""
    whole = job.whole
    return f"Total records = {job.profile.total}. Success = {whole.succeeded}. Failed = {whole.failed}"


def job_status(job: Job) -> str:
    """One of the three that the documents know: PROCESSING also says that all went well."""
    if job.is_terminal and not job.whole.succeeded:
        return "FAILED"
    return "PROCESSING_WITH_WARNING" if job.whole.failed or job.whole.unprocessed else "PROCESSING"


def level_counts(job: Job, *, show_all: bool) -> dict[str, int]:
    """How many events of each level a reader can see."""
    whole = job.whole
    counts = {WARNING: whole.warnings, ERROR: whole.errors}
    if show_all:
        counts |= {SUMMARY: int(job.is_terminal), DETAIL: whole.prefix_succeeded}
    return counts


def _owner(job: Job) -> dict[str, Any]:
    return {"ownerType": "SITE", "id": job.key.site}
