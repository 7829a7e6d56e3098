"""Answers the common PUT of one record without aiohttp's handling, at two thirds of the cost (ADR 16).

Every other request is declined before it has any effect, and `ImportApi` decides: one that is refused or throttled, has
an idempotency key, a query, a coding or a body that has not arrived, or holds anything but a common record.
"""

import re
from functools import partial
from typing import NamedTuple

import msgspec
from aiohttp import hdrs
from multidict import istr
from structlog.contextvars import bound_contextvars

from services.chassis.http import responses as http
from services.chassis.http.direct import Exchange
from services.chassis.http.idempotency import HEADER as IDEMPOTENCY_KEY
from services.chassis.http.rate_limit import Decision, quota_headers
from services.chassis.http.request_body import may_be_json
from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.logs import logger, logs_debug
from services.chassis.security.authentication import Caller, RequestAuthenticator
from services.ingest import metrics
from services.ingest.domain.body_budget import BodyBudget, BodyShare, BudgetExceededError
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.domain.inflate import GZIP_MAGIC, MAX_BODY_BYTES
from services.ingest.flows.accept import SCOPES, Deps, report_accepted, report_unacknowledged
from services.ingest.flows.accept_nowait import accept_nowait
from services.ingest.http import responses
from services.ingest.http.responses import BASE, QUOTA
from services.ingest.http.site_defaults import site_defaults
from services.sales.batch import ImportTarget

# Nothing that a URL parser would decode, normalise or split off.
_PATH = re.compile(
    rf"{BASE}/([A-Za-z0-9_~-][A-Za-z0-9._~-]*)/({'|'.join(SCOPES)})/users/([A-Za-z0-9_~-][A-Za-z0-9._~-]*)"
)
_ROUTES = {kind: f"{BASE}/{{apiKey}}/{kind}/users/{{userId}}" for kind in SCOPES}
_IDEMPOTENCY_KEY = istr(IDEMPOTENCY_KEY)
_JSON = "application/json; charset=utf-8"
_LOG = logger(__name__)


class DirectImports:
    """Direct handler of the import API. `budget` is shared with the other requests."""

    def __init__(
        self, *, deps: Deps, authenticator: RequestAuthenticator, budget: BodyBudget, accepted_status: int
    ) -> None:
        self._deps = deps
        self._authenticator = authenticator
        self._budget = budget
        self._accepted_status = accepted_status

    def __call__(self, exchange: Exchange) -> bool:
        """Begin to answer the request, or decline it."""
        found = _PATH.fullmatch(exchange.message.path) if exchange.message.method == "PUT" else None
        if found is None or not _has_common_headers(exchange):
            return False
        api_key, kind, user_id = found.groups()
        caller = self._authenticator.cached_caller(exchange.headers.get(hdrs.AUTHORIZATION), api_key)
        if caller is None or SCOPES[kind] not in caller.token.scopes:
            return False
        site = caller.site
        if not self._deps.rate_limiter.has_quota_nowait(str(site.site), limit=site.records_per_second):
            return False
        body = exchange.body
        if len(body) > MAX_BODY_BYTES or body.startswith(GZIP_MAGIC):
            return False
        request = ImportRequest(
            client_id=caller.token.client_id,
            scopes=caller.token.scopes,
            target=ImportTarget(kind, user_id, None),
            site=site_defaults(caller),
            records_per_second=site.records_per_second,
            body=body,
            traceparent=http.traceparent_from(exchange.headers),
        )
        return self._accept(exchange, request, caller)

    def _accept(self, exchange: Exchange, request: ImportRequest, caller: Caller) -> bool:
        share = self._budget.open(request.client_id)
        begun = _BegunRequest(exchange, caller.api_key, request.target, share)
        is_begun = False
        try:
            share.set(len(request.body))
            is_begun = accept_nowait(request, self._deps, partial(self._respond, begun))
        except BudgetExceededError:
            return False
        finally:
            if not is_begun:
                self._budget.release(share)
        if is_begun:
            exchange.begin()
            metrics.WIRE_BYTES.observe(len(request.body))
        return is_begun

    def _respond(self, begun: "_BegunRequest", job: AcceptedJob, quota: Decision, error: Exception | None) -> None:
        exchange, api_key, target, share = begun
        self._budget.release(share)
        if error is None:
            if logs_debug():
                with bound_contextvars(**_log_context(exchange, job)):
                    report_accepted(job)
            status = self._accepted_status
            headers, document = responses.accepted_content(job, api_key=api_key, user_id=target.user_id)
            headers |= {"Content-Type": _JSON, **responses.since_counted(quota)}
            body = msgspec.json.encode(document)
        else:
            with bound_contextvars(**_log_context(exchange, job)):
                refused = http.problem_response(_problem(error, job), request_id=exchange.request_id)
            status, headers = refused.status, dict(refused.headers)
            body = bytes(refused.body or b"")  # type: ignore[arg-type]  # never a stream
        exchange.respond(_ROUTES[target.kind], status, headers | quota_headers(QUOTA, quota), body)


class _BegunRequest(NamedTuple):
    exchange: Exchange
    api_key: str
    target: ImportTarget
    share: BodyShare


def _has_common_headers(exchange: Exchange) -> bool:
    headers = exchange.headers
    return not (
        _IDEMPOTENCY_KEY in headers
        or hdrs.EXPECT in headers
        or hdrs.CONTENT_ENCODING in headers
        or hdrs.TRANSFER_ENCODING in headers
        or hdrs.UPGRADE in headers
    ) and may_be_json(headers)


def _problem(error: Exception, job: AcceptedJob) -> Problem:
    if isinstance(error, UnavailableError):
        return responses.refusal(report_unacknowledged(error, job))
    _LOG.error("request failed", method="PUT", exc_info=error)
    return http.internal_error(500)


def _log_context(exchange: Exchange, job: AcceptedJob) -> dict[str, str]:
    trace = {} if job.traceparent is None else {"traceparent": job.traceparent}
    return {"requestId": exchange.request_id, "jobId": job.header.job_id, **trace}
