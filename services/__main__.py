"""The operator's door: `python -m services COMMAND`."""

from pathlib import Path
from typing import Annotated

import typer

from services.auth import operator as auth
from services.chassis.logs import configure
from services.chassis.mongo import Mongo
from services.chassis.producer import Producer
from services.chassis.registry import Schemas
from services.operator import commands
from services.operator.settings import OperatorSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, secrets among them.
    pretty_exceptions_enable=False,
    help="What an operator does with Tillstream.",
)
app.add_typer(commands.topics, name="topics")
app.add_typer(auth.sites, name="sites")
app.add_typer(auth.clients, name="clients")
app.add_typer(auth.keys, name="keys")
app.add_typer(commands.catalog, name="catalog")
app.add_typer(commands.docs, name="docs")


@app.callback()
def begin() -> None:
    """Say only what matters, besides the command's own output."""
    configure("operator", "WARNING")


@app.command("init")
def init(
    tenants: Annotated[Path | None, typer.Option(help="JSON document of sites and clients.", exists=True)] = None,
    catalogue: Annotated[Path | None, typer.Option(help="CSV of products: site,productId,name.", exists=True)] = None,
) -> None:
    """Create topics, and load tenants and products if they are given. Doing it again changes nothing."""
    document = tenants.read_bytes() if tenants else None
    commands.told(commands.set_up(document, catalogue, _load_tenants))


async def _load_tenants(document: bytes, settings: OperatorSettings, producer: Producer, schemas: Schemas) -> None:
    mongo = Mongo.connect(settings)
    try:
        sites, clients = await auth.load_tenants(document, mongo=mongo, producer=producer, schemas=schemas)
    finally:
        await mongo.close()
    typer.echo(f"{sites} sites and {clients} clients changed")


if __name__ == "__main__":
    app()
