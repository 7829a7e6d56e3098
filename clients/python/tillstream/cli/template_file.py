"""`tillstream template`."""

import sys
from pathlib import Path

import click

from tillstream.cli.context import reports_errors
from tillstream.template import to_csv, to_xlsx


@click.command()
@click.argument("kind", type=click.Choice(["orders", "returns"]))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, .csv or .xlsx.")
@reports_errors
def template(kind: str, out: Path | None) -> None:
    """Write an example file of orders or returns.

    \b
    tillstream template orders --out sales.xlsx
    """  # noqa: D301 - click's mark
    if out is None:
        sys.stdout.buffer.write(to_csv(kind))
        return
    if out.suffix.lower() not in (".csv", ".xlsx"):
        raise click.UsageError("--out: name a file with .csv or .xlsx")
    out.write_bytes(to_xlsx(kind) if out.suffix.lower() == ".xlsx" else to_csv(kind))
    click.echo(f"written: {out}", err=True)
