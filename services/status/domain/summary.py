"""What a caller reads of a job: the documents' JSON, key for key and in their order."""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from services.status.domain.event import DETAIL, ERROR, SUMMARY, WARNING
from services.status.domain.frame import to_json_string
from services.status.domain.instants import format_duration
from services.status.domain.job import Job
from services.status.domain.profile import SiteProfile
from services.values.instants import format_utc

DEFAULT_ROWS = 5_000


def build_summary(job: Job, *, show_all: bool = False, rows: int = DEFAULT_ROWS) -> dict[str, Any]:
    """The `summary` object under a filter."""
    counts = count_levels(job, show_all=show_all)
    # What is remembered must not hold the tallies of hundreds of chunks.
    bare = replace(job, chunk_tallies=()) if job.chunk_tallies else job
    return {
        "owner": _owner(job),
        "job-id": job.key.job_id,
        "job-status": job_status(job),
        "job-batches": 1,
        "job-tasks": 1,
        "total-events": sum(counts.values()),
        "query-param": f"showAll={'true' if show_all else 'false'}&rows={rows}",
        **{level: count for level, count in counts.items() if count},
        "job": msgspec.Raw(render_job(bare).encode()),
    }


@lru_cache(maxsize=16_384)
def render_job(job: Job) -> str:
    """The `job` object, as it stands in summaries and lists, as JSON.

    A list may have a thousand of them, and who asks for it asks again: most of its jobs have ended and stay the same.
    """
    header, whole = job.profile.header, job.tally
    key, last_us = header.key, job.last_us
    modified = f'"{format_utc(last_us, digits=3)}"'
    terminal, completed = ("true", modified) if job.is_terminal else ("false", "null")
    unprocessed = f',"unprocessed":{whole.unprocessed}' if whole.unprocessed else ""
    before, after, attributes = _shared_members(job.profile.site, header.mode, header.type)
    return (
        f'{{"owner":{{"ownerType":"SITE","id":{key.site}}},"jobId":"{key.job_id}",{before},"name":"{job_name(job)}",'
        f'{after},"baggage":{{"records":{{"total":{header.total},"failed":{whole.failed},"success":{whole.succeeded}'
        f'{unprocessed}}}}},{attributes},"restarts":0,"status":"{job_status(job)}",'
        f'"jobCreated":"{format_utc(header.created_at, digits=9)}","lastModified":{modified},'
        # Of what is printed: the two times and their difference must agree.
        f'"duration":"{format_duration(last_us // 1000 * 1000 - header.created_at)}","state":"{job.state.value}",'
        f'"terminal":{terminal},"completedAt":{completed}}}'
    )


@lru_cache(maxsize=1024)
def _shared_members(origin: SiteProfile, mode: str, type_: str) -> tuple[str, str, str]:
    """What is the same for many jobs: the members in front of `name`, those behind it, and `attributes`."""
    before = f'"appId":{{"appType":"MISC","id":{origin.app_id}}},"batches":1,"tasks":1'
    source, center = to_json_string(origin.root_source), to_json_string(origin.datacenter)
    after = f'"childJobs":0,"rootSource":{source},"apps":["omnichannel-api"],"datacenters":[{center}]'
    return before, after, f'"attributes":{{"mode":{to_json_string(mode)},"type":{to_json_string(type_)}}}'


def job_name(job: Job) -> str:
    """The counts so far, in words."""
    whole = job.tally
    return f"Total records = {job.profile.total}. Success = {whole.succeeded}. Failed = {whole.failed}"


def job_status(job: Job) -> str:
    """One of the three that the documents know: PROCESSING also says that all went well."""
    if job.is_terminal and not job.tally.succeeded:
        return "FAILED"
    return "PROCESSING_WITH_WARNING" if job.tally.failed or job.tally.unprocessed else "PROCESSING"


def count_levels(job: Job, *, show_all: bool) -> dict[str, int]:
    """How many events of each level a reader can see."""
    whole = job.tally
    counts = {WARNING: whole.warnings, ERROR: whole.errors}
    if show_all:
        counts |= {SUMMARY: int(job.is_terminal), DETAIL: whole.prefix_succeeded}
    return counts


def _owner(job: Job) -> dict[str, Any]:
    return {"ownerType": "SITE", "id": job.key.site}
