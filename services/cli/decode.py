"""`decode`: shows the bytes of any record as JSON."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.chassis.avro.record_decoder import DecodedRecord, decode_record, parse_bytes
from services.chassis.avro.wire_format import HEADER
from services.chassis.runtime.settings import load
from services.cli.runtime import command, fetch_schemas
from services.cli.settings import CliSettings


@command
async def decode(
    value: Annotated[
        str | None, typer.Argument(help="The bytes, in hexadecimal or base64; - reads them from stdin.")
    ] = None,
    *,
    file: Annotated[Path | None, typer.Option(help="A file with the raw bytes.", exists=True, dir_okay=False)] = None,
    header: Annotated[
        str | None, typer.Option(help=f"The record's header {HEADER}, if it has one, in hexadecimal or base64.")
    ] = None,
) -> None:
    """Print a record's bytes as JSON, or the reason why they cannot be decoded."""
    if (value is None) == (file is None):
        typer.echo("give either the bytes or a file", err=True)
        raise typer.Exit(2)
    text = sys.stdin.read() if value == "-" else value or ""
    content = file.read_bytes() if file is not None else parse_bytes(text.encode())
    headers = [] if header is None else [(HEADER, parse_bytes(header.encode()))]
    result = decode_record(content, headers, await fetch_schemas(load(CliSettings)))
    if not isinstance(result, DecodedRecord):
        raise ValueError(result)  # noqa: TRY004 - `command` prints it as one line
    typer.echo(f"{result.schema}, version {result.version}, id {result.schema_id}", err=True)
    typer.echo(result.text)
