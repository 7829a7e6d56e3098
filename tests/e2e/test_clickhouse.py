"""The statements of docs/ledger.md, run by ClickHouse on the movements that an installation has published.

Needs `pip install chdb`, which is ClickHouse in a Python package; skipped without it. Its Kafka engine does not run
there, so it reads the topic's messages from a file, in the same format, with the installation's schema registry.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from tests.e2e.customer import Customer
from tests.e2e.installation import REPOSITORY, Installation
from tests.e2e.test_ledger import entries_of, movement_messages, read

chdb_session = pytest.importorskip("chdb.session")

DAYS = {"from": "2019-05-01", "to": "2019-05-09"}
PAGE = (REPOSITORY / "docs/ledger.md").read_text(encoding="utf-8")
# What the page says of another installation than this one, and of other days.
REGISTRY, FIRST, LAST = "format_avro_schema_registry_url = 'http://gateway:8080/registry'", "2022-04-25", "2023-06-02"
KEYS = ("day", "channel", "currency")

Rows = Mapping[tuple[str, ...], Mapping[str, str]]


class ClickHouse:
    """The page's tables, and its query."""

    def __init__(self, directory: Path, registry: str) -> None:
        text = "\n".join(re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
        self.statements = [statement.strip() for statement in text.split(";") if statement.strip()]
        queue, movements, view, self._query, sales = self.statements
        self._file = directory / "messages"
        self._session = chdb_session.Session(str(directory / "clickhouse"))
        columns, kafka, settings = queue.partition("ENGINE = Kafka")
        assert (kafka, REGISTRY in settings) == ("ENGINE = Kafka", True)
        file = f"ENGINE = File(AvroConfluent, '{self._file}') SETTINGS format_avro_schema_registry_url = '{registry}'"
        for statement in (columns + file, movements, view, sales):
            self.run(statement)

    def run(self, statement: str) -> str:
        """Run a statement; return its rows as lines of JSON."""
        return str(self._session.query(statement, "JSONEachRow"))

    def load(self, messages: list[bytes]) -> None:
        """Do with the messages what the page's materialized view does with those of the topic."""
        self._file.write_bytes(b"".join(messages))
        self.run("INSERT INTO movements SELECT * FROM movements_queue")

    def sums(self, table: str) -> Rows:
        """Return what the page's query sums up, read from a table."""
        assert "FROM movements FINAL" in self._query
        query = self._query.replace(FIRST, DAYS["from"]).replace(LAST, DAYS["to"])
        lines = self.run(query.replace("FROM movements FINAL", f"FROM {table}")).splitlines()
        # Numbers as they are written: a float would not be exact.
        rows = [json.loads(line.replace("returned_units", "returnedUnits"), parse_float=str) for line in lines]
        return by_key([{name: without_zeros(str(value)) for name, value in row.items()} for row in rows])

    def close(self) -> None:
        self._session.close()


def without_zeros(text: str) -> str:
    """Return an amount as reports have it, without trailing zeros."""
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"-?\d+\.\d+", text) else text


def by_key(rows: list[dict[str, str]]) -> Rows:
    """Return the rows that are not zero in everything."""
    amounts = ("orders", "units", "gross", "coupons", "returned")
    return {tuple(row[key] for key in KEYS): row for row in rows if any(row[name] != "0" for name in amounts)}


async def report(customer: Customer, user: str) -> Rows:
    """Return the report once all versions and returns are recorded."""
    until = monotonic() + 60
    while True:
        entries = await entries_of(customer, user, count=40)
        found = (sum(len(entry["versions"]) for entry in entries), sum(len(entry["returns"]) for entry in entries))
        if found == (50, 10):
            break
        assert monotonic() < until, found
        await asyncio.sleep(0.1)
    rows = (await read(customer, "/reports/sales", by="day,channel", **DAYS))["result"]
    return by_key([{name: str(value) for name, value in row.items()} for row in rows])


async def send_sales(customer: Customer, user: str) -> None:
    """Send 40 orders in three channels and two currencies, returns of ten, and ten again, moved and corrected."""
    channels = [f"channel-{uuid4().hex[:6]}" for _ in range(3)]
    orders = [
        customer.order(
            userId=user,
            channel=channels[number % 3],
            dateTime=f"2019-05-0{1 + number % 9}T12:00:00Z",
            currency=("USD", "EUR")[number % 2],
            couponCode="C",
            couponValue="0.000001",
            lineItems=[{"productId": "4556", "quantity": 1 + number, "unitPrice": "999999999.999999"}],
        )
        for number in range(40)
    ]
    returns = [
        {**order, "orderId": order["id"], "returnId": "r", "dateTime": "2019-05-09T12:00:00Z"} for order in orders[:10]
    ]
    for each in returns:
        del each["id"]
    corrected = [{**order, "dateTime": "2019-05-05T12:00:00Z", "currency": "EUR"} for order in orders[20:30]]
    for kind, records in (("orders", orders), ("returns", returns), ("orders", corrected)):
        assert (await customer.send_with_retry(records, kind=kind)).status == 202


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_column_store_that_reads_the_movements_has_the_sums_of_the_report(
    customer: Customer, installation: Installation, tmp_path: Path
) -> None:
    """Must hold: the statements of the page run, and their query returns the report, though messages come twice."""
    user = f"user-{uuid4().hex}"
    await send_sales(customer, user)
    expected = await report(customer, user)
    assert {row["currency"] for row in expected.values()} == {"USD", "EUR"}
    assert any(row["returned"] != "0" for row in expected.values())
    clickhouse = ClickHouse(tmp_path, f"{installation.endpoints['gateway']}/registry")
    try:
        until = monotonic() + 60
        while True:
            messages = await movement_messages(installation)
            clickhouse.load([*messages, *messages])
            found = clickhouse.sums("movements FINAL")
            if found == expected:
                break
            assert monotonic() < until, (found, expected)
            await asyncio.sleep(0.2)
        # The other table, which must get each row once.
        clickhouse.run(
            "INSERT INTO sales SELECT site, day, ifNull(channel, ''), mode, currency, orders, units, gross, coupons, "
            "returnedUnits, returned FROM movements FINAL"
        )
        assert clickhouse.sums("sales") == expected
        for statement in clickhouse.statements:
            assert clickhouse.run(f"SELECT formatQuery($statement${statement}$statement$)")
    finally:
        clickhouse.close()
