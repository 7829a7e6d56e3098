"""A job's summary as readers see it: the documented JSON, key for key and in the documented order."""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from services.jobs.events import ERROR, WARNING
from services.status.domain.event import DETAIL, SUMMARY, to_json_string
from services.status.domain.job import Job
from services.status.domain.profile import SiteProfile
from services.values.instants import format_utc

DEFAULT_ROWS = 5_000


def build_summary(job: Job, *, show_all: bool = False, rows: int = DEFAULT_ROWS) -> dict[str, Any]:
    """Build the `summary` object of a request with these parameters."""
    counts = count_levels(job, show_all=show_all)
    # The cache must not hold the tallies of hundreds of chunks.
    cacheable = replace(job, chunk_tallies=()) if job.chunk_tallies else job
    return {
        "owner": {"ownerType": "SITE", "id": job.key.site},
        "job-id": job.key.job_id,
        "job-status": job_status(job),
        "job-batches": 1,
        "job-tasks": 1,
        "total-events": sum(counts.values()),
        "query-param": f"showAll={'true' if show_all else 'false'}&rows={rows}",
        **{level: count for level, count in counts.items() if count},
        "job": msgspec.Raw(render_job(cacheable).encode()),
    }


@lru_cache(maxsize=16_384)
def render_job(job: Job) -> str:
    """Render the `job` object of summaries and lists as JSON.

    A list may have a thousand of them and is asked for repeatedly; most of its jobs have ended and do not change.
    """
    header, tally = job.profile.header, job.tally
    key, last_us = header.key, job.last_us
    modified = f'"{format_utc(last_us, digits=3)}"'
    terminal, completed = ("true", modified) if job.is_terminal else ("false", "null")
    unprocessed = f',"unprocessed":{tally.unprocessed}' if tally.unprocessed else ""
    before_name, after_name, attributes = _shared_members(job.profile.site, header.mode, header.type)
    return (
        f'{{"owner":{{"ownerType":"SITE","id":{key.site}}},"jobId":"{key.job_id}",{before_name},'
        f'"name":"{job_name(job)}",{after_name},"baggage":{{"records":{{"total":{header.total},'
        f'"failed":{tally.failed},"success":{tally.succeeded}{unprocessed}}}}},{attributes},"restarts":0,'
        f'"status":"{job_status(job)}","jobCreated":"{format_utc(header.created_at, digits=9)}",'
        # The printed times and their difference must agree, so the difference is that of the printed digits.
        f'"lastModified":{modified},"duration":"{format_duration(last_us // 1000 * 1000 - header.created_at)}",'
        f'"state":"{job.state.value}","terminal":{terminal},"completedAt":{completed}}}'
    )


@lru_cache(maxsize=1024)
def _shared_members(site: SiteProfile, mode: str, type_: str) -> tuple[str, str, str]:
    """The members that many jobs share: those before `name`, those after it, and `attributes`."""
    before = f'"appId":{{"appType":"MISC","id":{site.app_id}}},"batches":1,"tasks":1'
    source, center = to_json_string(site.root_source), to_json_string(site.datacenter)
    after = f'"childJobs":0,"rootSource":{source},"apps":["omnichannel-api"],"datacenters":[{center}]'
    return before, after, f'"attributes":{{"mode":{to_json_string(mode)},"type":{to_json_string(type_)}}}'


def job_name(job: Job) -> str:
    """The counts so far, as a sentence."""
    tally = job.tally
    return f"Total records = {job.profile.total}. Success = {tally.succeeded}. Failed = {tally.failed}"


def job_status(job: Job) -> str:
    """One of the three documented values; PROCESSING is also that of a job without failures that has ended."""
    if job.is_terminal and not job.tally.succeeded:
        return "FAILED"
    return "PROCESSING_WITH_WARNING" if job.tally.failed or job.tally.unprocessed else "PROCESSING"


def count_levels(job: Job, *, show_all: bool) -> dict[str, int]:
    """How many events of each level are published."""
    tally = job.tally
    counts = {WARNING: tally.warnings, ERROR: tally.errors}
    if show_all:
        counts |= {SUMMARY: int(job.is_terminal), DETAIL: tally.prefix_succeeded}
    return counts


def format_duration(span_us: int) -> str:
    """Format microseconds as hours, minutes and seconds; a negative span as zero."""
    return _format_seconds(max(span_us, 0) // 1_000_000)


@lru_cache(maxsize=1024)
def _format_seconds(seconds: int) -> str:
    # Cached: most jobs take a few seconds.
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
