"""How clients with credentials are read and answered: the words of RFC 6749."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from services.auth.domain.audience import Audience
from services.auth.domain.credentials import TokenEndpointRequest, has_secret_in_query
from services.auth.domain.oauth_error import OAuthError, invalid_request
from services.auth.domain.source_address import Networks, source_address
from services.auth.flows.tokens import IssuedToken, TokenDeps, issue, record_refusal
from services.chassis.http.request_body import read_bounded
from services.chassis.http.server import json_response
from services.chassis.runtime.errors import Problem, UnavailableError

MAX_BODY_BYTES = 16 * 1024
BODY_TIMEOUT_S = 10.0
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# RFC 9745: since when secrets in query strings are deprecated, which is as long as there have been tokens here.
DEPRECATION = {"Deprecation": "@1735689600"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def credentials_endpoint(
    answer: Callable[[TokenEndpointRequest, str], Awaitable[web.Response]],
    audience: Audience,
    *,
    deps: TokenDeps,
    proxies: Networks,
) -> Handler:
    """A handler that gives `answer` what was presented, and by whom."""

    async def handler(request: web.Request) -> web.Response:
        where = get_source_address(request, proxies)
        presented = await _read_request(request)
        if isinstance(presented, OAuthError):
            return error_response(record_refusal(presented, audience, source=where, deps=deps))
        try:
            response = await answer(presented, where)
        except UnavailableError as away:
            response = _unavailable_response(away)
        if has_secret_in_query(presented):
            response.headers.update(DEPRECATION)
        return response

    return handler


def token_endpoint(audience: Audience, *, deps: TokenDeps, proxies: Networks) -> Handler:
    """Where the tokens of one API are had."""

    async def token(presented: TokenEndpointRequest, where: str) -> web.Response:
        outcome = await issue(presented, audience, source=where, deps=deps)
        return error_response(outcome) if isinstance(outcome, OAuthError) else _token_response(outcome)

    return credentials_endpoint(token, audience, deps=deps, proxies=proxies)


def get_source_address(request: web.Request, proxies: Networks) -> str:
    """The address that a request comes from."""
    return source_address(request.remote or "", request.headers.getall("X-Forwarded-For", []), proxies)


def error_response(error: OAuthError) -> web.Response:
    """A refusal as RFC 6749, 5.2 has it."""
    headers = dict(NO_STORE)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="tillstream"'
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    body = {"error": error.error, "error_description": error.description}
    return json_response(body, status=error.status, headers=headers)


async def _read_request(request: web.Request) -> TokenEndpointRequest | OAuthError:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return invalid_request("The body must not be compressed.")
    try:
        body = await read_body(request)
    except Problem:
        return invalid_request("The body is too long, or took too long.")
    return TokenEndpointRequest(
        query=request.rel_url.raw_query_string,
        body=body,
        content_type=request.headers.get("Content-Type", ""),
        authorization=request.headers.get("Authorization"),
    )


async def read_body(request: web.Request) -> bytes:
    """Return the body; raises a 413 or a 408."""
    return await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)


def _token_response(issued: IssuedToken) -> web.Response:
    body: dict[str, object] = {
        "token_type": "bearer",
        "access_token": issued.access_token,
        "expires_in": issued.expires_in,
    }
    if issued.scope is not None:
        body["scope"] = issued.scope
    return json_response(body, headers=NO_STORE)


def _unavailable_response(away: UnavailableError) -> web.Response:
    headers = {**NO_STORE, "Retry-After": str(away.retry_after_s)}
    body = {"error": "temporarily_unavailable", "error_description": "Tokens cannot be issued just now; try again."}
    return json_response(body, status=503, headers=headers)
