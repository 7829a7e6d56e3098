"""The operator's commands about topics and the catalogue, and a first set-up of all of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka import compacted_table as compacted
from services.chassis.kafka.producer import Producer
from services.chassis.runtime.settings import load
from services.cli import catalog_file as catalogue
from services.cli import topic_admin
from services.cli.catalog_sync import Keeper
from services.cli.run_command import print_table, producing, schemas, told
from services.cli.settings import OperatorSettings
from services.topics import CATALOG_PRODUCTS, TOPICS

CATALOGUE_WITHIN_S = 600.0
PRODUCT = CATALOG_PRODUCTS.schema or ""
FORMATS = "CSV with a header line (site,productId,name[,withdrawn]), or NDJSON of the same names"

topics = typer.Typer(no_args_is_help=True, help="Kafka topics: what is there, and creating what is missing.")
catalog = typer.Typer(no_args_is_help=True, help="The catalogue of products.")

LoadTenants = Callable[[bytes, OperatorSettings, Producer, Schemas], Awaitable[None]]


async def set_up(tenants: bytes | None, products: Path | None, load_tenants: LoadTenants) -> None:
    """Create topics, load tenants and products: everything that services expect to find."""
    settings = load(OperatorSettings)
    known = await schemas(settings)
    created = await topic_admin.create(TOPICS, settings)
    typer.echo(f"{len(created)} topics created")
    async with producing(settings) as producer:
        if tenants is not None:
            await load_tenants(tenants, settings, producer, known)
        if products is not None:
            count = await catalogue.load(products, producer=producer, schema=known[PRODUCT])
            typer.echo(f"{count} products loaded")


@topics.command("plan")
def plan() -> None:
    """Show the topics that there should be, and what is there."""
    told(_plan())


async def _plan() -> None:
    table = Table("topic", "partitions", "cleanup", "kept", "state")
    for planned in await topic_admin.plan(TOPICS, load(OperatorSettings)):
        kept = "for ever" if planned.topic.retention_days is None else f"{planned.topic.retention_days} d"
        state = "there" if planned.partitions_now else "missing"
        partitions = planned.partitions_now or planned.partitions_wanted
        table.add_row(planned.topic.name, str(partitions), str(planned.topic.cleanup), kept, state)
    print_table(table)


@topics.command("create")
def create() -> None:
    """Create the topics that are missing."""

    async def work() -> None:
        created = await topic_admin.create(TOPICS, load(OperatorSettings))
        typer.echo(f"{len(created)} created" + "".join(f"\n  {name}" for name in created))

    told(work())


File = Annotated[Path, typer.Argument(help=f"{FORMATS}.", exists=True, dir_okay=False)]


@catalog.command("load")
def load_catalogue(file: File) -> None:
    """Add the products of a file to the catalogue; those that it calls withdrawn are withdrawn."""
    told(_load_catalogue(file))


async def _load_catalogue(file: Path) -> None:
    settings = load(OperatorSettings)
    schema = (await schemas(settings))[PRODUCT]
    async with producing(settings) as producer:
        with Progress(disable=not Console().is_terminal, transient=True) as bar:
            task = bar.add_task("products", total=file.stat().st_size)  # noqa: ASYNC240 - nobody else waits
            count = await catalogue.load(
                file,
                producer=producer,
                schema=schema,
                progress=lambda sent, read: bar.update(task, completed=read, description=f"{sent} products"),
            )
    typer.echo(f"{count} products loaded")


@catalog.command("watch")
def watch_catalogue(
    file: File,
    every_s: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between two looks at the file.")] = 0.5,
    *,
    once: Annotated[bool, typer.Option("--once", help="Bring the catalogue into line, and end.")] = False,
) -> None:
    """Keep the catalogue of the file's sites as the file is, until interrupted: what is gone from it is withdrawn."""
    with suppress(KeyboardInterrupt):
        told(_watch_catalogue(file, every_s, once=once))


async def _watch_catalogue(file: Path, every_s: float, *, once: bool) -> None:
    settings = load(OperatorSettings)
    keeper = Keeper((await schemas(settings))[PRODUCT])
    held = compacted.CompactedTable(settings, CATALOG_PRODUCTS.name, keeper.apply, client_id="operator")
    await held.start()
    try:
        await held.wait_ready(CATALOGUE_WITHIN_S)
    finally:
        await held.stop()
    async with producing(settings) as producer:
        seen: tuple[int, ...] | None = None
        while True:
            if (now := _as_it_is(file)) != seen:
                seen = now
                await _keep(keeper, file, producer, once=once)
            if once:
                return
            await asyncio.sleep(every_s)


def _as_it_is(file: Path) -> tuple[int, ...]:
    """What is another whenever the file is; empty while there is none."""
    try:
        state = file.stat()
    except FileNotFoundError:
        return ()
    return state.st_mtime_ns, state.st_size, state.st_ino


async def _keep(keeper: Keeper, file: Path, producer: Producer, *, once: bool) -> None:
    try:
        changes = await keeper.keep(file, producer)
    except (ValueError, FileNotFoundError) as error:
        if once:
            raise
        # Whoever writes the file may not be done yet; it is looked at again once it changes.
        typer.echo(str(error), err=True)
        return
    typer.echo(f"{changes.published} published, {changes.withdrawn} withdrawn")
