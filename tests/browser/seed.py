"""What the demo customer's site holds while pages are looked at: imports of all kinds, made through the public APIs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import unescape
from typing import Any

from tests.browser.dead_letters import send_dead_letters
from tests.browser.page_cases import CUSTOMER, OPERATOR
from tests.browser.portal_session import PortalSession
from tillstream import Client

API_KEY = "12345"
IMPORTS = 60


@dataclass(frozen=True, slots=True)
class Seed:
    """What page paths may name."""

    names: Mapping[str, str]


def an_order(number: int, *, product: str = "4556", **fields: Any) -> dict[str, Any]:
    """Return an order."""
    line = {"productId": product, "quantity": 1 + number % 7, "unitPrice": Decimal("19.90")}
    return {
        "id": f"S{number:05}",
        "userId": f"customer-{number % 13}",
        "dateTime": "2026-11-30T08:00:00Z",
        "currency": "EUR",
        "lineItems": [line],
        **fields,
    }


def sow(base: str, bootstrap: str | None) -> Seed:
    """Import orders and returns: most are good, some fail for each of several reasons.

    Dead letters are written to the Kafka at `bootstrap`; without it there are none.
    """
    with Client(base, *CUSTOMER, API_KEY) as client:
        jobs = [
            client.imports.send(
                [an_order(100 * batch + number) for number in range(3 + batch % 5)], mode="online"
            ).job_id
            for batch in range(IMPORTS)
        ]
        good = jobs[-1]
        job = client.imports.send(_orders_with_failures()).job_id
        for each in (good, job):
            client.jobs.wait(each, timeout_s=60)
        # Its address does not exist, so its deliveries fail.
        endpoint = client.events.create_endpoint("https://hooks.tillstream.example/till", description="The shop's till")
        order = client.orders.place(
            {"DEMO-INSTANT": 3, "DEMO-NEVER": 2}, client_order_number="BROWSER-1"
        ).transaction_id
    return Seed(
        {
            "job": job,
            "good_job": good,
            "endpoint": endpoint.id,
            "order": order,
            **import_files(base),
            **give_up_records(base, bootstrap),
        }
    )


def import_files(base: str) -> dict[str, str]:
    """Upload files through the portal, check one of them and import it; return the paths of their pages."""
    rows = [f"T{number};c{number % 7};2026-11-30 10:00;{4556 + number % 9};2;9,99;till 3" for number in range(60)]
    content = "Order no.;Customer;Sold at;Product;Quantity;Price;Till\n" + "\n".join(rows)
    columns = dict(enumerate(["id", "userId", "dateTime", "productId", "quantity", "unitPrice", ""]))
    choices = {f"column-{position}": field for position, field in columns.items()} | {"kind": "orders"}
    with PortalSession(base) as session:
        file = session.upload("May sales.csv", content.encode())
        session.post(file, {**choices, "action": "preview"})
        runs = [session.post(file, {**choices, "action": action}) for action in ("check", "import")]
        for run in runs:
            session.wait(run)
        unreadable = session.upload("Scan.pdf", b"%PDF-1.7")
    return {"file": file, "check": runs[0], "file_import": runs[1], "unreadable": unreadable}


def give_up_records(base: str, bootstrap: str | None) -> dict[str, str]:
    """Write dead letters, have them counted for a replay; return the paths of the pages of one, and of the replay."""
    if bootstrap is None:
        return {}
    for reason, count in (("undecodable", 12), ("unknown-schema", 3)):
        send_dead_letters(bootstrap, reason, count, b"no record")
    pages = "/portal/operator/dead-letters"
    with PortalSession(base, OPERATOR) as session:
        letter = re.search(rf'href="({pages}/[^"?]+)"', session.get(f"{pages}?reason=undecodable"))
        assert letter is not None
        replay = session.post("/portal/operator/replays", {"reason": "undecodable"}, page=pages)
    return {"dead_letter": unescape(letter[1]), "replay": replay}


def _orders_with_failures() -> list[dict[str, Any]]:
    orders = [an_order(90_000 + number) for number in range(100)]
    for number in range(0, 100, 9):
        orders[number] = an_order(90_000 + number, product="discontinued-<2024>")
    for number in range(4, 100, 17):
        orders[number] = an_order(
            90_000 + number, product="not-in-the-catalogue-and-with-a-rather-long-identifier-0815"
        )
    for number in range(7, 100, 31):
        orders[number]["dateTime"] = "yesterday"
    for number in range(11, 100, 41):
        del orders[number]["lineItems"][0]["quantity"]
    orders[13]["currency"] = "EURO"
    return orders
