"""What the demo sends is what the document prints."""

import csv
import json

from sandbox import places
from sandbox.demo.cases import API_KEY, CASES, CLIENT_ID, CLIENT_SECRET, printed


def test_the_fourth_example_keeps_its_stray_brace() -> None:
    text = printed("orders-4").decode()
    _, end = json.JSONDecoder().raw_decode(text)
    assert text[end:].split() == ["}"]


def test_every_printed_payload_is_sent() -> None:
    payloads = [path.read_bytes() for path in (places.DEMO / "examples").glob("*.json")]
    assert len(payloads) == 6  # orders #2 and #3 differ in their mode only
    assert set(payloads) <= {case.body for case in CASES}


def test_the_demo_tenant_knows_what_the_demo_uses() -> None:
    tenants = json.loads((places.DEMO / "tenants.json").read_text(encoding="utf-8"))
    client = next(client for client in tenants["clients"] if client["clientId"] == CLIENT_ID)
    site = next(site for site in tenants["sites"] if site["site"] == client["site"])
    assert (client["secret"], client["apiKeys"], site["apiKeys"][0]["apiKey"]) == (CLIENT_SECRET, [API_KEY], API_KEY)


def test_the_catalogue_has_the_printed_products_and_not_the_printed_failures() -> None:
    with (places.DEMO / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for site in ("608", "609"):
        products = {row["productId"] for row in rows if row["site"] == site}
        assert products == {"4556", "4557", "4558", "content__662", "content__680", "content__122"}
