"""Sales through the front door: whatever comes first, and though the ledger is killed meanwhile."""

import asyncio
import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer

from tests.e2e.customer import BASES, Customer
from tests.e2e.installation import REPOSITORY, Installation

RETRY = {503, 429}
# The services go by the broker's clock.
CLOCK_TOLERANCE = timedelta(seconds=0.1)


async def read(customer: Customer, path: str, **query: str) -> Any:
    """Read from the ledger; while it is down, ask again."""
    headers = {"Authorization": f"Bearer {await customer.token('ledger')}"}
    until = monotonic() + 60
    while True:
        reply = await customer.call(
            "GET", f"{BASES['ledger']}/{customer.tenant.api_key}{path}", headers=headers, params=query
        )
        if reply.status not in RETRY or monotonic() > until:
            assert reply.status == 200, reply
            return reply.json
        await asyncio.sleep(0.1)


async def entries_of(customer: Customer, user: str, *, count: int, state: str | None = None) -> list[Any]:
    """Return the user's entries, once there are `count`, all in this state if one is given."""
    until = monotonic() + 60
    while True:
        found: list[Any] = (await read(customer, f"/users/{user}/orders", rows="1000"))["result"]
        if len(found) == count and (state is None or {entry["state"] for entry in found} == {state}):
            return found
        assert monotonic() < until, found
        await asyncio.sleep(0.1)


async def test_returns_find_their_orders_though_the_ledger_is_killed(
    customer: Customer, installation: Installation
) -> None:
    """Breaks: the ledger dies by SIGKILL while orders and returns are on their way, and starts again.

    Must hold: every order has its return, the day's sums are those of the orders. Known by the entries and a report.
    """
    user, channel = f"user-{customer.order()['id']}", f"channel-{customer.order()['id']}"
    line = {"productId": "4556", "quantity": 1, "unitPrice": "0.1"}
    orders = [
        customer.order(userId=user, channel=channel, dateTime="2021-03-04T12:00:00Z", lineItems=[line])
        for _ in range(60)
    ]
    returns = [
        {**order, "orderId": order["id"], "returnId": f"r{order['id']}", "dateTime": "2021-03-05T12:00:00Z"}
        for order in orders
    ]
    for each in returns:
        del each["id"]
    assert (await customer.send_with_retry(returns[:30], kind="returns")).status == 202
    assert (await customer.send_with_retry(orders[:40])).status == 202
    installation.kill("ledger")
    assert (await customer.send_with_retry(orders[40:])).status == 202
    assert (await customer.send_with_retry(returns[30:], kind="returns")).status == 202
    await asyncio.to_thread(installation.run, "start", "ledger")
    entries = await entries_of(customer, user, count=60, state="RETURNED")
    assert {(entry["gross"], entry["returned"], entry["net"]) for entry in entries} == {("0.1", "0.1", "0")}
    report = await read(
        customer, "/reports/sales", by="day", **{"from": "2021-03-04", "to": "2021-03-05"}, channel=channel
    )
    assert [(row["day"], row["orders"], row["gross"], row["returned"]) for row in report["result"]] == [
        ("2021-03-04", 60, "6", "0"),
        ("2021-03-05", 0, "0", "6"),
    ]


async def test_a_report_has_everything_that_was_accepted_before_its_instant(customer: Customer) -> None:
    """Must hold: the first report with a later `asOf` has all orders. Known by the time after their 202."""
    channel, days = f"channel-{customer.order()['id']}", {"from": "2021-08-01", "to": "2021-08-01"}
    for sent in (1, 2):
        orders = [customer.order(channel=channel, dateTime="2021-08-01T12:00:00Z") for _ in range(50)]
        assert (await customer.send_with_retry(orders)).status == 202
        accepted = datetime.now(UTC) + CLOCK_TOLERANCE
        until = monotonic() + 60
        while True:
            report = await read(customer, "/reports/sales", by="channel", channel=channel, **days)
            if datetime.fromisoformat(report["asOf"]) >= accepted:
                break
            assert monotonic() < until, report
            await asyncio.sleep(0.1)
        assert [(row["channel"], row["orders"]) for row in report["result"]] == [(channel, 50 * sent)]


async def test_the_operator_audits_and_rebuilds_the_sums_of_an_installation(
    customer: Customer, installation: Installation
) -> None:
    """Must hold: no sum differs, before and after a rebuild while the services run. Known by the commands' output."""
    assert (await customer.send_with_retry([customer.order() for _ in range(20)])).status == 202
    for command in (("audit",), ("rebuild", "608"), ("audit", "--site", "608")):
        done = await asyncio.to_thread(installation.run_cli, "ledger", *command)
        assert done.stdout.startswith("site 608: "), done
        assert "rebuilt from" in done.stdout or ", 0 sums differ" in done.stdout


async def test_the_demo_ends_with_the_users_orders_and_the_sales_by_channel(installation: Installation) -> None:
    """Must hold: the return of order 13 is in both tables, under the channel that the document gives it."""
    shown = await asyncio.to_thread(installation.run, "demo")
    before, orders, sales = re.split("Orders by user|Sales by day and channel", shown)
    assert "Total records" in before
    (returned,) = [cells for cells in rows_of(orders) if cells[1] == "13"]
    assert (returned[2], returned[3]) == ("offline", "RETURN_WITHOUT_ORDER")
    assert [cells for cells in rows_of(sales) if cells[1] == "offline"]
    assert "complete up to" in sales.rpartition("+")[2]


def rows_of(table: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


async def test_the_movements_on_the_topic_add_up_to_the_report(customer: Customer, installation: Installation) -> None:
    """Must hold: all rows together, each id once, are the sums. Known by another Avro library and a report."""
    user, channel = f"user-{customer.order()['id']}", f"channel-{customer.order()['id']}"
    orders = [
        customer.order(
            userId=user, channel=channel, dateTime=f"2021-07-0{day}T12:00:00Z", couponCode="C", couponValue=1
        )
        for day in (1, 2, 2, 3)
    ]
    moved = [{**order, "dateTime": "2021-07-04T12:00:00Z", "currency": "EUR"} for order in orders[:2]]
    for records in (orders, moved):
        assert (await customer.send_with_retry(records)).status == 202
    until = monotonic() + 60
    while True:
        entries = await entries_of(customer, user, count=4)
        if sum(len(entry["versions"]) for entry in entries) == 6:
            break
        assert monotonic() < until
    days = {"from": "2021-07-01", "to": "2021-07-04"}
    report = (await read(customer, "/reports/sales", by="day", channel=channel, **days))["result"]
    expected = {(row["day"], row["currency"]): (row["orders"], row["gross"]) for row in report if row["orders"]}
    assert expected == {
        ("2021-07-02", "USD"): (1, "9.99"),
        ("2021-07-03", "USD"): (1, "9.99"),
        ("2021-07-04", "EUR"): (2, "19.98"),
    }
    while (found := await movements(installation, channel)) != expected:
        assert monotonic() < until, found
        await asyncio.sleep(0.2)


async def movements(installation: Installation, channel: str) -> dict[tuple[str, str], tuple[int, str]]:
    """Orders and gross of a channel by day and currency: the sum of all rows on the topic."""
    schema = fastavro.schema.load_schema(str(REPOSITORY / "schemas" / "ledger_movement.avsc"))
    rows: dict[str, Any] = {}
    for message in await movement_messages(installation):
        row: Any = fastavro.schemaless_reader(io.BytesIO(message[5:]), schema, None)
        if row["channel"] == channel:
            rows[row["id"]] = row
    sums: dict[tuple[str, str], tuple[int, Decimal]] = {}
    for row in rows.values():
        key = (row["day"].isoformat(), row["currency"])
        count, gross = sums.get(key, (0, Decimal()))
        sums[key] = count + row["orders"], gross + row["gross"]
    return {key: (count, f"{gross.normalize():f}") for key, (count, gross) in sums.items() if count or gross}


async def movement_messages(installation: Installation) -> list[bytes]:
    """All messages of the topic of movements."""
    servers = installation.endpoints["kafka_bootstrap_servers"]
    kafka = AIOKafkaConsumer("ledger.movements.v1", bootstrap_servers=servers, auto_offset_reset="earliest")
    messages = []
    await kafka.start()
    try:
        ends = await kafka.end_offsets(kafka.assignment())
        while any([await kafka.position(partition) < end for partition, end in ends.items()]):
            for polled in (await kafka.getmany(timeout_ms=200)).values():
                messages += [record.value for record in polled]
    finally:
        await kafka.stop()
    return messages
