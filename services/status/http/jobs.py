"""HTTP's face of status: who asks, for what, and how the answer is put."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.paging import next_link, page_token_from_query, pagination
from services.chassis.http.ratelimit import RateLimit
from services.chassis.runtime.errors import ForbiddenError, Problem
from services.chassis.runtime.logs import bind
from services.chassis.security.sites import Site, Sites
from services.chassis.security.tokens import Token, TokenVerifier, bearer_token
from services.status import metrics
from services.status.domain.cursor import START, Lap
from services.status.domain.facts import Key
from services.status.domain.listing import Listing, place_of
from services.status.domain.page import Wish, count_of_records
from services.status.domain.records import OUTCOMES
from services.status.domain.summary import level_counts, summary_of
from services.status.domain.texts import RECORDS
from services.status.flows.queries import World, ended, events, is_young, known, records, texts_for
from services.status.http import params
from services.status.http.page_tokens import PageTokens, for_events, for_jobs, for_records
from services.status.http.responses import (
    NDJSON,
    answer,
    body_of,
    events_tag,
    jobs_body,
    no_such_job,
    not_modified,
    records_tag,
    summary_body,
)
from services.status.wire import job_id_of

BASE = "/common-status/v1/{apiKey}"
SCOPE = "status:read"


class StatusApi:
    """Handlers of the status API; `routes` binds them to their addresses."""

    def __init__(
        self,
        *,
        world: World,
        verifier: TokenVerifier,
        sites: Sites,
        tokens: PageTokens,
        gate: RateLimit,
        requests_per_second: int,
        openapi: Path,
    ) -> None:
        self._world = world
        self._verifier = verifier
        self._sites = sites
        self._tokens = tokens
        self._gate = gate
        self._requests_per_second = requests_per_second
        self._openapi = openapi

    def routes(self) -> Sequence[web.RouteDef]:
        """Every address of the API."""
        return [
            web.get("/common-status/openapi.yaml", self.document),
            web.get(BASE + "/job/{jobId}/events", self.events),
            web.get(BASE + "/job/{jobId}/records", self.records),
            web.get(BASE + "/job/{jobId}", self.summary),
            web.get(BASE + "/jobs", self.jobs),
        ]

    async def events(self, request: web.Request) -> web.Response:
        """A job's summary and its events."""
        key = await self._key(request)
        wish = self._wish(request, key)
        wait_s, applied = _wait(request)
        standing = await ended(key, self._world, texts=texts_for(wish), within_s=wait_s)
        if standing is None:
            raise no_such_job(is_young=is_young(key, self._world))
        job = standing.job
        tag = events_tag(job)
        unchanged = not_modified(request, tag, applied)
        if unchanged is not None:
            return unchanged
        page = await events(standing, wish, self._world)
        token = None
        if page.rest is not None:
            bound = for_events(key, show_all=wish.show_all, descending=wish.descending)
            token = self._tokens.of_lap(bound, page.rest)
        members: dict[str, object] = {}
        headers = dict(applied)
        if params.is_paged(request.query) or sum(level_counts(job, show_all=wish.show_all).values()) > wish.rows:
            members["pagination"] = pagination(wish.rows, page.count, token)
            headers |= next_link(request, token)
        members["summary"] = summary_of(job, show_all=wish.show_all, rows=wish.rows)
        return answer(body_of(members, page.texts), tag=tag, headers=headers)

    async def summary(self, request: web.Request) -> web.Response:
        """A job's summary alone."""
        key = await self._key(request)
        show_all, rows = params.show_all_of(request.query), params.rows_of(request.query)
        wait_s, applied = _wait(request)
        standing = await ended(key, self._world, within_s=wait_s)
        if standing is None:
            raise no_such_job(is_young=is_young(key, self._world))
        tag = events_tag(standing.job)
        unchanged = not_modified(request, tag, applied)
        if unchanged is not None:
            return unchanged
        return answer(summary_body(standing.job, show_all=show_all, rows=rows), tag=tag, headers=applied)

    async def records(self, request: web.Request) -> web.Response:
        """A job's records with one outcome."""
        key = await self._key(request)
        rows, outcome = params.rows_of(request.query), params.outcome_of(request.query)
        given, bound = page_token_from_query(request.query), for_records(key, outcome)
        low = self._tokens.lap(bound, given).low.record if given is not None else 0
        standing = await known(key, self._world, texts=RECORDS)
        if standing is None:
            raise no_such_job(is_young=is_young(key, self._world))
        lines = NDJSON in ",".join(request.headers.getall("Accept", ())).lower()
        tag = records_tag(standing.job, lines=lines)
        unchanged = not_modified(request, tag, {"Vary": "Accept"})
        if unchanged is not None:
            return unchanged
        page = await records(standing, OUTCOMES[outcome], self._world, low=low, rows=rows)
        token = self._tokens.of_lap(bound, page.rest) if page.rest is not None else None
        headers = {"Vary": "Accept"}
        is_paged = params.is_paged(request.query) or count_of_records(standing.job, OUTCOMES[outcome]) > rows
        if is_paged or lines:
            headers |= next_link(request, token)
        if lines:
            body = "".join(f"{text}\n" for text in page.texts).encode()
            return answer(body, tag=tag, content_type=NDJSON, headers=headers)
        members = {"pagination": pagination(rows, page.count, token)} if is_paged else {}
        return answer(body_of(members, page.texts), tag=tag, headers=headers)

    async def jobs(self, request: web.Request) -> web.Response:
        """A site's jobs, newest first."""
        site = await self._site(request)
        asked = request.query
        listing = Listing(
            site=site.site,
            rows=params.listed_rows_of(asked),
            state=params.state_of(asked),
            type=params.type_of(asked),
            mode=params.mode_of(asked),
            from_us=params.instant_of(asked, "from"),
            to_us=params.instant_of(asked, "to"),
        )
        bound, given = for_jobs(listing), page_token_from_query(asked)
        if given is not None:
            listing = replace(listing, after=self._tokens.place(bound, given))
        found = await self._world.jobs.listed(listing)
        page = found[: listing.rows]
        token = self._tokens.of_place(bound, place_of(page[-1])) if len(found) > listing.rows else None
        return answer(jobs_body(page, listing.rows, token), headers=next_link(request, token))

    async def document(self, request: web.Request) -> web.Response:
        """The API's own description."""
        del request
        return web.Response(body=self._openapi.read_bytes(), content_type="application/yaml", charset="utf-8")

    def _wish(self, request: web.Request, key: Key) -> Wish:
        asked = request.query
        rows, show_all, descending = params.rows_of(asked), params.show_all_of(asked), params.descending_of(asked)
        given = page_token_from_query(asked)
        if given is None:
            return Wish(rows, show_all, descending, Lap(START))
        bound = for_events(key, show_all=show_all, descending=descending)
        return Wish(rows, show_all, descending, self._tokens.lap(bound, given))

    async def _key(self, request: web.Request) -> Key:
        site = await self._site(request)
        job_id = job_id_of(request.match_info["jobId"])
        if job_id is None:
            raise no_such_job()
        bind(jobId=job_id)
        return Key(site.site, job_id)

    async def _site(self, request: web.Request) -> Site:
        """Whose jobs are asked for, once it is clear that the caller may ask."""
        given = bearer_token(request.headers.get("Authorization"))
        token = self._verifier.cached(given) or await self._verifier.verify(given)
        api_key = request.match_info["apiKey"]
        site = self._sites.by_api_key(api_key)
        if api_key not in token.api_keys or site is None or site.site != token.site:
            raise ForbiddenError("the token is not for this apiKey")
        if SCOPE not in token.scopes:
            raise ForbiddenError(f"the token lacks the scope {SCOPE}")
        self._admit(token)
        return site

    def _admit(self, token: Token) -> None:
        limit = self._requests_per_second
        decision = self._gate.acquire(token.client_id, limit=limit)
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise Problem(
                429,
                "RATE_LIMITED",
                f"a client may send {limit} status requests in any second",
                headers={"Retry-After": str(decision.retry_after_s)},
            )


def _wait(request: web.Request) -> tuple[float, dict[str, str]]:
    """How long to wait for the job's end, and the header that says that the wish was heard."""
    wait_s = params.wait_of(request.headers)
    return (0.0, {}) if wait_s is None else (wait_s, {"Preference-Applied": "wait"})
