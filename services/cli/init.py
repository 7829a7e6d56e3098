"""`init`: prepares an empty installation."""

from pathlib import Path
from typing import Annotated

import typer

from services.auth import cli as auth
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import load
from services.cli import catalog_file, topic_admin
from services.cli.runtime import command, fetch_schemas, ready_producer
from services.cli.settings import CliSettings
from services.fulfilment import cli as fulfilment
from services.topics import CATALOG_PRODUCTS, TOPICS


@command
async def init(
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
    settings = load(CliSettings)
    schemas = await fetch_schemas(settings)
    created = await topic_admin.create(TOPICS, settings)
    typer.echo(f"{len(created)} topics created")
    async with ready_producer(settings) as producer:
        if tenants is not None:
            async with Mongo.connect(settings) as mongo:
                sites, clients = await auth.load_tenants(
                    tenants.read_bytes(), mongo=mongo, producer=producer, schemas=schemas
                )
            typer.echo(f"{sites} sites and {clients} clients changed")
        if catalogue is not None:
            schema = schemas[CATALOG_PRODUCTS.schema or ""]
            count = await catalog_file.load_file(catalogue, producer=producer, schema=schema)
            typer.echo(f"{count} products loaded")
    if stock is not None:
        typer.echo(await fulfilment.load_document(stock.read_bytes()))
