"""Routes of the import API: authenticate, check, accept, respond."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import web

from services.chassis.http import responses as http
from services.chassis.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.chassis.http.openapi import openapi_route
from services.chassis.http.rate_limit import Decision, quota_headers
from services.chassis.runtime.errors import ForbiddenError, Problem, UnavailableError
from services.chassis.security.authentication import Caller, RequestAuthenticator, require_scope
from services.chassis.security.sites import Sites
from services.ingest import metrics
from services.ingest.domain.body_budget import BodyBudget, BudgetExceededError
from services.ingest.domain.import_job import ImportRequest
from services.ingest.flows.accept import (
    SCOPES,
    Deps,
    JobAccepted,
    MissingScope,
    Outcome,
    RateLimited,
    ReplayedResponse,
    accept,
)
from services.ingest.flows.validate import Validated, validate
from services.ingest.http import responses
from services.ingest.http.body import UnreadableBodyError, defer_continue, read_body
from services.ingest.http.direct import DirectImports
from services.ingest.http.query import IMPORT, ImportQuery, parse_query
from services.ingest.http.responses import BASE, QUOTA
from services.ingest.http.site_defaults import site_defaults
from services.sales.batch import ImportTarget, InvalidBodyError
from services.values.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Settings of the API."""

    accepted_status: int = 202
    body_timeout_s: float = 10.0
    require_gzip: bool = False
    validate_only_records_per_second: int | None = None
    max_bytes_in_flight: int = 128 * 1024 * 1024
    max_bytes_in_flight_per_client: int = 48 * 1024 * 1024


class SiteQuota(NamedTuple):
    """What a request is charged to: a site's imported records, or those that it only validates."""

    key: str
    limit: int


class ImportApi:
    """Handlers of the import API."""

    def __init__(
        self, *, deps: Deps, authenticator: RequestAuthenticator, sites: Sites, options: ImportOptions, openapi: Path
    ) -> None:
        self._deps = deps
        self._authenticator = authenticator
        self._sites = sites
        self._options = options
        self._budget = BodyBudget(
            max_bytes=options.max_bytes_in_flight, max_bytes_per_client=options.max_bytes_in_flight_per_client
        )
        metrics.BYTES_IN_FLIGHT.set_function(lambda: self._budget.bytes_in_flight)
        self._openapi = openapi
        # Answers the most frequent requests, and leaves all others to the routes.
        self.direct = DirectImports(
            deps=deps, authenticator=authenticator, budget=self._budget, accepted_status=options.accepted_status
        )

    def routes(self) -> list[web.RouteDef]:
        """All routes of the API."""
        # aiohttp tries them in order: the most frequent ones come first.
        routes: list[web.RouteDef] = []
        for kind in SCOPES:
            handler = partial(self._handle_import, kind)
            routes += [
                # aiohttp's default pattern for a path segment excludes braces.
                web.put(f"{BASE}/{{apiKey}}/{kind}/users/{{userId:[^/]+}}", handler, expect_handler=defer_continue),
                web.post(f"{BASE}/{{apiKey}}/{kind}", handler, expect_handler=defer_continue),
            ]
        return [
            *routes,
            web.get(BASE + "/{apiKey}/limits", self.limits),
            openapi_route("/omnichannel/openapi.yaml", self._openapi),
        ]

    async def limits(self, request: web.Request) -> web.Response:
        """Return the site's limits and its remaining quota, with `validateOnly` those of dry runs."""
        site = (await self._authenticate(request)).site
        query = parse_query(request)
        query.require_valid()
        quota = await self._peek(self._quota(site, query))
        return http.json_response(responses.limits_body(quota), headers=quota_headers(QUOTA, quota))

    async def _handle_import(self, kind: str, request: web.Request) -> web.Response:
        user_id = _user_id(request)
        caller = await self._authenticate(request)
        query = parse_query(request)
        site_quota = self._quota(caller.site, query)
        outcome: Outcome | Validated | InvalidBodyError | UnreadableBodyError | responses.RefusalError
        try:
            outcome = await self._import(request, ImportTarget(kind, user_id, query.mode), caller, query)
        except (Problem, InvalidBodyError, UnreadableBodyError, BudgetExceededError, UnavailableError) as error:
            # Its traceback would refer to this frame, and the cycle would keep the request with its body.
            outcome = error.with_traceback(None)
        refuse = partial(http.problem_response, request_id=request[http.REQUEST_ID])
        quota: Decision | None = None
        match outcome:
            case JobAccepted(job, quota, reservation):
                status = self._options.accepted_status
                response = responses.accepted_response(job, status=status, api_key=caller.api_key, user_id=user_id)
                if reservation is not None:
                    await self._deps.idempotency.complete(reservation, responses.to_stored_response(response))
                response.headers.update(responses.since_counted(quota))
            case ReplayedResponse(stored):
                response = responses.replayed_response(stored)
            case Validated(quota=quota):
                response = responses.validated_response(outcome, api_key=caller.api_key, user_id=user_id)
                response.headers.update(responses.since_counted(quota))
            case RateLimited(quota):
                response = refuse(responses.rate_limited(quota))
            case MissingScope() | InvalidBodyError() | UnreadableBodyError():
                problem = responses.body_problem(outcome)
                # The body had to be read: that costs as much as a record.
                await self._deps.rate_limiter.acquire(site_quota.key, limit=site_quota.limit)
                metrics.REFUSED.labels(problem.code).inc()
                response = refuse(problem)
            case BudgetExceededError() | UnavailableError() | Problem():
                response = refuse(responses.refusal(outcome))
        response.headers.update(quota_headers(QUOTA, quota or await self._peek(site_quota)))
        return response

    async def _import(
        self, request: web.Request, target: ImportTarget, caller: Caller, query: ImportQuery
    ) -> Outcome | Validated:
        """Accept or validate one import request; the checks run in the order in which the API documents them."""
        token, site, options = caller.token, caller.site, self._options
        require_scope(token, SCOPES[target.kind])
        query.require_valid()
        site_quota = self._quota(site, query)
        quota = await self._peek(site_quota)
        if not quota.allowed:
            return RateLimited(quota)
        with self._budget.open(token.client_id) as share:
            body = await read_body(request, share, timeout_s=options.body_timeout_s, require_gzip=options.require_gzip)
            import_request = ImportRequest(
                client_id=token.client_id,
                scopes=token.scopes,
                target=target,
                site=site_defaults(caller),
                records_per_second=site_quota.limit,
                body=body,
                idempotency_key=request.headers.get(IDEMPOTENCY_KEY),
                traceparent=http.traceparent_from(request.headers),
            )
            if query.validate_only:
                return await validate(import_request, self._deps, quota_key=site_quota.key)
            return await accept(import_request, self._deps)

    async def _authenticate(self, request: web.Request) -> Caller:
        token = await self._authenticator.token(request)
        try:
            return self._authenticator.match_api_key(request, token)
        except ForbiddenError as problem:
            own_site = self._sites.get(token.site)
            if own_site is not None:
                problem.headers.update(quota_headers(QUOTA, await self._peek(self._quota(own_site))))
            raise

    def _quota(self, site: Site, query: ImportQuery = IMPORT) -> SiteQuota:
        own_limit = self._options.validate_only_records_per_second
        if query.validate_only and own_limit is not None:
            return SiteQuota(f"{site.site} validateOnly", own_limit)
        return SiteQuota(str(site.site), site.records_per_second)

    async def _peek(self, site_quota: SiteQuota) -> Decision:
        return await self._deps.rate_limiter.peek(site_quota.key, limit=site_quota.limit)


def _user_id(request: web.Request) -> str | None:
    """Decode the userId from the raw path: the router's own decoding hides invalid UTF-8."""
    if "userId" not in request.match_info:
        return None
    raw = request.rel_url.raw_path.rpartition("/")[2]
    if "%" not in raw:
        return raw
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise Problem(404, "NOT_FOUND", "the userId in the path is not valid UTF-8") from None
