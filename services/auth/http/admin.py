"""The admin API: what operators do to sites, clients and keys, over HTTP on an internal port."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from aiohttp import web

from services.auth.domain.audience import ADMIN
from services.auth.domain.client import ClientNotFoundError, RuleViolationError
from services.auth.domain.site import ApiKeyConflictError
from services.auth.domain.source_address import Networks
from services.auth.domain.tenants import InvalidDocumentError, parse_client, parse_client_change, parse_site
from services.auth.flows import management as desk
from services.auth.flows.key_rotation import KeyRotationDeps, add_key
from services.auth.flows.management import ManagementDeps
from services.auth.flows.tokens import UNKNOWN_CLIENT, TokenDeps
from services.auth.http.responses import NO_STORE, get_source_address, read_body, token_endpoint
from services.auth.wire import client_summary, key_summary, site_summary
from services.chassis.http.openapi import openapi_route
from services.chassis.http.server import json_response
from services.chassis.runtime.errors import ForbiddenError, Problem, UnauthorizedError
from services.chassis.security.tokens import Token, bearer_token

BASE = "/auth-admin/v1"

Act = Callable[[web.Request, ManagementDeps], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDeps:
    """What the admin API stands on. `office` acts in the name of whoever the token names."""

    tokens: TokenDeps
    management: ManagementDeps
    keys: KeyRotationDeps
    verify: Callable[[str], Awaitable[Token]]
    proxies: Networks
    openapi: Path


def build_routes(deps: AdminDeps) -> list[web.RouteDef]:
    """All that the admin API answers."""
    acts: dict[tuple[str, str], Act] = {
        ("GET", "/sites"): _list_sites,
        ("GET", "/sites/{site}"): _show_site,
        ("PUT", "/sites/{site}"): _put_site,
        ("GET", "/clients"): _list_clients,
        ("POST", "/clients"): _add_client,
        ("GET", "/clients/{client}"): _show_client,
        ("PATCH", "/clients/{client}"): _change_client,
        ("POST", "/clients/{client}/secrets"): _add_secret,
        ("DELETE", "/clients/{client}/secrets/{secret}"): _remove_secret,
        ("POST", "/clients/{client}/revocations"): _revoke,
        ("POST", "/tokens/{token}/revocations"): _revoke_token,
        ("GET", "/keys"): _keys(deps, _list_keys),
        ("POST", "/keys"): _keys(deps, _add_key),
    }
    return [
        openapi_route("/auth-admin/openapi.yaml", deps.openapi),
        web.post(ADMIN.token_path, token_endpoint(ADMIN, deps=deps.tokens, proxies=deps.proxies)),
        *(web.route(method, BASE + path, _authorized(act, deps)) for (method, path), act in acts.items()),
    ]


def _authorized(act: Act, given: AdminDeps) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        where = get_source_address(request, given.proxies)
        token = await _admitted(request, given, where=where)
        acting = replace(given.management, actor=token.client_id, source=where)
        try:
            return await act(request, acting)
        except ClientNotFoundError:
            raise _unknown("client") from None
        except (RuleViolationError, ApiKeyConflictError) as reason:
            raise Problem(409, "NOT_POSSIBLE", str(reason)) from None
        except InvalidDocumentError as reason:
            raise Problem(400, "INVALID_BODY", str(reason)) from None

    return handler


async def _admitted(request: web.Request, given: AdminDeps, *, where: str) -> Token:
    """The administrator's token; raises `Unauthorized` or `Forbidden`, which leave an audit line."""
    try:
        token = await given.verify(bearer_token(request.headers.get("Authorization")))
    except UnauthorizedError:
        given.management.audit.record(
            "administrator refused", actor=UNKNOWN_CLIENT, source=where, reason="unauthorized"
        )
        raise
    if not set(ADMIN.scopes) <= token.scopes:
        given.management.audit.record(
            "administrator refused", actor=token.client_id, source=where, reason="insufficient_scope"
        )
        raise ForbiddenError("The token does not reach the admin API.")
    return token


async def _list_sites(_request: web.Request, office: ManagementDeps) -> web.Response:
    return _json([site_summary(site) for site in await office.sites.all()])


async def _show_site(request: web.Request, office: ManagementDeps) -> web.Response:
    site = await office.sites.find(_number(request))
    if site is None:
        raise _unknown("site")
    return _json(site_summary(site))


async def _put_site(request: web.Request, office: ManagementDeps) -> web.Response:
    site = parse_site(await read_body(request), time_zones=available_timezones())
    if site.site != _number(request):
        raise InvalidDocumentError("the site in the body is not that of the address")
    await desk.add_site(site, office)
    return _json(site_summary(site))


async def _list_clients(_request: web.Request, office: ManagementDeps) -> web.Response:
    return _json([client_summary(client) for client in await office.clients.all()])


async def _show_client(request: web.Request, office: ManagementDeps) -> web.Response:
    client = await office.clients.find(request.match_info["client"])
    if client is None:
        raise _unknown("client")
    return _json(client_summary(client))


async def _add_client(request: web.Request, office: ManagementDeps) -> web.Response:
    client = parse_client(await read_body(request))
    secret = await desk.add_client(client, office)
    return _json({"clientId": client.client_id, "secret": secret}, status=201)


async def _change_client(request: web.Request, office: ManagementDeps) -> web.Response:
    await desk.change_client(request.match_info["client"], parse_client_change(await read_body(request)), office)
    return await _show_client(request, office)


async def _add_secret(request: web.Request, office: ManagementDeps) -> web.Response:
    client_id = request.match_info["client"]
    secret = await desk.add_secret(client_id, office, grace_s=_grace(request))
    return _json({"clientId": client_id, "secret": secret}, status=201)


async def _remove_secret(request: web.Request, office: ManagementDeps) -> web.Response:
    await desk.remove_secret(request.match_info["client"], request.match_info["secret"], office)
    return web.Response(status=204)


async def _revoke(request: web.Request, office: ManagementDeps) -> web.Response:
    await desk.revoke_client(request.match_info["client"], office)
    return web.Response(status=204)


async def _revoke_token(request: web.Request, office: ManagementDeps) -> web.Response:
    await desk.revoke_token(request.match_info["token"], office)
    return web.Response(status=204)


def _keys(given: AdminDeps, act: Callable[[KeyRotationDeps], Awaitable[web.Response]]) -> Act:
    async def handler(_request: web.Request, office: ManagementDeps) -> web.Response:
        return await act(replace(given.keys, actor=office.actor, source=office.source))

    return handler


async def _list_keys(world: KeyRotationDeps) -> web.Response:
    return _json([key_summary(key) for key in await world.keys.all()])


async def _add_key(world: KeyRotationDeps) -> web.Response:
    await add_key(world)
    return _json([key_summary(key) for key in await world.keys.all()], status=201)


def _grace(request: web.Request) -> int | None:
    """`graceHours`: after how many hours the secrets before the new one end; never without it."""
    hours = request.query.get("graceHours")
    if hours is None:
        return None
    if not hours.isascii() or not hours.isdigit() or len(hours) > 4:
        raise Problem(400, "INVALID_GRACE", "graceHours is a whole number of hours.")
    return int(hours) * 3_600


def _number(request: web.Request) -> int:
    text = request.match_info["site"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _unknown("site")
    return int(text)


def _unknown(what: str) -> Problem:
    return Problem(404, "NOT_FOUND", f"There is no such {what}.")


def _json(body: Any, *, status: int = 200) -> web.Response:
    return json_response(body, status=status, headers=NO_STORE)
