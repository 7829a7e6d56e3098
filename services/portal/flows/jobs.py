"""Lists of jobs, and what became of the records of one."""

from dataclasses import dataclass
from datetime import date

from services.portal.domain.failures import FailureCounter, FailureReport
from services.portal.domain.jobs import JobView, describe_job
from services.portal.ports import JobsApi
from tillstream.models import Kind, Mode, Outcome, RecordResult

JOBS_PER_PAGE = 50
RECORDS_PER_PAGE = 50
# Of a larger job, the report says that there are more.
MAX_GROUPED_RECORDS = 20_000
READ_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows."""

    state: str | None = None
    kind: Kind | None = None
    mode: Mode | None = None
    since: date | None = None
    until: date | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all jobs are shown."""
        return self == JobFilter()


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list of jobs."""

    jobs: list[JobView]
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class RecordPage:
    """One page of the records of a job."""

    records: list[RecordResult]
    next_page_token: str | None


async def list_jobs(jobs: JobsApi, filter_: JobFilter, *, page_token: str | None) -> JobPage:
    """Return a page of jobs, newest first."""
    page = await jobs.list_page(
        state=filter_.state,
        kind=filter_.kind,
        mode=filter_.mode,
        since=filter_.since,
        until=filter_.until,
        rows=JOBS_PER_PAGE,
        page_token=page_token,
    )
    return JobPage([describe_job(job) for job in page.items], page.next_page_token)


async def list_records(jobs: JobsApi, job_id: str, outcome: Outcome, *, page_token: str | None) -> RecordPage:
    """Return a page of the records of a job with one outcome."""
    page = await jobs.records_page(job_id, outcome=outcome, rows=RECORDS_PER_PAGE, page_token=page_token)
    # While a job runs, its last page has a token, too.
    is_full = len(page.items) == RECORDS_PER_PAGE
    return RecordPage(page.items, page.next_page_token if is_full else None)


async def report_failures(jobs: JobsApi, job: JobView) -> FailureReport:
    """Return what went wrong with the records of a job, as far as it is known."""
    counter = FailureCounter()
    read = 0
    if job.counts.failed:
        async for record in jobs.records(job.id, outcome="failed", rows=READ_ROWS):
            counter.add(record)
            read += 1
            if read == MAX_GROUPED_RECORDS:
                break
    return counter.report(is_complete=read >= job.counts.failed)
