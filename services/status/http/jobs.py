"""HTTP's face of status: who asks, for what, and how the answer is put."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.openapi import openapi_route
from services.chassis.http.paging import next_link, page_token_from_query, pagination
from services.chassis.http.ratelimit import RateLimit, rate_limited
from services.chassis.runtime.logs import bind
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.chassis.security.tokens import Token
from services.jobs.events import JobKey, parse_job_id
from services.status import metrics
from services.status.domain.block import RECORDS
from services.status.domain.listing import JobListQuery, list_position
from services.status.domain.page import EventsRequest, count_records
from services.status.domain.page_range import FIRST_POSITION, PageRange
from services.status.domain.records import OUTCOMES_BY_NAME
from services.status.domain.summary import build_summary, count_levels
from services.status.flows.queries import (
    Deps,
    find_ended_job,
    find_job,
    get_events,
    get_records,
    is_recent,
    projection_for,
)
from services.status.http import params
from services.status.http.page_tokens import PageTokens, events_scope, jobs_scope, records_scope
from services.status.http.responses import (
    NDJSON,
    build_body,
    build_jobs_body,
    build_summary_body,
    events_etag,
    job_not_found,
    json_response,
    not_modified,
    records_etag,
)
from services.values.sites import Site

BASE = "/common-status/v1/{apiKey}"
SCOPE = "status:read"


class StatusApi:
    """Handlers of the status API; `routes` binds them to their addresses."""

    def __init__(
        self,
        *,
        deps: Deps,
        authenticator: RequestAuthenticator,
        tokens: PageTokens,
        rate_limit: RateLimit,
        requests_per_second: int,
        openapi: Path,
    ) -> None:
        self._world = deps
        self._authenticator = authenticator
        self._tokens = tokens
        self._gate = rate_limit
        self._requests_per_second = requests_per_second
        self._openapi = openapi

    def routes(self) -> Sequence[web.RouteDef]:
        """Every address of the API."""
        return [
            openapi_route("/common-status/openapi.yaml", self._openapi),
            web.get(BASE + "/job/{jobId}/events", self.events),
            web.get(BASE + "/job/{jobId}/records", self.records),
            web.get(BASE + "/job/{jobId}", self.summary),
            web.get(BASE + "/jobs", self.jobs),
        ]

    async def events(self, request: web.Request) -> web.Response:
        """A job's summary and its events."""
        key = await self._authorize_job(request)
        wish = self._parse_events_request(request, key)
        wait_s, applied = _parse_wait(request)
        standing = await find_ended_job(key, self._world, projection=projection_for(wish), timeout_s=wait_s)
        if standing is None:
            raise job_not_found(is_recent=is_recent(key, self._world))
        job = standing.job
        tag = events_etag(job)
        unchanged = not_modified(request, tag, applied)
        if unchanged is not None:
            return unchanged
        page = await get_events(standing, wish, self._world)
        token = None
        if page.next_range is not None:
            bound = events_scope(key, show_all=wish.show_all, descending=wish.descending)
            token = self._tokens.encode_range(bound, page.next_range)
        members: dict[str, object] = {}
        headers = dict(applied)
        if params.is_paged(request.query) or sum(count_levels(job, show_all=wish.show_all).values()) > wish.rows:
            members["pagination"] = pagination(wish.rows, page.count, token)
            headers |= next_link(request, token)
        members["summary"] = build_summary(job, show_all=wish.show_all, rows=wish.rows)
        return json_response(build_body(members, page.fragments), etag=tag, headers=headers)

    async def summary(self, request: web.Request) -> web.Response:
        """A job's summary alone."""
        key = await self._authorize_job(request)
        show_all, rows = params.parse_show_all(request.query), params.parse_rows(request.query)
        wait_s, applied = _parse_wait(request)
        standing = await find_ended_job(key, self._world, timeout_s=wait_s)
        if standing is None:
            raise job_not_found(is_recent=is_recent(key, self._world))
        tag = events_etag(standing.job)
        unchanged = not_modified(request, tag, applied)
        if unchanged is not None:
            return unchanged
        return json_response(build_summary_body(standing.job, show_all=show_all, rows=rows), etag=tag, headers=applied)

    async def records(self, request: web.Request) -> web.Response:
        """A job's records with one outcome."""
        key = await self._authorize_job(request)
        rows, outcome = params.parse_rows(request.query), params.parse_outcome(request.query)
        given, bound = page_token_from_query(request.query), records_scope(key, outcome)
        low = self._tokens.decode_range(bound, given).start.record_index if given is not None else 0
        standing = await find_job(key, self._world, projection=RECORDS)
        if standing is None:
            raise job_not_found(is_recent=is_recent(key, self._world))
        lines = NDJSON in ",".join(request.headers.getall("Accept", ())).lower()
        tag = records_etag(standing.job, lines=lines)
        unchanged = not_modified(request, tag, {"Vary": "Accept"})
        if unchanged is not None:
            return unchanged
        page = await get_records(standing, OUTCOMES_BY_NAME[outcome], self._world, first=low, rows=rows)
        token = self._tokens.encode_range(bound, page.next_range) if page.next_range is not None else None
        headers = {"Vary": "Accept"}
        is_paged = params.is_paged(request.query) or count_records(standing.job.tally, OUTCOMES_BY_NAME[outcome]) > rows
        if is_paged or lines:
            headers |= next_link(request, token)
        if lines:
            body = "".join(f"{text}\n" for text in page.fragments).encode()
            return json_response(body, etag=tag, content_type=NDJSON, headers=headers)
        members = {"pagination": pagination(rows, page.count, token)} if is_paged else {}
        return json_response(build_body(members, page.fragments), etag=tag, headers=headers)

    async def jobs(self, request: web.Request) -> web.Response:
        """A site's jobs, newest first."""
        site = await self._authorize(request)
        asked = request.query
        listing = JobListQuery(
            site=site.site,
            rows=params.parse_list_rows(asked),
            state=params.parse_state(asked),
            type=params.parse_type(asked),
            mode=params.parse_mode(asked),
            from_us=params.parse_instant_param(asked, "from"),
            to_us=params.parse_instant_param(asked, "to"),
        )
        bound, given = jobs_scope(listing), page_token_from_query(asked)
        if given is not None:
            listing = replace(listing, after=self._tokens.decode_position(bound, given))
        found = await self._world.jobs.list_jobs(listing)
        page = found[: listing.rows]
        token = self._tokens.encode_position(bound, list_position(page[-1])) if len(found) > listing.rows else None
        return json_response(build_jobs_body(page, listing.rows, token), headers=next_link(request, token))

    def _parse_events_request(self, request: web.Request, key: JobKey) -> EventsRequest:
        asked = request.query
        rows, show_all, descending = (
            params.parse_rows(asked),
            params.parse_show_all(asked),
            params.parse_descending(asked),
        )
        given = page_token_from_query(asked)
        if given is None:
            return EventsRequest(rows, show_all, descending, PageRange(FIRST_POSITION))
        bound = events_scope(key, show_all=show_all, descending=descending)
        return EventsRequest(rows, show_all, descending, self._tokens.decode_range(bound, given))

    async def _authorize_job(self, request: web.Request) -> JobKey:
        site = await self._authorize(request)
        job_id = parse_job_id(request.match_info["jobId"])
        if job_id is None:
            raise job_not_found()
        bind(jobId=job_id)
        return JobKey(site.site, job_id)

    async def _authorize(self, request: web.Request) -> Site:
        """Whose jobs are asked for, once it is clear that the caller may ask."""
        caller = await self._authenticator.caller(request)
        require_scope(caller.token, SCOPE)
        self._check_rate_limit(caller.token)
        return caller.site

    def _check_rate_limit(self, token: Token) -> None:
        limit = self._requests_per_second
        decision = self._gate.acquire(token.client_id, limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise rate_limited(decision, f"a client may send {limit} status requests in any second")


def _parse_wait(request: web.Request) -> tuple[float, dict[str, str]]:
    """How long to wait for the job's end, and the header that says that the wish was heard."""
    wait_s = params.parse_wait(request.headers)
    return (0.0, {}) if wait_s is None else (wait_s, {"Preference-Applied": "wait"})
