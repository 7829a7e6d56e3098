"""OAuth endpoints (RFC 6749, 7009, 7662), the key set and the server's metadata over HTTP."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from services.auth.domain.audience import AUDIENCES, SCOPES, Audience
from services.auth.domain.credentials import TokenEndpointRequest, has_secret_in_query
from services.auth.domain.oauth_error import OAuthError, invalid_request, unavailable
from services.auth.flows.tokens import TokenDeps, introspect, issue, record_refusal, revoke
from services.chassis.http.openapi import openapi_route
from services.chassis.http.request_body import read_bounded
from services.chassis.http.responses import json_response
from services.chassis.http.source_address import Networks, get_source_address
from services.chassis.runtime.errors import Problem, UnavailableError

MAX_BODY_BYTES = 16 * 1024
BODY_TIMEOUT_S = 10.0
KEY_SET_MAX_AGE_S = 60
METADATA_MAX_AGE_S = 3_600
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# RFC 9745 `Deprecation` date of secrets in query strings: 2025-01-01.
DEPRECATION = {"Deprecation": "@1735689600"}
AUTH_METHODS = ["client_secret_post", "client_secret_basic"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Returns the body of the response, an error, or None for an empty response.
Flow = Callable[..., Awaitable[dict[str, Any] | OAuthError | None]]


def build_routes(
    deps: TokenDeps, *, key_set: Callable[[], dict[str, object]], proxies: Networks, public_url: str, openapi: Path
) -> list[web.RouteDef]:
    """Build the routes of the public port."""
    metadata = _build_metadata(deps.issuer, public_url)

    async def get_key_set(_request: web.Request) -> web.Response:
        cacheable = {"Cache-Control": f"public, max-age={KEY_SET_MAX_AGE_S}"}
        return json_response(key_set(), headers=cacheable, content_type="application/jwk-set+json")

    async def get_metadata(_request: web.Request) -> web.Response:
        return json_response(metadata, headers={"Cache-Control": f"public, max-age={METADATA_MAX_AGE_S}"})

    return [
        *(route for audience in AUDIENCES for route in _build_endpoints(audience, deps, proxies)),
        web.get("/.well-known/jwks.json", get_key_set),
        web.get("/.well-known/oauth-authorization-server", get_metadata),
        openapi_route("/auth/openapi.yaml", openapi),
    ]


def _build_endpoints(audience: Audience, deps: TokenDeps, proxies: Networks) -> Iterator[web.RouteDef]:
    """Build the three endpoints of one API."""
    flows = {audience.token_path: issue, audience.revocation_path: revoke, audience.introspection_path: introspect}
    for path, flow in flows.items():
        yield web.post(path, build_endpoint(flow, audience, deps=deps, proxies=proxies))


def build_endpoint(flow: Flow, audience: Audience, *, deps: TokenDeps, proxies: Networks) -> Handler:
    """Build an endpoint that authenticates clients: read the request, run the flow, and respond as RFC 6749 says."""

    async def handler(request: web.Request) -> web.Response:
        source = get_source_address(request, proxies)
        token_request = await _read_request(request)
        if isinstance(token_request, OAuthError):
            return _to_response(record_refusal(token_request, audience, source=source, deps=deps))
        try:
            outcome = await flow(token_request, audience, source=source, deps=deps)
        except UnavailableError as error:
            outcome = unavailable(error.retry_after_s)
        response = _to_response(outcome)
        if has_secret_in_query(token_request):
            response.headers.update(DEPRECATION)
        return response

    return handler


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
    """Read the body of at most `MAX_BODY_BYTES`. Raises a 413, or a 408 after `BODY_TIMEOUT_S`."""
    return await read_bounded(request, max_bytes=MAX_BODY_BYTES, timeout_s=BODY_TIMEOUT_S)


def _to_response(outcome: dict[str, Any] | OAuthError | None) -> web.Response:
    if outcome is None:
        return web.Response(headers=NO_STORE)
    if not isinstance(outcome, OAuthError):
        return json_response(outcome, headers=NO_STORE)
    headers = dict(NO_STORE)
    if outcome.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="tillstream"'
    if outcome.retry_after_s is not None:
        headers["Retry-After"] = str(outcome.retry_after_s)
    body = {"error": outcome.error, "error_description": outcome.description}
    return json_response(body, status=outcome.status, headers=headers)


def _build_metadata(issuer: str, public_url: str) -> dict[str, object]:
    """RFC 8414 allows one token endpoint; `token_endpoints` is an extension for the others."""
    return {
        "issuer": issuer,
        "token_endpoint": public_url + AUDIENCES[0].token_path,
        "token_endpoints": {audience.name: public_url + audience.token_path for audience in AUDIENCES},
        "revocation_endpoint": public_url + AUDIENCES[0].revocation_path,
        "introspection_endpoint": public_url + AUDIENCES[0].introspection_path,
        "jwks_uri": public_url + "/.well-known/jwks.json",
        "scopes_supported": list(SCOPES),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        "service_documentation": public_url + "/auth/openapi.yaml",
    }
