"""Token endpoints and published keys over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from services.auth.domain.audience import AUDIENCES, SCOPES, Audience
from services.auth.domain.caller import Networks, caller
from services.auth.domain.credentials import Presented, secret_in_query
from services.auth.domain.refusal import Refusal, invalid_request
from services.auth.flow import Issued, World, introspect, issue, revoke
from services.chassis.errors import Away
from services.chassis.web import json_response

LARGEST_BODY = 16 * 1024
BODY_TIMEOUT_S = 10.0
NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# RFC 9745: since when secrets in query strings are deprecated, which is as long as there have been tokens here.
DEPRECATED = {"Deprecation": "@1735689600"}
KEYS_KEPT_S = 60

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(
    world: World, *, key_set: Callable[[], dict[str, object]], proxies: Networks, public_url: str, openapi: Path
) -> list[web.RouteDef]:
    """All that auth answers on its public port."""
    metadata = _metadata(world.issuer, public_url)
    document = openapi.read_bytes()

    async def keys(_request: web.Request) -> web.Response:
        kept = {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
        return json_response(key_set(), headers=kept, content_type="application/jwk-set+json")

    async def server(_request: web.Request) -> web.Response:
        return json_response(metadata, headers={"Cache-Control": "public, max-age=3600"})

    async def described(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/yaml", charset="utf-8")

    return [
        *(route for audience in AUDIENCES for route in _endpoints(audience, world, proxies)),
        web.get("/.well-known/jwks.json", keys),
        web.get("/.well-known/oauth-authorization-server", server),
        web.get("/auth/openapi.yaml", described),
    ]


def _endpoints(audience: Audience, world: World, proxies: Networks) -> list[web.RouteDef]:
    """The three endpoints of one API, each for clients with credentials."""

    def answering(answer: Callable[[Presented, str], Awaitable[web.Response]]) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            presented = await _presented(request)
            if isinstance(presented, Refusal):
                return _refusal_response(presented)
            try:
                response = await answer(presented, _caller(request, proxies))
            except Away as away:
                response = _away_response(away)
            if secret_in_query(presented):
                response.headers.update(DEPRECATED)
            return response

        return handler

    async def token(presented: Presented, caller: str) -> web.Response:
        outcome = await issue(presented, audience, caller=caller, world=world)
        return _refusal_response(outcome) if isinstance(outcome, Refusal) else _token_response(outcome)

    async def end(presented: Presented, caller: str) -> web.Response:
        refusal = await revoke(presented, audience, caller=caller, world=world)
        return _refusal_response(refusal) if refusal else web.Response(headers=NEVER_KEPT)

    async def about(presented: Presented, caller: str) -> web.Response:
        outcome = await introspect(presented, audience, caller=caller, world=world)
        return (
            _refusal_response(outcome) if isinstance(outcome, Refusal) else json_response(outcome, headers=NEVER_KEPT)
        )

    return [
        web.post(audience.token_path, answering(token)),
        web.post(audience.revocation_path, answering(end)),
        web.post(audience.introspection_path, answering(about)),
    ]


async def _presented(request: web.Request) -> Presented | Refusal:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return invalid_request("The body must not be compressed.")
    body = await _body(request)
    if body is None:
        return invalid_request("The body is too long, or took too long.")
    return Presented(
        query=request.rel_url.raw_query_string,
        body=body,
        content_type=request.headers.get("Content-Type", ""),
        authorization=request.headers.get("Authorization"),
    )


async def _body(request: web.Request) -> bytes | None:
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while len(body) <= LARGEST_BODY and (more := await request.content.read(LARGEST_BODY + 1)):
                body += more
    except TimeoutError:
        return None
    return body if len(body) <= LARGEST_BODY else None


def _caller(request: web.Request, proxies: Networks) -> str:
    return caller(request.remote or "", request.headers.getall("X-Forwarded-For", []), proxies)


def _token_response(issued: Issued) -> web.Response:
    body: dict[str, object] = {
        "token_type": "bearer",
        "access_token": issued.access_token,
        "expires_in": issued.expires_in,
    }
    if issued.scope is not None:
        body["scope"] = issued.scope
    return json_response(body, headers=NEVER_KEPT)


def _refusal_response(refusal: Refusal) -> web.Response:
    headers = dict(NEVER_KEPT)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="tillstream"'
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    body = {"error": refusal.error, "error_description": refusal.description}
    return json_response(body, status=refusal.status, headers=headers)


def _away_response(away: Away) -> web.Response:
    headers = {**NEVER_KEPT, "Retry-After": str(away.retry_after_s)}
    body = {"error": "temporarily_unavailable", "error_description": "Tokens cannot be issued just now; try again."}
    return json_response(body, status=503, headers=headers)


def _metadata(issuer: str, public_url: str) -> dict[str, object]:
    """RFC 8414 knows one token endpoint; the others are told beside it."""
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
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "service_documentation": public_url + "/auth/openapi.yaml",
    }
