"""The operator's command line: `python -m services COMMAND`."""

import sys

import typer

from services.auth import cli as auth
from services.chassis.runtime.logs import configure
from services.cli import catalog, dead_letters, decode, init, schemas, topics
from services.fulfilment import cli as fulfilment
from services.ledger import cli as ledger
from services.webhooks import cli as webhooks

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Typer's tracebacks show local variables, secrets included.
    pretty_exceptions_enable=False,
    help="Operator commands of Tillstream.",
)
app.command("init")(init.init)
app.add_typer(topics.commands, name="topics")
app.add_typer(auth.sites, name="sites")
app.add_typer(auth.clients, name="clients")
app.add_typer(auth.keys, name="keys")
app.add_typer(catalog.commands, name="catalog")
app.add_typer(fulfilment.fulfilment, name="fulfilment")
app.add_typer(ledger.ledger, name="ledger")
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(schemas.commands, name="schemas")
app.command("decode")(decode.decode)


@app.callback()
def configure_logging() -> None:
    """Log warnings to stderr: stdout carries the command's output, which may be a secret or JSON."""
    configure("operator", "WARNING", stream=sys.stderr)


if __name__ == "__main__":
    app()
