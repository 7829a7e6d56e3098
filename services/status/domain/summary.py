"""What a caller reads of a job: the documents' JSON, key for key and in their order."""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from services.status.domain.event import DETAIL, ERROR, SUMMARY, WARNING
from services.status.domain.frame import json_text
from services.status.domain.instants import duration
from services.status.domain.job import Job
from services.status.domain.profile import Origin
from services.values.instants import format_utc

DEFAULT_ROWS = 5_000


def summary_of(job: Job, *, show_all: bool = False, rows: int = DEFAULT_ROWS) -> dict[str, Any]:
    """The `summary` object under a filter."""
    counts = level_counts(job, show_all=show_all)
    # What is remembered must not hold the tallies of hundreds of chunks.
    bare = replace(job, chunks=()) if job.chunks else job
    return {
        "owner": _owner(job),
        "job-id": job.key.job_id,
        "job-status": job_status(job),
        "job-batches": 1,
        "job-tasks": 1,
        "total-events": sum(counts.values()),
        "query-param": f"showAll={'true' if show_all else 'false'}&rows={rows}",
        **{level: count for level, count in counts.items() if count},
        "job": msgspec.Raw(job_json(bare).encode()),
    }


@lru_cache(maxsize=16_384)
def job_json(job: Job) -> str:
    """The `job` object, as it stands in summaries and lists, as JSON.

    A list may have a thousand of them, and who asks for it asks again: most of its jobs have ended and stay the same.
    """
    header, whole = job.profile.header, job.whole
    key, last_us = header.key, job.last_us
    modified = f'"{format_utc(last_us, digits=3)}"'
    terminal, completed = ("true", modified) if job.is_terminal else ("false", "null")
    unprocessed = f',"unprocessed":{whole.unprocessed}' if whole.unprocessed else ""
    before, after, attributes = _fixed(job.profile.origin, header.mode, header.type)
    return (
        f'{{"owner":{{"ownerType":"SITE","id":{key.site}}},"jobId":"{key.job_id}",{before},"name":"{name_of(job)}",'
        f'{after},"baggage":{{"records":{{"total":{header.total},"failed":{whole.failed},"success":{whole.succeeded}'
        f'{unprocessed}}}}},{attributes},"restarts":0,"status":"{job_status(job)}",'
        f'"jobCreated":"{format_utc(header.created_us, digits=9)}","lastModified":{modified},'
        # Of what is printed: the two times and their difference must agree.
        f'"duration":"{duration(last_us // 1000 * 1000 - header.created_us)}","state":"{job.state.value}",'
        f'"terminal":{terminal},"completedAt":{completed}}}'
    )


@lru_cache(maxsize=1024)
def _fixed(origin: Origin, mode: str, type_: str) -> tuple[str, str, str]:
    """What is the same for many jobs: the members in front of `name`, those behind it, and `attributes`."""
    before = f'"appId":{{"appType":"MISC","id":{origin.app_id}}},"batches":1,"tasks":1'
    source, center = json_text(origin.root_source), json_text(origin.datacenter)
    after = f'"childJobs":0,"rootSource":{source},"apps":["omnichannel-api"],"datacenters":[{center}]'
    return before, after, f'"attributes":{{"mode":{json_text(mode)},"type":{json_text(type_)}}}'


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
