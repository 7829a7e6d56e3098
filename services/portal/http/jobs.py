"""Imports: the list, and one of them."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from services.portal.domain.jobs import KINDS, MODES, STATES, JobView, describe_job
from services.portal.flows import jobs as flow
from services.portal.flows.failure_reports import FailureReports
from services.portal.flows.jobs import JobFilter
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from services.portal.ports import LinkStore
from tillstream import InvalidRequestError, NotFoundError
from tillstream.models import Outcome

BASE, SCOPE = "/portal/jobs", "status:read"
BACK = ("All imports", BASE)
OUTCOMES: Mapping[Outcome, str] = {"failed": "Failed", "succeeded": "Succeeded", "unprocessed": "Not processed"}
_ID = re.compile(r"[0-9a-fA-F-]{8,36}")


class JobPages:
    """The pages of imports."""

    def __init__(self, pages: Pages, links: LinkStore, *, reports: FailureReports) -> None:
        self._pages = pages
        self._links = links
        self._reports = reports

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(BASE, self.list, scope=SCOPE),
            self._pages.get(BASE + "/{jobId}", self.show, scope=SCOPE),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """Imports, newest first."""
        if sought := visit.query.get("job", "").strip():
            raise web.HTTPSeeOther(f"{BASE}/{sought}" if _ID.fullmatch(sought) else f"{BASE}/unknown")
        chosen, problems = parse_filter(visit.query)
        token = visit.query.get("page")
        try:
            page = await flow.list_jobs(visit.client.jobs, chosen, page_token=token)
        except InvalidRequestError as error:
            raise PageError(400, "This page of the list is gone", "Begin at the first one.", back=BACK) from error
        filters = {name: visit.query[name] for name in _FILTERS if visit.query.get(name)}
        return self._pages.page(
            visit,
            "jobs.html",
            page=page,
            filters=filters,
            is_filtered=not chosen.is_empty,
            problems=problems,
            first_url=f"{BASE}?{urlencode(filters)}" if filters else BASE,
            next_url=_with_token(BASE, filters, page.next_page_token),
            is_first=token is None,
            choices={
                "state": [(state, text) for state, (text, _) in STATES.items()],
                "type": list(KINDS.items()),
                "mode": list(MODES.items()),
            },
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One import: counts, time line, what went wrong, records."""
        job = await self.find_job(visit)
        outcome = parse_outcome(visit.query) or _first_outcome(job)
        token = visit.query.get("page")
        address = f"{BASE}/{job.id}"
        try:
            records, failures = await asyncio.gather(
                flow.list_records(visit.client.jobs, job.id, outcome, page_token=token),
                self._reports.get(visit.client.jobs, visit.session.grant.site, job),
            )
        except InvalidRequestError as error:
            raise PageError(400, "This page of the records is gone", "Begin at the first one.", back=BACK) from error
        filters = {"outcome": outcome}
        return self._pages.page(
            visit,
            "job.html",
            job=job,
            failures=failures,
            records=records,
            outcome=outcome,
            outcomes=OUTCOMES,
            address=address,
            mended_by=await self._links.mended_by(visit.session.grant.site, job.id),
            mends=await self._links.mends(visit.session.grant.site, job.id),
            first_url=f"{address}?{urlencode(filters)}#records",
            next_url=_with_token(address, filters, records.next_page_token, fragment="#records"),
            is_first=token is None,
        )

    @staticmethod
    async def find_job(visit: Visit) -> JobView:
        """Return the job of the path; raises the 404 of an unknown one, and of another site's."""
        try:
            return describe_job(await visit.client.jobs.get(visit.request.match_info["jobId"]))
        except NotFoundError:
            raise not_found("import", back=BACK) from None


_FILTERS = ("state", "type", "mode", "from", "to")


def parse_filter(query: Mapping[str, str]) -> tuple[JobFilter, Sequence[str]]:
    """Return the filter that a query asks for, and what could not be understood: that is left out."""
    problems: list[str] = []

    def choose(name: str, choices: Mapping[str, object], label: str) -> Any:
        value = query.get(name) or None
        if value is not None and value not in choices:
            problems.append(f"{label} was not understood, and is ignored.")
            return None
        return value

    def parse_day(name: str, label: str) -> date | None:
        value = query.get(name) or None
        try:
            return date.fromisoformat(value) if value else None
        except ValueError:
            problems.append(f"{label} must be a day like 2026-11-30; it is ignored.")
            return None

    chosen = JobFilter(
        state=choose("state", STATES, "The state"),
        kind=choose("type", KINDS, "The kind"),
        mode=choose("mode", MODES, "The mode"),
        since=parse_day("from", "The first day"),
        until=parse_day("to", "The last day"),
    )
    return chosen, problems


def parse_outcome(query: Mapping[str, str]) -> Outcome | None:
    """Return the outcome that records are filtered by."""
    value = query.get("outcome")
    return next((outcome for outcome in OUTCOMES if outcome == value), None)


def _first_outcome(job: JobView) -> Outcome:
    """Return the outcome whose records are shown first: what needs attention."""
    if job.counts.failed:
        return "failed"
    return "unprocessed" if job.is_finished and job.counts.pending else "succeeded"


def _with_token(path: str, filters: Mapping[str, str], token: str | None, *, fragment: str = "") -> str | None:
    return None if token is None else f"{path}?{urlencode({**filters, 'page': token})}{fragment}"
