"""Operator commands for sites, clients and signing keys."""

import getpass
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

import typer

from services.auth.adapters.publisher import KafkaPublisher
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.auth.adapters.stores import MongoKeyStore, create_indexes
from services.auth.app import build_key_rotation, build_management, new_id, verify_encryption_key
from services.auth.domain import tenants
from services.auth.domain.client import MAX_GRACE_H, RuleViolationError
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError
from services.auth.flows import management
from services.auth.flows.key_rotation import add_key
from services.auth.flows.management import ManagementDeps
from services.auth.settings import AuthSettings
from services.auth.wire import client_to_json, key_to_json
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.broker_clock import measure_broker_clock
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.command import async_command
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings, load
from services.values.sites import MAX_NUMBER

BROKER_TIMEOUT_S = 15.0
sites = typer.Typer(no_args_is_help=True, help="Sites (tenants): their names, API keys and limits.")
clients = typer.Typer(no_args_is_help=True, help="Clients: who may get tokens, with which secrets and scopes.")
keys = typer.Typer(no_args_is_help=True, help="Keys that sign tokens.")


command = async_command(RuleViolationError, tenants.InvalidDocumentError, ApiKeyConflictError)


class ManagementSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the commands that manage sites and clients; `keys rotate` needs those of auth."""


async def load_tenants(document: bytes, *, mongo: Mongo, producer: Producer, schemas: Schemas) -> tuple[int, int]:
    """Apply a JSON document of sites and clients; return how many of each changed. Idempotent.

    Creates the indexes that this needs; `producer` must be ready. Raises `ValueError` for a document that cannot be
    applied, and `UnavailableError`.
    """
    declared = tenants.parse_tenants(document, time_zones=available_timezones())
    await create_indexes(mongo)
    return await management.load_tenants(declared, await _build_management(mongo, producer, schemas))


def _operator() -> tuple[str, str]:
    """Return who acts, and from where, for the audit lines."""
    return getpass.getuser(), f"command line of {socket.gethostname()}"


@asynccontextmanager
async def _open_management() -> AsyncIterator[ManagementDeps]:
    settings = load(ManagementSettings)
    async with Mongo.connect(settings) as mongo, Producer(settings, client_id="operator") as producer:
        await create_indexes(mongo)
        await producer.wait_ready(BROKER_TIMEOUT_S)
        yield await _build_management(mongo, producer, Schemas.load(settings.schemas_dir))


async def _build_management(mongo: Mongo, producer: Producer, schemas: Schemas) -> ManagementDeps:
    (actor, source), now = _operator(), (await measure_broker_clock(producer)).now_s
    publisher = KafkaPublisher(producer, schemas)
    return build_management(mongo, publisher, Argon2Hasher(), now=now, actor=actor, source=source)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _exit_not_found(noun: str, identifier: object) -> typer.Exit:
    typer.echo(f"there is no {noun} {identifier}", err=True)
    return typer.Exit(1)


@sites.command("add")
@command
async def add_sites(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help='JSON document: {"sites": [...]}, as for `init --tenants`.'),
    ],
) -> None:
    """Add or change sites, and publish them."""
    async with _open_management() as deps:
        try:
            declared = tenants.parse_tenants(file.read_bytes(), time_zones=available_timezones())
        except tenants.InvalidDocumentError as error:
            raise tenants.InvalidDocumentError(f"{file.name}: {error}") from None
        changed = [await management.add_site(site, deps) for site in declared.sites]
    typer.echo(f"{sum(changed)} sites changed")


@sites.command("list")
@command
async def list_sites() -> None:
    """List all sites."""
    async with _open_management() as deps:
        _print_json([site.to_fields() for site in await deps.sites.all()])


@sites.command("show")
@command
async def show_site(site: Annotated[int, typer.Argument(min=0, max=MAX_NUMBER)]) -> None:
    """Show one site."""
    async with _open_management() as deps:
        stored = await deps.sites.find(site)
    if stored is None:
        raise _exit_not_found("site", site)
    _print_json(stored.site.to_fields())


@clients.command("add")
@command
async def add_client(
    site: Annotated[int, typer.Option(help="The client's site; 0 for a client that only administers.")],
    api_key: Annotated[
        list[str] | None, typer.Option(help="An API key of the site that the client may use; repeatable.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope; repeatable. Default: those of all APIs, without stock:write.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="The client's id; random by default.")] = None,
) -> None:
    """Add a client and show its secret, once."""
    client_id = client_id or new_id()[:16]
    document = {"clientId": client_id, "site": site, "apiKeys": api_key or [], "scopes": scope or []}
    async with _open_management() as deps:
        secret = await management.add_client(tenants.parse_client(json.dumps(document).encode()), deps)
    _print_json({"clientId": client_id, "secret": secret})


@clients.command("list")
@command
async def list_clients() -> None:
    """List all clients."""
    async with _open_management() as deps:
        _print_json([client_to_json(client) for client in await deps.clients.all()])


@clients.command("show")
@command
async def show_client(client_id: str) -> None:
    """Show one client, with the ids of its secrets only."""
    async with _open_management() as deps:
        client = await deps.clients.find(client_id)
    if client is None:
        raise _exit_not_found("client", client_id)
    _print_json(client_to_json(client))


@clients.command("change")
@command
async def change_client(
    client_id: str,
    api_key: Annotated[list[str] | None, typer.Option(help="Its new API keys; repeatable.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Its new scopes; repeatable.")] = None,
    *,
    no_scopes: Annotated[bool, typer.Option("--no-scopes", help="Remove all scopes: no more tokens.")] = False,
) -> None:
    """Change a client's API keys or scopes. Issued tokens keep their scopes: `revoke-tokens` revokes them."""
    if no_scopes and scope:
        raise typer.BadParameter("give either --scope or --no-scopes")
    if not (api_key or scope or no_scopes):
        raise typer.BadParameter("give at least one of --api-key, --scope and --no-scopes")
    document = {"apiKeys": api_key or None, "scopes": [] if no_scopes else scope or None}
    async with _open_management() as deps:
        await management.change_client(client_id, tenants.parse_client_change(json.dumps(document).encode()), deps)


@clients.command("add-secret")
@command
async def add_secret(
    client_id: str,
    grace_hours: Annotated[
        float | None,
        typer.Option(min=0, max=MAX_GRACE_H, help="Hours after which the previous secrets expire; default: never."),
    ] = None,
) -> None:
    """Add a secret to a client and show it, once."""
    grace_s = None if grace_hours is None else int(grace_hours * 3600)
    async with _open_management() as deps:
        secret = await management.add_secret(client_id, deps, grace_s=grace_s)
    _print_json({"clientId": client_id, "secret": secret})


@clients.command("remove-secret")
@command
async def remove_secret(client_id: str, secret_id: str) -> None:
    """Remove a secret of a client, at once. The last one cannot be removed."""
    async with _open_management() as deps:
        await management.remove_secret(client_id, secret_id, deps)


@clients.command("revoke-tokens")
@command
async def revoke_tokens(client_id: str) -> None:
    """Revoke all tokens that were issued to the client."""
    async with _open_management() as deps:
        await management.revoke_client(client_id, deps)


@clients.command("revoke-token")
@command
async def revoke_token(token_id: str) -> None:
    """Revoke one token by its id (`tokenId` of the audit line, `jti` of the token)."""
    async with _open_management() as deps:
        await management.revoke_token(token_id, deps)


@keys.command("list")
@command
async def list_keys() -> None:
    """List the signing keys."""
    async with Mongo.connect(load(ManagementSettings)) as mongo:
        _print_json([key_to_json(key) for key in await MongoKeyStore(mongo).all()])


@keys.command("rotate")
@command
async def rotate() -> None:
    """Add the next signing key and list all. It signs once every verifier has had the time to fetch it."""
    settings = load(AuthSettings)
    async with Mongo.connect(settings) as mongo, Producer(settings, client_id="operator") as producer:
        await producer.wait_ready(BROKER_TIMEOUT_S)
        rotated = await _rotate(settings, mongo, now=(await measure_broker_clock(producer)).now_s)
    _print_json([key_to_json(key) for key in rotated])


async def _rotate(settings: AuthSettings, mongo: Mongo, *, now: Callable[[], float]) -> Sequence[SigningKey]:
    # A signing key that the running replicas cannot decrypt would stop them from loading any.
    await verify_encryption_key(settings, mongo)
    deps, _ = build_key_rotation(settings, mongo, now=now)
    actor, source = _operator()
    await add_key(replace(deps, actor=actor, source=source))
    return await deps.keys.all()
