"""`init`: prepares an empty installation."""

from pathlib import Path
from typing import Annotated

import typer

from services.auth import cli as auth
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import load
from services.cli import catalog_file, topic_admin
from services.cli.runtime import fetch_schemas, ready_producer, run_command
from services.cli.settings import CliSettings
from services.fulfilment import cli as fulfilment
from services.topics import CATALOG_PRODUCTS, TOPICS


def init(
    tenants: Annotated[
        Path | None, typer.Option(help="JSON document of sites and clients.", exists=True, dir_okay=False)
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="CSV of products: site,productId,name.", exists=True, dir_okay=False)
    ] = None,
    stock: Annotated[
        Path | None, typer.Option(help="JSON document of code products and their codes.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Create the topics; load tenants, catalogue and stock if given. Idempotent."""
    document = tenants.read_bytes() if tenants else None
    run_command(_init(document, catalogue, stock.read_bytes() if stock else None))


async def _init(tenants: bytes | None, catalogue: Path | None, stock: bytes | None) -> None:
    settings = load(CliSettings)
    schemas = await fetch_schemas(settings)
    created = await topic_admin.create(TOPICS, settings)
    typer.echo(f"{len(created)} topics created")
    async with ready_producer(settings) as producer:
        if tenants is not None:
            await _load_tenants(tenants, settings, producer, schemas)
        if catalogue is not None:
            schema = schemas[CATALOG_PRODUCTS.schema or ""]
            count = await catalog_file.load_file(catalogue, producer=producer, schema=schema)
            typer.echo(f"{count} products loaded")
    if stock is not None:
        typer.echo(await fulfilment.load_document(stock))


async def _load_tenants(document: bytes, settings: CliSettings, producer: Producer, schemas: Schemas) -> None:
    mongo = Mongo.connect(settings)
    try:
        sites, clients = await auth.load_tenants(document, mongo=mongo, producer=producer, schemas=schemas)
    finally:
        await mongo.close()
    typer.echo(f"{sites} sites and {clients} clients changed")
