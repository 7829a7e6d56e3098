"""Handlers of the status API: authenticate, parse, query, respond."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import astuple, replace

from services.chassis.http.negotiation import negotiate
from services.chassis.http.openapi import openapi_route
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec, TokenScope, next_link, page_token_from_query, pagination
from services.chassis.http.rate_limit import rate_limited
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.http.time_range import parse_from_us, parse_to_us
from services.chassis.runtime.errors import StartingError
from services.chassis.runtime.logs import bind
from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.chassis.security.tokens import Token
from services.jobs.events import JobKey, parse_job_id
from services.status import metrics
from services.status.domain.block import NO_PROJECTION, RECORDS, Projection
from services.status.domain.job import StoredJob
from services.status.domain.listing import JobListQuery, ListPosition
from services.status.domain.page import EventsRequest, count_records
from services.status.domain.page_range import FIRST_POSITION, PageRange
from services.status.domain.records import OUTCOMES_BY_NAME
from services.status.domain.summary import build_summary, count_levels
from services.status.flows import queries
from services.status.http import params, responses
from services.values.sites import Site

BASE = "/common-status/v1/{apiKey}"
SCOPE = "status:read"
CLIENT_ID = web.RequestKey("client_id", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusApi:
    """Handlers of the status API; `routes` binds them to their paths. A page token is valid for one list only."""

    deps: queries.Deps
    authenticator: RequestAuthenticator
    is_started: Callable[[], bool]
    tokens: PageTokenCodec
    rate_limit: SharedRateLimit
    requests_per_second: int
    openapi: Path
    page_limits: PageLimits

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes of the API."""
        return [
            openapi_route("/common-status/openapi.yaml", self.openapi),
            web.get(BASE + "/job/{jobId}/events", self.events),
            web.get(BASE + "/job/{jobId}/records", self.records),
            web.get(BASE + "/job/{jobId}", self.summary),
            web.get(BASE + "/jobs", self.jobs),
        ]

    async def events(self, request: web.Request) -> web.Response:
        """A job's summary and its events."""
        key = await self._authorize_job(request)
        asked = self._parse_events_request(request, key)
        wait_s, headers = _parse_wait(request)
        stored = await self._find_ended(key, wait_s, queries.projection_for(asked))
        job = stored.job
        etag = responses.events_etag(job)
        responses.raise_if_not_modified(request, etag, headers)
        async with self.page_limits.rendering(request[CLIENT_ID], is_large=stored.block is None):
            page = await queries.get_events(stored, asked, self.deps)
        token = None
        if page.next_range is not None:
            token = self.tokens.encode(_events_scope(key, asked.show_all, asked.descending), astuple(page.next_range))
        members: dict[str, object] = {}
        if params.is_paged(request.query) or sum(count_levels(job, show_all=asked.show_all).values()) > page.count:
            members["pagination"] = pagination(asked.rows, page.count, token)
            headers |= next_link(request, token)
        members["summary"] = build_summary(job, show_all=asked.show_all, rows=asked.rows)
        return self._respond(request, responses.build_body(members, page.fragments), etag=etag, headers=headers)

    async def summary(self, request: web.Request) -> web.Response:
        """A job's summary alone."""
        key = await self._authorize_job(request)
        show_all, rows = params.parse_show_all(request.query), params.parse_rows(request.query)
        wait_s, headers = _parse_wait(request)
        job = (await self._find_ended(key, wait_s)).job
        etag = responses.events_etag(job)
        responses.raise_if_not_modified(request, etag, headers)
        body = msgspec.json.encode({"summary": build_summary(job, show_all=show_all, rows=rows)})
        return responses.json_response(body, etag=etag, headers=headers)

    async def records(self, request: web.Request) -> web.Response:
        """A job's records with one outcome."""
        key = await self._authorize_job(request)
        rows = params.parse_rows(request.query)
        outcome = params.parse_choice(request.query, "outcome", OUTCOMES_BY_NAME, is_required=True) or ""
        scope: TokenScope = ["records", key.site, key.job_id, outcome]
        page_token = page_token_from_query(request.query)
        first = 0 if page_token is None else params.decode_range(self.tokens, scope, page_token).start.record_index
        # Without its records, which may be large.
        job = self._require(key, await queries.find_job(key, self.deps)).job
        lines = negotiate(request, (responses.JSON, responses.NDJSON)) == responses.NDJSON
        headers = {"Vary": "Accept"}
        responses.raise_if_not_modified(request, responses.records_etag(job, lines=lines), headers)
        async with self.page_limits.rendering(request[CLIENT_ID]):
            stored = self._require(key, await self.deps.jobs.find(key, RECORDS))
            page = await queries.get_records(stored, outcome, self.deps, first=first, rows=rows)
        etag = responses.records_etag(stored.job, lines=lines)
        token = None if page.next_range is None else self.tokens.encode(scope, astuple(page.next_range))
        is_paged = params.is_paged(request.query) or count_records(stored.job.tally, outcome) > page.count
        if is_paged or lines:
            headers |= next_link(request, token)
        if lines:
            body = "".join(f"{text}\n" for text in page.fragments).encode()
            return self._respond(request, body, etag=etag, content_type=responses.NDJSON, headers=headers)
        members = {"pagination": pagination(rows, page.count, token)} if is_paged else {}
        return self._respond(request, responses.build_body(members, page.fragments), etag=etag, headers=headers)

    async def jobs(self, request: web.Request) -> web.Response:
        """A site's jobs, newest first."""
        site = await self._authorize(request)
        zone = load_time_zone(site.time_zone)
        query = JobListQuery(
            site=site.site,
            rows=params.parse_list_rows(request.query),
            state=params.parse_choice(request.query, "state", params.STATES),
            type=params.parse_choice(request.query, "type", params.TYPES),
            mode=params.parse_choice(request.query, "mode", params.MODES),
            from_us=parse_from_us(request.query, zone),
            to_us=parse_to_us(request.query, zone),
        )
        scope: TokenScope = ["jobs", query.site, query.state, query.type, query.mode, query.from_us, query.to_us]
        page_token = page_token_from_query(request.query)
        if page_token is not None:
            query = replace(query, after=ListPosition(*self.tokens.decode(scope, page_token, parts=2)))
        async with self.page_limits.rendering(request[CLIENT_ID], is_large=query.rows > queries.JOBS_PER_TURN):
            page, last, fragments = await queries.list_jobs(query, self.deps)
        token = None if last is None else self.tokens.encode(scope, last)
        body = responses.build_body({"pagination": pagination(query.rows, page, token)}, fragments)
        return self._respond(request, body, headers=next_link(request, token))

    def _respond(self, request: web.Request, body: bytes, **options: Any) -> web.Response:
        return responses.json_response(body, build=partial(self.page_limits.response, request[CLIENT_ID]), **options)

    def _parse_events_request(self, request: web.Request, key: JobKey) -> EventsRequest:
        query = request.query
        rows, show_all = params.parse_rows(query), params.parse_show_all(query)
        descending = params.parse_descending(query)
        page_token = page_token_from_query(query)
        page_range = PageRange(FIRST_POSITION)
        if page_token is not None:
            page_range = params.decode_range(self.tokens, _events_scope(key, show_all, descending), page_token)
        return EventsRequest(rows, show_all, descending, page_range)

    async def _find_ended(self, key: JobKey, wait_s: float, projection: Projection = NO_PROJECTION) -> StoredJob:
        found = await queries.find_ended_job(key, self.deps, projection=projection, timeout_s=wait_s)
        return self._require(key, found)

    def _require(self, key: JobKey, stored: StoredJob | None) -> StoredJob:
        if stored is None:
            raise responses.job_not_found(is_recent=queries.is_recent(key, self.deps))
        return stored

    async def _authorize_job(self, request: web.Request) -> JobKey:
        """The key of the job in the path, once the caller may read it."""
        site = await self._authorize(request)
        job_id = parse_job_id(request.match_info["jobId"])
        if job_id is None:
            raise responses.job_not_found()
        bind(jobId=job_id)
        return JobKey(site.site, job_id)

    async def _authorize(self, request: web.Request) -> Site:
        """The site whose jobs the caller may read."""
        caller = await self.authenticator.caller(request)
        require_scope(caller.token, SCOPE)
        if not self.is_started():
            raise StartingError("the service")
        request[CLIENT_ID] = caller.token.client_id
        await self._check_rate_limit(caller.token)
        return caller.site

    async def _check_rate_limit(self, token: Token) -> None:
        limit = self.requests_per_second
        decision = await self.rate_limit.acquire(f"status:{token.client_id}", limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise rate_limited(decision, f"a client may send {limit} status requests in any second")


def _events_scope(key: JobKey, *filters: bool) -> TokenScope:
    return ["events", key.site, key.job_id, *filters]


def _parse_wait(request: web.Request) -> tuple[float, dict[str, str]]:
    """How long to wait for the job's end, and the header that confirms the preference."""
    wait_s = params.parse_wait(request.headers)
    return (0.0, {}) if wait_s is None else (wait_s, {"Preference-Applied": "wait"})
