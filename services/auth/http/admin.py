"""Admin API: operators manage sites, clients and keys over HTTP, on an internal port."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from aiohttp import web

from services.auth.domain.audience import ADMIN
from services.auth.domain.client import MAX_GRACE_H, ClientNotFoundError, RuleViolationError
from services.auth.domain.site import ApiKeyConflictError
from services.auth.domain.tenants import InvalidDocumentError, parse_client, parse_client_change, parse_site
from services.auth.flows import management
from services.auth.flows.key_rotation import KeyRotationDeps, add_key
from services.auth.flows.management import ManagementDeps
from services.auth.flows.tokens import UNKNOWN_CLIENT, TokenDeps, issue
from services.auth.http.oauth import NO_STORE, build_endpoint, read_body
from services.auth.wire import client_to_json, key_to_json
from services.chassis.http.openapi import openapi_route
from services.chassis.http.responses import json_response
from services.chassis.http.source_address import Networks, get_source_address
from services.chassis.runtime.errors import ForbiddenError, Problem, UnauthorizedError, UnavailableError
from services.chassis.security.tokens import Token, bearer_token

BASE = "/auth-admin/v1"

MAX_SITE_DIGITS = 18

Action = Callable[[web.Request, ManagementDeps], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDeps:
    """Dependencies of the admin API. Each request acts on `management` and `keys` in the name of its token's client."""

    tokens: TokenDeps
    management: ManagementDeps
    keys: KeyRotationDeps
    verify: Callable[[str], Awaitable[Token]]
    manage_when: Callable[[], bool]
    proxies: Networks
    openapi: Path


def build_routes(deps: AdminDeps) -> list[web.RouteDef]:
    """Build the routes of the admin port."""
    actions: dict[tuple[str, str], Action] = {
        ("GET", "/sites"): _list_sites,
        ("GET", "/sites/{site}"): _show_site,
        ("PUT", "/sites/{site}"): _put_site,
        ("GET", "/clients"): _list_clients,
        ("POST", "/clients"): _add_client,
        ("GET", "/clients/{client}"): _show_client,
        ("PATCH", "/clients/{client}"): _change_client,
        ("POST", "/clients/{client}/secrets"): _add_secret,
        ("DELETE", "/clients/{client}/secrets/{secret}"): _remove_secret,
        ("POST", "/clients/{client}/revocations"): _revoke_client,
        ("POST", "/tokens/{token}/revocations"): _revoke_token,
        ("GET", "/keys"): _key_action(_list_keys, deps),
        ("POST", "/keys"): _key_action(_add_key, deps),
    }
    return [
        openapi_route("/auth-admin/openapi.yaml", deps.openapi),
        web.post(ADMIN.token_path, build_endpoint(issue, ADMIN, deps=deps.tokens, proxies=deps.proxies)),
        *(web.route(method, BASE + path, _authorized(action, deps)) for (method, path), action in actions.items()),
    ]


def _authorized(action: Action, deps: AdminDeps) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        source = get_source_address(request, deps.proxies)
        token = await _authorize(request, deps, source=source)
        if not deps.manage_when():
            # Without its unique index, two sites could get the same API key.
            raise UnavailableError("MongoDB")
        try:
            return await action(request, replace(deps.management, actor=token.client_id, source=source))
        except ClientNotFoundError:
            raise _not_found("client") from None
        except (RuleViolationError, ApiKeyConflictError) as error:
            raise Problem(409, "NOT_POSSIBLE", str(error)) from None
        except InvalidDocumentError as error:
            raise Problem(400, "INVALID_BODY", str(error)) from None

    return handler


async def _authorize(request: web.Request, deps: AdminDeps, *, source: str) -> Token:
    """Return the administrator's token. Raises `UnauthorizedError` or `ForbiddenError` and writes an audit line."""
    audit = deps.management.audit
    try:
        token = await deps.verify(bearer_token(request.headers.get("Authorization")))
    except UnauthorizedError:
        audit.record("administrator refused", actor=UNKNOWN_CLIENT, source=source, reason="unauthorized")
        raise
    if not set(ADMIN.scopes) <= token.scopes:
        audit.record("administrator refused", actor=token.client_id, source=source, reason="insufficient_scope")
        raise ForbiddenError(f"the token lacks the scope {' '.join(ADMIN.scopes)}")
    return token


async def _list_sites(_request: web.Request, deps: ManagementDeps) -> web.Response:
    return _json([site.to_fields() for site in await deps.sites.all()])


async def _show_site(request: web.Request, deps: ManagementDeps) -> web.Response:
    stored = await deps.sites.find(_site_number(request))
    if stored is None:
        raise _not_found("site")
    return _json(stored.site.to_fields())


async def _put_site(request: web.Request, deps: ManagementDeps) -> web.Response:
    site = parse_site(await read_body(request), time_zones=available_timezones())
    if site.site != _site_number(request):
        raise InvalidDocumentError("site differs from the number in the path")
    await management.add_site(site, deps)
    return _json(site.to_fields())


async def _list_clients(_request: web.Request, deps: ManagementDeps) -> web.Response:
    return _json([client_to_json(client) for client in await deps.clients.all()])


async def _show_client(request: web.Request, deps: ManagementDeps) -> web.Response:
    client = await deps.clients.find(request.match_info["client"])
    if client is None:
        raise _not_found("client")
    return _json(client_to_json(client))


async def _add_client(request: web.Request, deps: ManagementDeps) -> web.Response:
    client = parse_client(await read_body(request))
    secret = await management.add_client(client, deps)
    return _json({"clientId": client.client_id, "secret": secret}, status=201)


async def _change_client(request: web.Request, deps: ManagementDeps) -> web.Response:
    await management.change_client(request.match_info["client"], parse_client_change(await read_body(request)), deps)
    return await _show_client(request, deps)


async def _add_secret(request: web.Request, deps: ManagementDeps) -> web.Response:
    client_id = request.match_info["client"]
    secret = await management.add_secret(client_id, deps, grace_s=_grace_s(request))
    return _json({"clientId": client_id, "secret": secret}, status=201)


async def _remove_secret(request: web.Request, deps: ManagementDeps) -> web.Response:
    await management.remove_secret(request.match_info["client"], request.match_info["secret"], deps)
    return web.Response(status=204)


async def _revoke_client(request: web.Request, deps: ManagementDeps) -> web.Response:
    await management.revoke_client(request.match_info["client"], deps)
    return web.Response(status=204)


async def _revoke_token(request: web.Request, deps: ManagementDeps) -> web.Response:
    await management.revoke_token(request.match_info["token"], deps)
    return web.Response(status=204)


def _key_action(action: Callable[[KeyRotationDeps], Awaitable[web.Response]], deps: AdminDeps) -> Action:
    async def handler(_request: web.Request, acting: ManagementDeps) -> web.Response:
        return await action(replace(deps.keys, actor=acting.actor, source=acting.source))

    return handler


async def _list_keys(deps: KeyRotationDeps) -> web.Response:
    return _json([key_to_json(key) for key in await deps.keys.all()])


async def _add_key(deps: KeyRotationDeps) -> web.Response:
    await add_key(deps)
    return _json([key_to_json(key) for key in await deps.keys.all()], status=201)


def _grace_s(request: web.Request) -> int | None:
    """`graceHours`: the previous secrets expire after it; without it they do not."""
    hours = request.query.get("graceHours")
    if hours is None:
        return None
    if not hours.isascii() or not hours.isdigit() or len(hours) > len(str(MAX_GRACE_H)):
        raise Problem(400, "INVALID_GRACE", f"graceHours must be a whole number of at most {MAX_GRACE_H} hours")
    return int(hours) * 3_600


def _site_number(request: web.Request) -> int:
    text = request.match_info["site"]
    if not text.isascii() or not text.isdigit() or len(text) > MAX_SITE_DIGITS:
        raise _not_found("site")
    return int(text)


def _not_found(noun: str) -> Problem:
    return Problem(404, "NOT_FOUND", f"there is no such {noun}")


def _json(body: Any, *, status: int = 200) -> web.Response:
    return json_response(body, status=status, headers=NO_STORE)
