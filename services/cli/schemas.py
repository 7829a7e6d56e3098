"""`schemas`: checks, versions, releases and registers the Avro schemas."""

import asyncio
from time import monotonic
from typing import Annotated

import typer

from services.chassis.avro.registry_client import SchemaRegistryClient
from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import load
from services.cli import schema_compatibility
from services.cli.runtime import command
from services.cli.settings import CliSettings
from services.topics import SUBJECTS_BY_SCHEMA

# A registry that just started accepts requests before its members have elected a primary.
REGISTRY_TIMEOUT_S = 30.0
_RETRY_INTERVAL_S = 1.0

commands = typer.Typer(no_args_is_help=True, help="Avro schemas: check compatibility, release and register versions.")


@commands.command("check")
def check() -> None:
    """Fail if a schema would break a reader, or differs from its released version."""
    violations = schema_compatibility.find_violations(load(CliSettings).schemas_dir)
    for violation in violations:
        typer.echo(violation, err=True)
    if violations:
        raise typer.Exit(1)


@commands.command("next")
@command
async def next_version(name: Annotated[str, typer.Argument(help="The schema's file name without .avsc.")]) -> None:
    """Start a new version of a released schema: assign its number and id."""
    number, schema_id = schema_compatibility.add_version(load(CliSettings).schemas_dir, name)
    typer.echo(f"{name}.avsc is now version {number} with id {schema_id}")


@commands.command("release")
@command
async def release() -> None:
    """Freeze the current version of every schema."""
    released = schema_compatibility.release(load(CliSettings).schemas_dir)
    typer.echo(f"{len(released)} released" + "".join(f"\n  {version}" for version in released))


@commands.command("register")
@command
async def register() -> None:
    """Register all versions at SCHEMA_REGISTRY_URL, under the subject of every topic that uses them."""
    settings = load(CliSettings)
    deadline = monotonic() + REGISTRY_TIMEOUT_S
    count = 0
    async with SchemaRegistryClient(settings) as registry:
        for name, versions in Schemas.load(settings.schemas_dir).versions.items():
            for subject in SUBJECTS_BY_SCHEMA.get(name, ()):
                for version in versions.values():
                    await _register_when_ready(registry, subject, version.text, deadline=deadline)
                    count += 1
    typer.echo(f"{count} versions registered")


async def _register_when_ready(registry: SchemaRegistryClient, subject: str, text: str, *, deadline: float) -> None:
    while True:
        try:
            await registry.register(subject, text)
        except UnavailableError:
            if monotonic() >= deadline:
                raise
            await asyncio.sleep(_RETRY_INTERVAL_S)
        else:
            return
