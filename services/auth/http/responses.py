"""How clients with credentials are read and answered: the words of RFC 6749."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from services.auth.domain.audience import Audience
from services.auth.domain.caller import Networks, caller
from services.auth.domain.credentials import Presented, secret_in_query
from services.auth.domain.oauth_error import Refusal, invalid_request
from services.auth.flows.tokens import Issued, World, issue, refused
from services.chassis.http.server import json_response
from services.chassis.runtime.errors import UnavailableError

LARGEST_BODY = 16 * 1024
BODY_TIMEOUT_S = 10.0
NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# RFC 9745: since when secrets in query strings are deprecated, which is as long as there have been tokens here.
DEPRECATED = {"Deprecation": "@1735689600"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def client_endpoint(
    answer: Callable[[Presented, str], Awaitable[web.Response]],
    audience: Audience,
    *,
    world: World,
    proxies: Networks,
) -> Handler:
    """A handler that gives `answer` what was presented, and by whom."""

    async def handler(request: web.Request) -> web.Response:
        where = caller_of(request, proxies)
        presented = await _presented(request)
        if isinstance(presented, Refusal):
            return refusal_response(refused(presented, audience, caller=where, world=world))
        try:
            response = await answer(presented, where)
        except UnavailableError as away:
            response = _away_response(away)
        if secret_in_query(presented):
            response.headers.update(DEPRECATED)
        return response

    return handler


def token_endpoint(audience: Audience, *, world: World, proxies: Networks) -> Handler:
    """Where the tokens of one API are had."""

    async def token(presented: Presented, where: str) -> web.Response:
        outcome = await issue(presented, audience, caller=where, world=world)
        return refusal_response(outcome) if isinstance(outcome, Refusal) else _token_response(outcome)

    return client_endpoint(token, audience, world=world, proxies=proxies)


def served(document: Path) -> Handler:
    """A handler that gives an OpenAPI document as it is now."""
    content = document.read_bytes()

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type="application/yaml", charset="utf-8")

    return handler


def caller_of(request: web.Request, proxies: Networks) -> str:
    """The address that a request comes from."""
    return caller(request.remote or "", request.headers.getall("X-Forwarded-For", []), proxies)


def refusal_response(refusal: Refusal) -> web.Response:
    """A refusal as RFC 6749, 5.2 has it."""
    headers = dict(NEVER_KEPT)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="tillstream"'
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    body = {"error": refusal.error, "error_description": refusal.description}
    return json_response(body, status=refusal.status, headers=headers)


async def _presented(request: web.Request) -> Presented | Refusal:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return invalid_request("The body must not be compressed.")
    body = await body_of(request)
    if body is None:
        return invalid_request("The body is too long, or took too long.")
    return Presented(
        query=request.rel_url.raw_query_string,
        body=body,
        content_type=request.headers.get("Content-Type", ""),
        authorization=request.headers.get("Authorization"),
    )


async def body_of(request: web.Request) -> bytes | None:
    """The body; None if it is too long or does not come."""
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while len(body) <= LARGEST_BODY and (more := await request.content.read(LARGEST_BODY + 1)):
                body += more
    except TimeoutError:
        return None
    return body if len(body) <= LARGEST_BODY else None


def _token_response(issued: Issued) -> web.Response:
    body: dict[str, object] = {
        "token_type": "bearer",
        "access_token": issued.access_token,
        "expires_in": issued.expires_in,
    }
    if issued.scope is not None:
        body["scope"] = issued.scope
    return json_response(body, headers=NEVER_KEPT)


def _away_response(away: UnavailableError) -> web.Response:
    headers = {**NEVER_KEPT, "Retry-After": str(away.retry_after_s)}
    body = {"error": "temporarily_unavailable", "error_description": "Tokens cannot be issued just now; try again."}
    return json_response(body, status=503, headers=headers)
