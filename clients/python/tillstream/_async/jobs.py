"""Jobs: what became of imported records."""

from collections.abc import AsyncIterator
from datetime import date, datetime
from time import monotonic
from urllib.parse import quote

from msgspec import Struct

from tillstream._async.runtime import async_sleep
from tillstream._async.transport import AsyncTransport
from tillstream.errors import NotFinishedError, NotFoundError
from tillstream.http import STATUS, ItemPage, decode, is_young
from tillstream.models import Event, Job, Kind, Mode, Outcome, RecordResult

MAX_SERVER_WAIT_S = 20
OUTCOMES: tuple[Outcome, ...] = ("failed", "unprocessed", "succeeded")


class _Summary(Struct):
    job: Job


class _JobResponse(Struct):
    summary: _Summary


class AsyncJobs:
    """`client.jobs`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._path = f"/{quote(transport.credentials.api_key, safe='')}"

    async def get(self, job_id: str, *, wait_s: int = 0) -> Job:
        """Return a job; with `wait_s` once it has ended, or after that many seconds (at most 30)."""
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        response = await self._transport.request(STATUS, "GET", self._job(job_id), headers=headers)
        return decode(response.body, _JobResponse).summary.job

    async def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Return the job once it has ended; raises `NotFinishedError` after `timeout_s`.

        A job that was accepted minutes ago may not be known to the status API yet: it is waited for.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            left = MAX_SERVER_WAIT_S if deadline is None else min(deadline - monotonic(), MAX_SERVER_WAIT_S)
            try:
                job = await self.get(job_id, wait_s=max(int(left), 1))
            except NotFoundError as error:
                if not is_young(job_id, error):
                    raise
                await async_sleep(1.0)
            else:
                if job.terminal:
                    return job
            if deadline is not None and monotonic() >= deadline:
                raise NotFinishedError(f"job {job_id} has not ended within {timeout_s} s")

    async def list(
        self,
        *,
        state: str | None = None,
        kind: Kind | None = None,
        mode: Mode | None = None,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        rows: int | None = None,
    ) -> AsyncIterator[Job]:
        """Yield the site's jobs, newest first. A day is one of the site's time zone."""
        params = {"state": state, "type": kind, "mode": mode, "rows": rows}
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        async for job in self._transport.pages(STATUS, f"{self._path}/jobs", Job, **params, **bounds):
            yield job

    async def list_page(
        self,
        *,
        state: str | None = None,
        kind: Kind | None = None,
        mode: Mode | None = None,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[Job]:
        """Return one page of the site's jobs, newest first; its token is good for the same filters only."""
        params = {"state": state, "type": kind, "mode": mode, "rows": rows}
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        path = f"{self._path}/jobs"
        return await self._transport.page(STATUS, path, Job, page_token=page_token, **params, **bounds)

    async def events(
        self, job_id: str, *, show_all: bool = False, order: str | None = None, rows: int | None = None
    ) -> AsyncIterator[Event]:
        """Yield the faults of a job, oldest first; with `show_all` also its good records and its end.

        Of a job that has not ended, those that are known by now.
        """
        path = f"{self._job(job_id)}/events"
        params = {"showAll": str(show_all).lower(), "order": order, "rows": rows}
        async for event in self._transport.pages(STATUS, path, Event, **params):
            yield event

    async def records(
        self, job_id: str, *, outcome: Outcome | None = None, rows: int | None = None
    ) -> AsyncIterator[RecordResult]:
        """Yield the records of a job with their faults: those with one outcome, or all, one outcome after the other."""
        path = f"{self._job(job_id)}/records"
        for each in OUTCOMES if outcome is None else (outcome,):
            async for record in self._transport.pages(STATUS, path, RecordResult, outcome=each, rows=rows):
                yield record

    async def records_page(
        self,
        job_id: str,
        *,
        outcome: Outcome,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[RecordResult]:
        """Return one page of the records of a job; its token is good for this outcome only."""
        path = f"{self._job(job_id)}/records"
        return await self._transport.page(STATUS, path, RecordResult, page_token=page_token, outcome=outcome, rows=rows)

    def _job(self, job_id: str) -> str:
        return f"{self._path}/job/{quote(job_id, safe='')}"
