"""`catalog`: loads products into the catalogue, once or whenever a file changes."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.settings import load
from services.cli import catalog_file
from services.cli.catalog_sync import CatalogSync
from services.cli.runtime import command, fetch_schemas, ready_producer
from services.cli.settings import CliSettings
from services.topics import CATALOG_PRODUCTS

CATALOG_TIMEOUT_S = 600.0
PRODUCT_SCHEMA = CATALOG_PRODUCTS.schema or ""

commands = typer.Typer(no_args_is_help=True, help="The catalogue of products that orders are checked against.")

CatalogFile = Annotated[
    Path,
    typer.Argument(
        help="CSV with a header line (site,productId,name[,withdrawn]), or NDJSON with the same names.",
        exists=True,
        dir_okay=False,
    ),
]


@commands.command("load")
@command
async def load_catalog(file: CatalogFile) -> None:
    """Publish the products of a file; lines marked as withdrawn remove theirs."""
    settings = load(CliSettings)
    schema = (await fetch_schemas(settings))[PRODUCT_SCHEMA]
    async with ready_producer(settings) as producer:
        with Progress(disable=not Console().is_terminal, transient=True) as bar:
            task = bar.add_task("products", total=file.stat().st_size)
            count = await catalog_file.load_file(
                file,
                producer=producer,
                schema=schema,
                on_progress=lambda sent, read: bar.update(task, completed=read, description=f"{sent} products"),
            )
    typer.echo(f"{count} products loaded")


@commands.command("watch")
@command
async def watch_catalog(
    file: CatalogFile,
    interval_s: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between checks of the file.")] = 0.5,
    *,
    once: Annotated[bool, typer.Option("--once", help="Synchronise once and exit.")] = False,
) -> None:
    """Keep the catalogue equal to the file, for the sites it names, until interrupted; removed lines are withdrawn."""
    settings = load(CliSettings)
    sync = CatalogSync((await fetch_schemas(settings))[PRODUCT_SCHEMA])
    table = CompactedTable(settings, CATALOG_PRODUCTS.name, sync.on_record, client_id="operator")
    await table.start()
    try:
        await table.wait_ready(CATALOG_TIMEOUT_S)
    finally:
        await table.stop()
    async with ready_producer(settings) as producer:
        applied: tuple[int, ...] | None = None
        while True:
            if (current := _file_version(file)) != applied:
                applied = current
                await _apply_file(sync, file, producer, once=once)
            if once:
                return
            await asyncio.sleep(interval_s)


def _file_version(file: Path) -> tuple[int, ...]:
    """Return a value that changes with the file; empty if there is no file."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return ()
    return state.st_mtime_ns, state.st_size, state.st_ino


async def _apply_file(sync: CatalogSync, file: Path, producer: Producer, *, once: bool) -> None:
    try:
        changes = await sync.apply_file(file, producer)
    except (ValueError, FileNotFoundError) as error:
        if once:
            raise
        # The file may be half written; it is read again when it changes.
        typer.echo(str(error), err=True)
        return
    typer.echo(f"{changes.published} published, {changes.withdrawn} withdrawn")
