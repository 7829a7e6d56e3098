"""Token endpoints and published keys over HTTP."""

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from services.auth.domain.audience import AUDIENCES, SCOPES, Audience
from services.auth.domain.credentials import TokenEndpointRequest
from services.auth.domain.oauth_error import OAuthError
from services.auth.domain.source_address import Networks
from services.auth.flows.tokens import TokenDeps, introspect, revoke
from services.auth.http.responses import NO_STORE, credentials_endpoint, error_response, token_endpoint
from services.chassis.http.openapi import openapi_route
from services.chassis.http.server import json_response

KEY_SET_MAX_AGE_S = 60
AUTH_METHODS = ["client_secret_post", "client_secret_basic"]


def build_routes(
    deps: TokenDeps, *, key_set: Callable[[], dict[str, object]], proxies: Networks, public_url: str, openapi: Path
) -> list[web.RouteDef]:
    """All that auth answers on its public port."""
    metadata = _metadata(deps.issuer, public_url)

    async def keys(_request: web.Request) -> web.Response:
        kept = {"Cache-Control": f"public, max-age={KEY_SET_MAX_AGE_S}"}
        return json_response(key_set(), headers=kept, content_type="application/jwk-set+json")

    async def server(_request: web.Request) -> web.Response:
        return json_response(metadata, headers={"Cache-Control": "public, max-age=3600"})

    return [
        *(route for audience in AUDIENCES for route in _endpoints(audience, deps, proxies)),
        web.get("/.well-known/jwks.json", keys),
        web.get("/.well-known/oauth-authorization-server", server),
        openapi_route("/auth/openapi.yaml", openapi),
    ]


def _endpoints(audience: Audience, world: TokenDeps, proxies: Networks) -> list[web.RouteDef]:
    """The three endpoints of one API."""

    async def end(presented: TokenEndpointRequest, where: str) -> web.Response:
        refusal = await revoke(presented, audience, source=where, deps=world)
        return error_response(refusal) if refusal else web.Response(headers=NO_STORE)

    async def about(presented: TokenEndpointRequest, where: str) -> web.Response:
        outcome = await introspect(presented, audience, source=where, deps=world)
        return error_response(outcome) if isinstance(outcome, OAuthError) else json_response(outcome, headers=NO_STORE)

    return [
        web.post(audience.token_path, token_endpoint(audience, deps=world, proxies=proxies)),
        web.post(audience.revocation_path, credentials_endpoint(end, audience, deps=world, proxies=proxies)),
        web.post(audience.introspection_path, credentials_endpoint(about, audience, deps=world, proxies=proxies)),
    ]


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
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        "service_documentation": public_url + "/auth/openapi.yaml",
    }
