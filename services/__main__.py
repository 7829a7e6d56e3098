"""The operator's door: `python -m services COMMAND`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.auth import cli as auth
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.logs import configure
from services.cli import dead_letters, setup
from services.cli import schemas as schema_commands
from services.cli.run_command import told
from services.cli.settings import OperatorSettings
from services.fulfilment import cli as fulfilment

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, secrets among them.
    pretty_exceptions_enable=False,
    help="What an operator does with Tillstream.",
)
app.add_typer(setup.topics, name="topics")
app.add_typer(auth.sites, name="sites")
app.add_typer(auth.clients, name="clients")
app.add_typer(auth.keys, name="keys")
app.add_typer(setup.catalog, name="catalog")
app.add_typer(fulfilment.fulfilment, name="fulfilment")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(schema_commands.commands, name="schemas")
app.command("decode")(schema_commands.decode)


@app.callback()
def begin() -> None:
    """Say only what matters, and not where the command's own output goes: that may hold a secret, or be JSON."""
    configure("operator", "WARNING", stream=sys.stderr)


@app.command("init")
def init(
    tenants: Annotated[
        Path | None, typer.Option(help="JSON document of sites and clients.", exists=True, dir_okay=False)
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="CSV of products: site,productId,name.", exists=True, dir_okay=False)
    ] = None,
    stock: Annotated[
        Path | None, typer.Option(help="JSON document of products and codes on sale.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Create topics, and load tenants, the catalogue and stock if they are given. Doing it again changes nothing."""
    document = tenants.read_bytes() if tenants else None
    told(_init(document, catalogue, stock.read_bytes() if stock else None))


async def _init(tenants: bytes | None, catalogue: Path | None, stock: bytes | None) -> None:
    await setup.set_up(tenants, catalogue, _load_tenants)
    if stock is not None:
        products, codes = await fulfilment.load_document(stock)
        typer.echo(f"{products} products and {codes} new codes loaded")


async def _load_tenants(document: bytes, settings: OperatorSettings, producer: Producer, schemas: Schemas) -> None:
    mongo = Mongo.connect(settings)
    try:
        sites, clients = await auth.load_tenants(document, mongo=mongo, producer=producer, schemas=schemas)
    finally:
        await mongo.close()
    typer.echo(f"{sites} sites and {clients} clients changed")


if __name__ == "__main__":
    app()
