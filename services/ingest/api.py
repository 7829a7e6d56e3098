"""The import API: who asks, with what, and how the answer is put."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import web

from services.chassis import web as http
from services.chassis.errors import Forbidden, Problem
from services.chassis.ratelimit import Decision
from services.chassis.sites import Site, Sites
from services.chassis.tokens import Token, Verifier, bearer
from services.ingest import metrics
from services.ingest.body import LARGEST_WIRE, read_body
from services.ingest.domain.accepted import Accepted, Submission
from services.ingest.domain.inflate import LARGEST
from services.ingest.flow import Unacknowledged, World, accept
from services.sales.batch import MOST_RECORDS, BodyRefused, RequestPath, SiteRules
from services.sales.records import MODES

BASE = "/omnichannel/api/v1"
SCOPES = {"orders": "orders:write", "returns": "returns:write"}


class ImportApi:
    """Handlers of the import API; `routes` binds them to their addresses."""

    def __init__(
        self,
        *,
        world: World,
        verifier: Verifier,
        sites: Sites,
        accepted_status: int,
        body_timeout_s: float,
        require_gzip: bool,
    ) -> None:
        self._accepted_status = accepted_status
        self._body_timeout_s = body_timeout_s
        self._require_gzip = require_gzip
        self._world = world
        self._verifier = verifier
        self._sites = sites

    def routes(self) -> list[web.RouteDef]:
        """Every address of the API."""
        made = [web.get(BASE + "/{apiKey}/limits", self.limits)]
        for kind in SCOPES:
            made.append(web.post(f"{BASE}/{{apiKey}}/{kind}", self._importing(kind)))
            made.append(web.put(f"{BASE}/{{apiKey}}/{kind}/users/{{userId}}", self._importing(kind)))
        return made

    def _importing(self, kind: str) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            return await self._import(request, kind)

        return handler

    async def _import(self, request: web.Request, kind: str) -> web.Response:
        """One import, checked in the order in which the documents list the checks."""
        token = await self._token(request)
        site = self._site(request, token)
        _need(token, SCOPES[kind])
        path = RequestPath(kind, request.match_info.get("userId"), _mode(request))
        self._admit(site)
        submission = await self._submission(request, path, site)
        try:
            outcome = await accept(submission, self._world)
        except BodyRefused as refused:
            self._spend(site, cost=1)
            metrics.REFUSED.labels(refused.code).inc()
            raise Problem(refused.status, refused.code, refused.detail, headers=self._quota(site)) from None
        except Unacknowledged as unknown:
            raise _unknown(unknown) from unknown
        if isinstance(outcome, Decision):
            raise _throttled(outcome)
        return self._accepted(request, outcome, site)

    async def _token(self, request: web.Request) -> Token:
        given = bearer(request.headers.get("Authorization"))
        return self._verifier.remembered(given) or await self._verifier.verify(given)

    def _site(self, request: web.Request, token: Token) -> Site:
        api_key = request.match_info["apiKey"]
        site = self._sites.by_api_key(api_key)
        if api_key not in token.api_keys or site is None or site.site != token.site:
            raise Forbidden("the token is not for this apiKey")
        return site

    def _admit(self, site: Site) -> None:
        left = self._spend(site, cost=0)
        if not left.allowed:
            raise _throttled(left)

    def _spend(self, site: Site, *, cost: int) -> Decision:
        return self._world.gate.take(str(site.site), limit=site.records_per_second, cost=cost)

    async def _submission(self, request: web.Request, path: RequestPath, site: Site) -> Submission:
        try:
            body = await read_body(request, timeout_s=self._body_timeout_s, require_gzip=self._require_gzip)
        except Problem as problem:
            self._spend(site, cost=1)
            metrics.REFUSED.labels(problem.code).inc()
            problem.headers.update(self._quota(site))
            raise
        return Submission(
            path=path,
            site=SiteRules(site.site, ZoneInfo(site.time_zone), site.channel_of(request.match_info["apiKey"])),
            records_per_second=site.records_per_second,
            body=body,
            traceparent=http.traceparent(request),
        )

    def _accepted(self, request: web.Request, accepted: Accepted, site: Site) -> web.Response:
        api_key = request.match_info["apiKey"]
        job_id = accepted.header.job_id
        headers = {
            "Location": f"/common-status/v1/{quote(api_key, safe='')}/job/{job_id}/events",
            **self._quota(site),
        }
        body: dict[str, Any] = {
            "message": accepted.message,
            "time": accepted.header.created_at // 1000,
            "jobId": job_id,
        }
        if accepted.batch.notes:
            body["notes"] = [_note(note.index, note.code, note.detail) for note in accepted.batch.notes]
        if accepted.header.type == "returns":
            headers.update(_canonical(request, api_key))
        return http.json_response(body, status=self._accepted_status, headers=headers)

    def _quota(self, site: Site) -> dict[str, str]:
        return _quota_headers(self._spend(site, cost=0))

    async def limits(self, request: web.Request) -> web.Response:
        """A client's limits and what is left of them."""
        token = await self._token(request)
        site = self._site(request, token)
        left = self._spend(site, cost=0)
        body = {
            "recordsPerSecond": site.records_per_second,
            "remaining": left.remaining,
            "resetAfterSeconds": left.reset_s,
            "recordsPerRequest": MOST_RECORDS,
            "bytesPerRequest": LARGEST_WIRE,
            "inflatedBytesPerRequest": LARGEST,
        }
        return http.json_response(body, headers=_quota_headers(left))


def _need(token: Token, scope: str) -> None:
    if scope not in token.scopes:
        raise Forbidden(f"the token lacks the scope {scope}")


def _mode(request: web.Request) -> str | None:
    """The query's mode, in lower case; the parameter's own name is taken in any case, too."""
    given = [value for name, value in request.query.items() if name.lower() == "mode"]
    if not given:
        return None
    mode = given[0].lower()
    if mode not in MODES or any(other.lower() != mode for other in given):
        raise Problem(400, "INVALID_MODE", "mode is offline or online")
    return mode


def _note(index: int | None, code: str, detail: str) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {**place, "code": code, "detail": detail}


def _canonical(request: web.Request, api_key: str) -> dict[str, str]:
    """Where a return that came over the orders path belongs."""
    if "/orders" not in request.match_info.route.resource.canonical:  # type: ignore[union-attr] # routed, so it is there
        return {}
    user = request.match_info.get("userId")
    suffix = f"/users/{quote(user, safe='')}" if user is not None else ""
    return {"Link": f'<{BASE}/{quote(api_key, safe="")}/returns{suffix}>; rel="canonical"'}


def _quota_headers(left: Decision) -> dict[str, str]:
    """What the site may send, as the IETF's RateLimit header fields have it."""
    return {
        "RateLimit-Policy": f'"records";q={left.limit};w=1',
        "RateLimit": f'"records";r={left.remaining};t={left.reset_s}',
    }


def _throttled(refusal: Decision) -> Problem:
    metrics.RATE_LIMITED.inc()
    return Problem(
        429,
        "RATE_LIMITED",
        f"the site may send {refusal.limit} records in any second",
        headers={"Retry-After": str(refusal.retry_after_s), **_quota_headers(refusal)},
    )


def _unknown(unknown: Unacknowledged) -> Problem:
    return Problem(
        503,
        "BROKER_UNAVAILABLE",
        "the records could not be confirmed; sending them again is safe",
        headers={"Retry-After": str(unknown.retry_after_s)},
        extra={"jobId": unknown.job_id},
    )
