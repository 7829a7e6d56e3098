"""The import API: who asks, with what, and how the answer is put."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from aiohttp import web

from services.chassis.http import server as http
from services.chassis.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.chassis.http.ratelimit import Decision
from services.chassis.runtime.errors import ForbiddenError, Problem, UnavailableError
from services.chassis.security.sites import Site, Sites
from services.chassis.security.tokens import Token, TokenVerifier, bearer_token
from services.ingest import metrics
from services.ingest.domain.import_job import ImportRequest
from services.ingest.flows.accept import (
    SCOPES,
    Deps,
    JobAccepted,
    MissingScope,
    Outcome,
    RateLimited,
    ReplayedResponse,
    UnacknowledgedError,
    accept,
    charge,
)
from services.ingest.http.body import defer_continue, read_body
from services.ingest.http.responses import (
    BASE,
    accepted_response,
    invalid_body,
    limits_body,
    missing_scope,
    quota_headers,
    rate_limited,
    replayed_response,
    to_stored_response,
    unconfirmed,
)
from services.sales.batch import ImportTarget, InvalidBodyError, SiteDefaults
from services.sales.records import MODES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the operator decided about answers and bodies."""

    accepted_status: int = 202
    body_timeout_s: float = 10.0
    require_gzip: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and the site whose key stands in the path."""

    token: Token
    site: Site
    api_key: str


class ImportApi:
    """Handlers of the import API; `routes` binds them to their addresses."""

    def __init__(
        self, *, deps: Deps, verifier: TokenVerifier, sites: Sites, options: ImportOptions, openapi: Path
    ) -> None:
        self._deps = deps
        self._verifier = verifier
        self._sites = sites
        self._options = options
        self._document = openapi.read_bytes()

    def routes(self) -> list[web.RouteDef]:
        """Every address of the API."""
        made = [
            web.get("/omnichannel/openapi.yaml", self.document),
            web.get(BASE + "/{apiKey}/limits", self.limits),
        ]
        for kind in SCOPES:
            handler = self._importing(kind)
            made += [
                web.post(f"{BASE}/{{apiKey}}/{kind}", handler, expect_handler=defer_continue),
                # aiohttp's own pattern for a part of a path leaves braces out.
                web.put(f"{BASE}/{{apiKey}}/{kind}/users/{{userId:[^/]+}}", handler, expect_handler=defer_continue),
            ]
        return made

    async def document(self, request: web.Request) -> web.Response:
        """The API's own description."""
        del request
        return web.Response(body=self._document, content_type="application/yaml", charset="utf-8")

    async def limits(self, request: web.Request) -> web.Response:
        """A client's limits and what is left of them."""
        left = await self._spend((await self._caller(request)).site, cost=0)
        return http.json_response(limits_body(left), headers=quota_headers(left))

    def _importing(self, kind: str) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            user_id = _user_id(request)
            caller = await self._caller(request)
            try:
                return await self._import(request, kind, user_id, caller)
            except UnavailableError as away:
                raise await self._with_quota(http.unavailable_problem(away), caller.site) from away
            except Problem as problem:
                raise await self._with_quota(problem, caller.site) from None

        return handler

    async def _import(self, request: web.Request, kind: str, user_id: str | None, caller: Caller) -> web.Response:
        """One import, checked in the order in which the documents list the checks."""
        if SCOPES[kind] not in caller.token.scopes:
            raise missing_scope(SCOPES[kind])
        path = ImportTarget(kind, user_id, _mode(request))
        await self._admit(caller.site)
        submission = await self._submission(request, path, caller)
        try:
            outcome = await accept(submission, self._deps)
        except InvalidBodyError as refused:
            raise await self._at_a_price(caller, invalid_body(refused)) from None
        except UnacknowledgedError as unknown:
            raise unconfirmed(unknown) from unknown
        return await self._answer(outcome, caller, user_id)

    async def _answer(self, outcome: Outcome, caller: Caller, user_id: str | None) -> web.Response:
        match outcome:
            case MissingScope(scope):
                raise await self._at_a_price(caller, missing_scope(scope))
            case RateLimited(left):
                raise rate_limited(left)
            case ReplayedResponse(kept):
                reply = replayed_response(kept)
                left = await self._spend(caller.site, cost=0)
            case JobAccepted(accepted, left, turn):
                status = self._options.accepted_status
                reply = accepted_response(accepted, status=status, api_key=caller.api_key, user_id=user_id)
                if turn is not None:
                    await self._deps.idempotency.complete(turn, to_stored_response(reply))
        reply.headers.update(quota_headers(left))
        return reply

    async def _caller(self, request: web.Request) -> Caller:
        given = bearer_token(request.headers.get("Authorization"))
        token = self._verifier.cached(given) or await self._verifier.verify(given)
        api_key = request.match_info["apiKey"]
        site = self._sites.by_api_key(api_key)
        if api_key not in token.api_keys or site is None or site.site != token.site:
            refusal = ForbiddenError("the token is not for this apiKey")
            own = self._sites.get(token.site)
            raise refusal if own is None else await self._with_quota(refusal, own)
        return Caller(token, site, api_key)

    async def _admit(self, site: Site) -> None:
        left = await self._spend(site, cost=0)
        if not left.allowed:
            raise rate_limited(left)

    async def _spend(self, site: Site, *, cost: int) -> Decision:
        return await charge(site.site, site.records_per_second, self._deps.rate_limiter, cost=cost)

    async def _with_quota(self, problem: Problem, site: Site) -> Problem:
        """The refusal, with what the site may still send; a throttled request has been told already."""
        if "RateLimit" not in problem.headers:
            problem.headers.update(quota_headers(await self._spend(site, cost=0)))
        return problem

    async def _at_a_price(self, caller: Caller, problem: Problem) -> Problem:
        """The refusal of a body that had to be read: it costs one record."""
        await self._spend(caller.site, cost=1)
        metrics.REFUSED.labels(problem.code).inc()
        return problem

    async def _submission(self, request: web.Request, path: ImportTarget, caller: Caller) -> ImportRequest:
        manners, site = self._options, caller.site
        try:
            body = await read_body(request, timeout_s=manners.body_timeout_s, require_gzip=manners.require_gzip)
        except Problem as problem:
            raise await self._at_a_price(caller, problem) from None
        return ImportRequest(
            client_id=caller.token.client_id,
            scopes=caller.token.scopes,
            target=path,
            site=SiteDefaults(site.site, _zone(site.time_zone), site.default_channel(caller.api_key)),
            records_per_second=site.records_per_second,
            body=body,
            idempotency_key=request.headers.get(IDEMPOTENCY_KEY),
            traceparent=http.traceparent(request),
        )


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _user_id(request: web.Request) -> str | None:
    """The user in the path, decoded by ourselves: the router's decoding hides what is not UTF-8."""
    if "userId" not in request.match_info:
        return None
    try:
        return unquote(request.rel_url.raw_path.rpartition("/")[2], errors="strict")
    except UnicodeDecodeError:
        raise Problem(404, "NOT_FOUND", "the user in the path is not UTF-8") from None


def _mode(request: web.Request) -> str | None:
    """The query's mode, in lower case; the parameter's own name is taken in any case, too."""
    if not request.query_string:
        return None
    given = {value.lower() for name, value in request.query.items() if name.lower() == "mode"}
    if not given:
        return None
    mode, *others = given
    if others or mode not in MODES:
        raise Problem(400, "INVALID_MODE", "mode is offline or online")
    return mode
