"""`tillstream users` and `tillstream report`."""

from datetime import datetime
from pathlib import Path

import click

from tillstream.cli.context import open_client, reports_errors
from tillstream.cli.output import print_json, print_table

DIMENSIONS = ("day", "month", "channel", "mode", "currency", "store")
_SUMS = ("orders", "units", "gross", "coupons", "returned", "net")
_DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def users() -> None:
    """Look up what users bought."""


@users.command("orders")
@click.argument("user_id")
@click.option("--from", "since", type=_DAY, help="First day.")
@click.option("--to", "until", type=_DAY, help="Last day.")
@click.option("--channel", help="Only this channel.")
@click.option("--json", "as_json", is_flag=True, help="One order a line, as JSON.")
@click.pass_context
@reports_errors
def user_orders(
    context: click.Context,
    user_id: str,
    *,
    since: datetime | None,
    until: datetime | None,
    channel: str | None,
    as_json: bool,
) -> None:
    """List the orders of a user with their returns, newest first.

    \b
    tillstream users orders customer-1 --from 2026-01-01
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        found = client.ledger.user_orders(
            user_id, since=since and since.date(), until=until and until.date(), channel=channel
        )
        if as_json:
            for entry in found:
                print_json(entry)
            return
        print_table(
            ("order", "channel", "time", "state", "gross", "returned", "net", "currency"),
            (
                (
                    entry.order_id,
                    entry.channel,
                    entry.order and entry.order.date_time.isoformat(" ", "seconds"),
                    entry.state,
                    entry.gross,
                    entry.returned,
                    entry.net,
                    entry.currency,
                )
                for entry in found
            ),
        )


@click.group()
def report() -> None:
    """Sums of sales."""


@report.command()
@click.option("--by", default="day,channel", show_default=True, help=f"Dimensions: {', '.join(DIMENSIONS)}.")
@click.option("--from", "since", type=_DAY, help="First day; by default 29 days before the last one.")
@click.option("--to", "until", type=_DAY, help="Last day; by default today.")
@click.option("--zone", help="Time zone of the days; by default your site's.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, .xlsx or .csv.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def sales(
    context: click.Context,
    *,
    by: str,
    since: datetime | None,
    until: datetime | None,
    zone: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Report sales by day, month, channel, mode, currency or store.

    \b
    tillstream report sales --by month,channel --from 2026-01-01 --out sales.xlsx
    """  # noqa: D301 - click's mark
    dimensions = [one.strip() for one in by.split(",") if one.strip()]
    if unknown := [one for one in dimensions if one not in DIMENSIONS]:
        raise click.UsageError(f"--by {', '.join(unknown)}: choose among {', '.join(DIMENSIONS)}")
    first, last = since and since.date(), until and until.date()
    with open_client(context) as client:
        if out is not None:
            format_ = out.suffix.lower().lstrip(".")
            if format_ not in ("xlsx", "csv"):
                raise click.UsageError("--out: name a file with .xlsx or .csv")
            content = client.ledger.report_file(format=format_, by=dimensions, since=first, until=last, zone=zone)
            out.write_bytes(content)
            click.echo(f"written: {out}", err=True)
            return
        found = client.ledger.report(by=dimensions, since=first, until=last, zone=zone)
    if as_json:
        print_json(found)
        return
    click.echo(f"as of {found.as_of.isoformat(' ', 'seconds')}, days of {found.zone}", err=True)
    headings = [*dimensions, *(() if "currency" in dimensions else ("currency",)), *_SUMS]
    print_table(headings, [[getattr(row, name) for name in headings] for row in found.result])
