"""`tillstream orders`."""

import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tillstream._sync.client import Client
from tillstream.cli.context import ExitCode, interrupted_by_signals, keep_trying, open_client, reports_errors
from tillstream.cli.output import plural, print_json, print_table, write_whole
from tillstream.models import Codes

# How long the services may be away before it stops, to be repeated.
MAX_WAIT_S = 300.0
_COLUMNS = ("sku", "stockId", "status", "redeemCode", "pinCode", "reason")


@click.group()
def orders() -> None:
    """Order codes and collect them."""


@orders.command()
@click.argument("products", nargs=-1, required=True, metavar="SKU=QUANTITY...")
@click.option("--number", help="Your order number: the same order is placed once, however often you send it.")
@click.option("--currency", help="Currency of the products, for a check.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def place(
    context: click.Context, products: Sequence[str], *, number: str | None, currency: str | None, as_json: bool
) -> None:
    """Order codes.

    \b
    tillstream orders place DEMO-INSTANT=3 DEMO-TRICKLE=10 --number 2026-117
    """  # noqa: D301 - click's mark
    quantities: dict[str, int] = {}
    for product in products:
        sku, _, quantity = product.rpartition("=")
        if not sku or not quantity.isdecimal():
            raise click.UsageError(f"{product}: write SKU=QUANTITY, for example DEMO-INSTANT=3")
        quantities[sku] = quantities.get(sku, 0) + int(quantity)
    with open_client(context) as client:
        placed = client.orders.place(quantities, client_order_number=number, currency=currency)
    if as_json:
        print_json(placed)
        return
    print_table(
        ("sku", "name", "quantity", "price", "amount"),
        [(line.sku, line.name, line.quantity, line.unit_price, line.amount) for line in placed.lines],
        err=True,
    )
    if placed.duplicate:
        click.echo("this order had been placed before", err=True)
    click.echo(placed.transaction_id)


@orders.command()
@click.argument("transaction_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def show(context: click.Context, transaction_id: str, *, as_json: bool) -> None:
    """Show an order with its progress.

    \b
    tillstream orders show 0a5c…
    """  # noqa: D301 - click's mark
    with open_client(context) as client:
        order = client.orders.get(transaction_id)
    if as_json:
        print_json(order)
        return
    click.echo(f"{order.transaction_id}  {order.status}  {order.total} {order.purchase_order.currency}", err=True)
    print_table(
        ("sku", "name", "ordered", "delivered", "pending", "cancelled", "amount"),
        [
            (line.sku, line.name, line.ordered, line.delivered, line.pending, line.cancelled, line.amount)
            for line in order.lines
        ],
    )


@orders.command()
@click.argument("transaction_id")
@click.option("--until-complete", is_flag=True, help="Wait until no unit is pending any more.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file that only you can read.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
@reports_errors
def codes(
    context: click.Context, transaction_id: str, *, until_complete: bool, out: Path | None, as_json: bool
) -> None:
    """Collect the codes of an order. Stopped or killed, the same command goes on: codes are never lost.

    \b
    tillstream orders codes 0a5c… --until-complete --out codes.csv
    """  # noqa: D301 - click's mark
    found: Codes | None = None
    is_stopped = False
    try:
        with interrupted_by_signals(), open_client(context) as client:
            for found in _collect(client, transaction_id, until_complete=until_complete):
                if out is not None:
                    write_codes(out, found)
    except KeyboardInterrupt:
        is_stopped = True
    if found is None:
        raise KeyboardInterrupt
    if is_stopped and out is not None:
        # Stopped while it was written, perhaps.
        write_codes(out, found)
    if as_json:
        print_json(found)
    elif out is None:
        writer = csv.writer(sys.stdout)
        writer.writerows([_COLUMNS, *_rows(found)])
    else:
        click.echo(f"written: {out}, {plural(found.counts.delivered, 'code')}", err=True)
    raise click.exceptions.Exit(_code(found, is_stopped=is_stopped))


def _collect(client: Client, transaction_id: str, *, until_complete: bool) -> Iterator[Codes]:
    """Yield the codes whenever more are delivered, and at last."""
    delivered = -1
    while True:
        found = client.orders.codes(transaction_id)
        keep_trying(client, max_wait_s=MAX_WAIT_S)
        counts = found.counts
        is_last = found.is_complete or not until_complete
        if is_last or counts.delivered != delivered:
            delivered = counts.delivered
            yield found
        if is_last:
            return
        click.echo(f"{counts.delivered} of {counts.ordered} delivered, {counts.pending} pending", err=True)
        time.sleep(_pause_s(found))  # until the server expects news, which it says


def write_codes(path: Path, found: Codes) -> None:
    """Replace the file in one step, readable by its owner only."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_COLUMNS, *_rows(found)])
    write_whole(path, text.getvalue())


def _rows(found: Codes) -> list[tuple[str | None, ...]]:
    return [
        (product.sku, unit.stock_id, unit.status, unit.redeem_code, unit.pin_code, unit.reason)
        for product in found.codes
        for unit in product.codes
    ]


def _pause_s(found: Codes) -> float:
    if found.next_poll_after is None:
        return 1.0
    return min(max(found.next_poll_after.timestamp() - time.time(), 0.3), 5.0)


def _code(found: Codes, *, is_stopped: bool) -> ExitCode:
    counts = found.counts
    if counts.pending and is_stopped:
        return ExitCode.RESUMABLE
    if not counts.cancelled:
        return ExitCode.OK
    return ExitCode.SOME_FAILED if counts.delivered or counts.pending else ExitCode.ALL_FAILED
