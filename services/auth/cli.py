"""The operator's commands about sites, clients and signing keys, and the loading of a whole document of tenants."""

import getpass
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import available_timezones

import typer

from services.auth.adapters.stores import MongoKeyStore, create_indexes
from services.auth.app import build_key_rotation, build_management, new_id
from services.auth.domain import tenants
from services.auth.domain.client import RuleViolationError
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError
from services.auth.flows import management
from services.auth.flows.key_rotation import add_key
from services.auth.flows.management import ManagementDeps
from services.auth.settings import AuthSettings
from services.auth.wire import client_summary, key_summary, site_summary
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.command import run_command
from services.chassis.runtime.settings import KafkaSettings, MongoSettings, ServiceSettings, load

T = TypeVar("T")
S = TypeVar("S", "OperatorSettings", AuthSettings)

BROKER_TIMEOUT_S = 15.0
MAX_GRACE_H = 9_999

sites = typer.Typer(no_args_is_help=True, help="Sites (tenants): what they are called, their keys and limits.")
clients = typer.Typer(no_args_is_help=True, help="Clients: who may get tokens, with which secrets.")
keys = typer.Typer(no_args_is_help=True, help="Keys that sign tokens.")


class OperatorSettings(ServiceSettings, KafkaSettings, MongoSettings):
    """Settings of the commands about sites and clients; those about keys have the settings of auth."""


async def load_tenants(document: bytes, *, mongo: Mongo, producer: Producer, schemas: Schemas) -> tuple[int, int]:
    """Make sites and clients what the JSON document says; returns how many of each had to change.

    Creates the indexes that this needs. `producer` must be ready if any site changes. Doing it again changes nothing.
    Raises `ValueError` where the document cannot be followed, `Away` where a server does not answer.
    """
    wanted = tenants.parse_tenants(document, time_zones=available_timezones())
    await create_indexes(mongo)
    return await management.load_tenants(
        wanted, build_management(mongo, producer, schemas, actor=_actor(), source=_source())
    )


def _actor() -> str:
    return getpass.getuser()


def _source() -> str:
    return f"command line of {socket.gethostname()}"


@asynccontextmanager
async def _open_management() -> AsyncIterator[ManagementDeps]:
    settings = load(OperatorSettings)
    async with Mongo.connect(settings) as mongo, Producer(settings, client_id="operator") as producer:
        await create_indexes(mongo)
        await producer.wait_ready(BROKER_TIMEOUT_S)
        yield build_management(mongo, producer, Schemas.load(settings.schemas_dir), actor=_actor(), source=_source())


def _with_deps(work: Callable[[ManagementDeps], Awaitable[T]]) -> T:
    """Run one command on sites and clients."""

    async def run() -> T:
        async with _open_management() as opened:
            return await work(opened)

    return _run_command(run())


def _run_command(work: Coroutine[Any, Any, T]) -> T:
    return run_command(work, RuleViolationError, tenants.InvalidDocumentError, ApiKeyConflictError)


def _print_json(what: Any) -> None:
    typer.echo(json.dumps(what, indent=2, ensure_ascii=False))


@sites.command("add")
def add_sites(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help='JSON document: {"sites": [...]}, as for `init --tenants`.'),
    ],
) -> None:
    """Add sites, or change those that are there, and publish them."""

    async def work(opened: ManagementDeps) -> int:
        try:
            wanted = tenants.parse_tenants(file.read_bytes(), time_zones=available_timezones())
        except tenants.InvalidDocumentError as bad:
            raise tenants.InvalidDocumentError(f"{file.name}: {bad}") from None
        return sum([await management.add_site(site, opened) for site in wanted.sites])

    typer.echo(f"{_with_deps(work)} sites changed")


@sites.command("list")
def list_sites() -> None:
    """List all sites."""
    _print_json([site_summary(site) for site in _with_deps(lambda opened: opened.sites.all())])


@sites.command("show")
def show_site(site: Annotated[int, typer.Argument(min=0, max=tenants.MAX_NUMBER)]) -> None:
    """Show one site."""
    found = _with_deps(lambda opened: opened.sites.find(site))
    if found is None:
        typer.echo(f"there is no site {site}", err=True)
        raise typer.Exit(1)
    _print_json(site_summary(found))


@clients.command("add")
def add_client(
    site: Annotated[int, typer.Option(help="The client's site; 0 for one that only administers.")],
    api_key: Annotated[
        list[str] | None, typer.Option(help="A key of the site that the client may use; repeatable.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope; repeatable. By default those of all APIs but stock:write.")
    ] = None,
    client_id: Annotated[str | None, typer.Option(help="The client's id; drawn at random by default.")] = None,
) -> None:
    """Add a client and show its secret, once."""
    wanted = {
        "clientId": client_id or new_id()[:16],
        "site": site,
        "apiKeys": api_key or [],
        "scopes": scope or [],
    }

    async def work(opened: ManagementDeps) -> str:
        return await management.add_client(tenants.parse_client(json.dumps(wanted).encode()), opened)

    secret = _with_deps(work)
    _print_json({"clientId": wanted["clientId"], "secret": secret})


@clients.command("list")
def list_clients() -> None:
    """List all clients."""
    _print_json([client_summary(client) for client in _with_deps(lambda opened: opened.clients.all())])


@clients.command("show")
def show_client(client_id: str) -> None:
    """Show one client; its secrets by their ids only."""
    found = _with_deps(lambda opened: opened.clients.find(client_id))
    if found is None:
        typer.echo(f"there is no client {client_id}", err=True)
        raise typer.Exit(1)
    _print_json(client_summary(found))


@clients.command("change")
def change_client(
    client_id: str,
    api_key: Annotated[list[str] | None, typer.Option(help="Its API keys from now on; repeatable.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="Its scopes from now on; repeatable.")] = None,
    *,
    no_scopes: Annotated[bool, typer.Option("--no-scopes", help="Take all scopes: it gets no more tokens.")] = False,
) -> None:
    """Change what a client may do. Tokens that it has keep their scopes: `revoke-tokens` ends them."""
    if no_scopes and scope:
        raise typer.BadParameter("give either --scope or --no-scopes")
    if not (api_key or scope or no_scopes):
        raise typer.BadParameter("say what is to change: --api-key, --scope or --no-scopes")
    wanted = {"apiKeys": api_key or None, "scopes": [] if no_scopes else scope or None}

    async def work(opened: ManagementDeps) -> None:
        await management.change_client(client_id, tenants.parse_client_change(json.dumps(wanted).encode()), opened)

    _with_deps(work)


@clients.command("add-secret")
def add_secret(
    client_id: str,
    grace_hours: Annotated[
        float | None,
        typer.Option(min=0, max=MAX_GRACE_H, help="End the secrets before it after so many hours; never by default."),
    ] = None,
) -> None:
    """Give a client one more secret and show it, once."""
    grace_s = None if grace_hours is None else int(grace_hours * 3600)
    secret = _with_deps(lambda opened: management.add_secret(client_id, opened, grace_s=grace_s))
    _print_json({"clientId": client_id, "secret": secret})


@clients.command("remove-secret")
def remove_secret(client_id: str, secret_id: str) -> None:
    """Take a secret from a client, at once. The last one stays."""
    _with_deps(lambda opened: management.remove_secret(client_id, secret_id, opened))


@clients.command("revoke-tokens")
def revoke_tokens(client_id: str) -> None:
    """Refuse all tokens that the client was given until now."""
    _with_deps(lambda opened: management.revoke_client(client_id, opened))


@clients.command("revoke-token")
def revoke_token(token_id: str) -> None:
    """Refuse one token, known by its id (`tokenId` in the audit line of its issue, `jti` in the token)."""
    _with_deps(lambda opened: management.revoke_token(token_id, opened))


@keys.command("list")
def list_keys() -> None:
    """List the signing keys."""
    _print_json(
        [
            key_summary(key)
            for key in _run_command(_with_mongo(OperatorSettings, lambda _, mongo: MongoKeyStore(mongo).all()))
        ]
    )


@keys.command("rotate")
def rotate() -> None:
    """Add the next signing key, and list all. It signs once every verifier has had the time to fetch it."""
    _print_json([key_summary(key) for key in _run_command(_with_mongo(AuthSettings, _rotate))])


async def _rotate(settings: AuthSettings, mongo: Mongo) -> Sequence[SigningKey]:
    world, _ = build_key_rotation(settings, mongo)
    await add_key(replace(world, actor=_actor(), source=_source()))
    return await world.keys.all()


async def _with_mongo(declared: type[S], work: Callable[[S, Mongo], Awaitable[T]]) -> T:
    settings = load(declared)
    async with Mongo.connect(settings) as mongo:
        return await work(settings, mongo)
