"""`tillstream invoices`."""

from datetime import datetime
from pathlib import Path

import click

from tillstream.cli.context import open_client, reports_errors
from tillstream.cli.output import print_json, print_table


@click.group()
def invoices() -> None:
    """List and download invoices and credit notes."""


@invoices.command("list")
@click.option("--from", "since", type=click.DateTime(["%Y-%m-%d"]), help="First business day.")
@click.option("--to", "until", type=click.DateTime(["%Y-%m-%d"]), help="Last business day.")
@click.option("--json", "as_json", is_flag=True, help="One invoice a line, as JSON.")
@click.pass_context
@reports_errors
def list_(context: click.Context, *, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """List invoices, newest first.

    \b
    tillstream invoices list --from 2026-11-01
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        found = client.invoices.list(since=since and since.date(), until=until and until.date())
        if as_json:
            for invoice in found:
                print_json(invoice)
            return
        print_table(
            ("id", "number", "kind", "day", "total", "currency"),
            ((one.id, one.number, one.kind, one.business_date, one.total, one.currency) for one in found),
        )


@invoices.command()
@click.argument("invoice_id")
@click.option("--format", "format_", type=click.Choice(["pdf", "html", "json"]), default="pdf", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File; by default the invoice's number.")
@click.pass_context
@reports_errors
def download(context: click.Context, invoice_id: str, *, format_: str, out: Path | None) -> None:
    """Download an invoice.

    \b
    tillstream invoices download 3b9e… --format html --out invoice.html
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        content = client.invoices.download(invoice_id, format=format_)
        path = out or Path(f"{client.invoices.get(invoice_id).number}.{format_}")
    path.write_bytes(content)
    click.echo(f"written: {path}", err=True)
