"""The operator's commands about schemas, and reading what was written with them."""

import asyncio
import sys
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from services.chassis.avro.registry_client import SchemaRegistryClient
from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import HEADER
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import load
from services.cli import schema_compatibility
from services.cli.decode import Decoded, bytes_of, decoded
from services.cli.run_command import schemas, told
from services.cli.settings import OperatorSettings
from services.subjects import SUBJECTS_OF

# One that was just started answers, but takes some seconds to find out who of its members writes.
REGISTRY_WITHIN_S = 30.0
_RETRY_S = 1.0

commands = typer.Typer(
    no_args_is_help=True, help="The Avro schemas: whether a change breaks readers, and releasing it."
)


@commands.command("check")
def check() -> None:
    """Fail if a schema would break a reader, or differs from what was released."""
    sentences = schema_compatibility.broken(load(OperatorSettings).schemas_dir)
    for sentence in sentences:
        typer.echo(sentence, err=True)
    if sentences:
        raise typer.Exit(1)


@commands.command("next")
def begin_version(name: Annotated[str, typer.Argument(help="The schema, as its file is called.")]) -> None:
    """Begin a new version of a schema that was released: give it a number and an id."""

    async def work() -> None:
        number, schema_id = schema_compatibility.begin_version(load(OperatorSettings).schemas_dir, name)
        typer.echo(f"{name}.avsc is version {number} now, with id {schema_id}")

    told(work())


@commands.command("release")
def release() -> None:
    """Keep the current version of every schema for good; nothing may change in it afterwards."""

    async def work() -> None:
        fresh = schema_compatibility.release(load(OperatorSettings).schemas_dir)
        typer.echo(f"{len(fresh)} released" + "".join(f"\n  {one}" for one in fresh))

    told(work())


@commands.command("register")
def register() -> None:
    """Put all versions into the registry that SCHEMA_REGISTRY_URL names, under every topic that uses them."""
    told(_register())


async def _register() -> None:
    settings = load(OperatorSettings)
    until = monotonic() + REGISTRY_WITHIN_S
    count = 0
    async with SchemaRegistryClient(settings) as registry:
        for name, versions in Schemas.load(settings.schemas_dir).versions.items():
            for subject in SUBJECTS_OF.get(name, ()):
                for version in versions.values():
                    await _put(registry, subject, version.text, until=until)
                    count += 1
    typer.echo(f"{count} versions are in the registry")


async def _put(registry: SchemaRegistryClient, subject: str, text: str, *, until: float) -> None:
    while True:
        try:
            await registry.register(subject, text)
        except UnavailableError:
            if monotonic() >= until:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return


def decode(
    value: Annotated[
        str | None, typer.Argument(help="The bytes, in hexadecimal or base64; - reads them from stdin.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(help="A file that holds the bytes themselves.", exists=True, dir_okay=False)
    ] = None,
    header: Annotated[
        str | None, typer.Option(help=f"The header {HEADER} of the record, likewise, where it has one.")
    ] = None,
) -> None:
    """Show a record's bytes as something a person can read, or say why they cannot be read."""
    if (value is None) == (file is None):
        typer.echo("give either the bytes or a file", err=True)
        raise typer.Exit(2)
    told(_decode(value, file, header))


async def _decode(value: str | None, file: Path | None, header: str | None) -> None:
    text = sys.stdin.read() if value == "-" else value or ""
    given = file.read_bytes() if file is not None else bytes_of(text.encode())  # noqa: ASYNC240 - nobody else waits
    headers = [] if header is None else [(HEADER, bytes_of(header.encode()))]
    result = decoded(given, headers, await schemas(load(OperatorSettings)))
    if not isinstance(result, Decoded):
        raise ValueError(result)  # noqa: TRY004 - told in a line, like all that is not possible
    typer.echo(f"{result.schema}, version {result.version}, id {result.schema_id}", err=True)
    typer.echo(result.text)
