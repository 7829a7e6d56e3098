"""Token endpoints and published keys over HTTP."""

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from services.auth.domain.audience import AUDIENCES, SCOPES, Audience
from services.auth.domain.caller import Networks
from services.auth.domain.credentials import Presented
from services.auth.domain.oauth_error import Refusal
from services.auth.flows.tokens import World, introspect, revoke
from services.auth.http.responses import NEVER_KEPT, client_endpoint, refusal_response, served, token_endpoint
from services.chassis.http.server import json_response

KEYS_KEPT_S = 60
AUTH_METHODS = ["client_secret_post", "client_secret_basic"]


def routes(
    world: World, *, key_set: Callable[[], dict[str, object]], proxies: Networks, public_url: str, openapi: Path
) -> list[web.RouteDef]:
    """All that auth answers on its public port."""
    metadata = _metadata(world.issuer, public_url)

    async def keys(_request: web.Request) -> web.Response:
        kept = {"Cache-Control": f"public, max-age={KEYS_KEPT_S}"}
        return json_response(key_set(), headers=kept, content_type="application/jwk-set+json")

    async def server(_request: web.Request) -> web.Response:
        return json_response(metadata, headers={"Cache-Control": "public, max-age=3600"})

    return [
        *(route for audience in AUDIENCES for route in _endpoints(audience, world, proxies)),
        web.get("/.well-known/jwks.json", keys),
        web.get("/.well-known/oauth-authorization-server", server),
        web.get("/auth/openapi.yaml", served(openapi)),
    ]


def _endpoints(audience: Audience, world: World, proxies: Networks) -> list[web.RouteDef]:
    """The three endpoints of one API."""

    async def end(presented: Presented, where: str) -> web.Response:
        refusal = await revoke(presented, audience, caller=where, world=world)
        return refusal_response(refusal) if refusal else web.Response(headers=NEVER_KEPT)

    async def about(presented: Presented, where: str) -> web.Response:
        outcome = await introspect(presented, audience, caller=where, world=world)
        return refusal_response(outcome) if isinstance(outcome, Refusal) else json_response(outcome, headers=NEVER_KEPT)

    return [
        web.post(audience.token_path, token_endpoint(audience, world=world, proxies=proxies)),
        web.post(audience.revocation_path, client_endpoint(end, audience, world=world, proxies=proxies)),
        web.post(audience.introspection_path, client_endpoint(about, audience, world=world, proxies=proxies)),
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
