"""The operator's commands about topics, the catalogue, generated documents, and a first set-up of all of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from services.chassis.errors import Away
from services.chassis.producer import Producer
from services.chassis.registry import Schemas
from services.chassis.settings import REPOSITORY, load
from services.operator import catalog as catalogue
from services.operator import documents
from services.operator import topics as topic_admin
from services.operator.settings import OperatorSettings
from services.topics import CATALOG_PRODUCTS, TOPICS

BROKERS_WITHIN_S = 30.0

topics = typer.Typer(no_args_is_help=True, help="Kafka topics: what is there, and creating what is missing.")
catalog = typer.Typer(no_args_is_help=True, help="The catalogue of products.")
docs = typer.Typer(no_args_is_help=True, help="Documents that are written from the code's declarations.")

LoadTenants = Callable[[bytes, OperatorSettings, Producer, Schemas], Awaitable[None]]


def told(work: Coroutine[Any, Any, None]) -> None:
    """Run one command; what is not possible is told in a line."""
    try:
        asyncio.run(work)
    except (Away, ValueError, OSError) as reason:
        typer.echo(str(reason), err=True)
        raise typer.Exit(1) from None


@asynccontextmanager
async def _producing(settings: OperatorSettings) -> AsyncIterator[Producer]:
    producer = Producer(settings, client_id="operator")
    await producer.start()
    try:
        await producer.wait_ready(BROKERS_WITHIN_S)
        yield producer
    finally:
        await producer.stop()


async def set_up(tenants: bytes | None, products: Path | None, load_tenants: LoadTenants) -> None:
    """Create topics, load tenants and products: everything that services expect to find."""
    settings = load(OperatorSettings)
    schemas = Schemas.load(settings.schemas_dir)
    created = await topic_admin.create(TOPICS, settings)
    typer.echo(f"{len(created)} topics created")
    async with _producing(settings) as producer:
        if tenants is not None:
            await load_tenants(tenants, settings, producer, schemas)
        if products is not None:
            count = await catalogue.load(products, producer=producer, schema=schemas[CATALOG_PRODUCTS.schema or ""])
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
    Console().print(table)


@topics.command("create")
def create() -> None:
    """Create the topics that are missing."""

    async def work() -> None:
        created = await topic_admin.create(TOPICS, load(OperatorSettings))
        typer.echo(f"{len(created)} created" + "".join(f"\n  {name}" for name in created))

    told(work())


@catalog.command("load")
def load_catalogue(
    file: Annotated[Path, typer.Argument(help="CSV with a header line: site,productId,name.", exists=True)],
) -> None:
    """Add the products of a file to the catalogue."""
    told(_load_catalogue(file))


async def _load_catalogue(file: Path) -> None:
    settings = load(OperatorSettings)
    schema = Schemas.load(settings.schemas_dir)[CATALOG_PRODUCTS.schema or ""]
    total = sum(1 for _ in catalogue.read_products(file))
    async with _producing(settings) as producer:
        with Progress(disable=not Console().is_terminal, transient=True) as bar:
            task = bar.add_task("products", total=total)
            count = await catalogue.load(
                file, producer=producer, schema=schema, progress=lambda done: bar.update(task, completed=done)
            )
    typer.echo(f"{count} products loaded")


@docs.command("write")
def write_documents() -> None:
    """Write the generated documents that are out of date."""
    for path in documents.write():
        typer.echo(f"written: {path.relative_to(REPOSITORY)}")


@docs.command("check")
def check_documents() -> None:
    """Fail if a generated document is out of date."""
    stale = documents.stale()
    for path in stale:
        typer.echo(f"out of date: {path.relative_to(REPOSITORY)} (run 'make docs')", err=True)
    if stale:
        raise typer.Exit(1)
