"""The ledger's API, as its document describes it."""

import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from services.ledger.adapters.entries import MongoEntryReader
from services.ledger.domain.listing import EntryPage, EntryQuery
from services.ledger.domain.report import MAX_REPORT_ROWS
from services.ledger.flows.erase_user import erase_pending
from services.ledger.http.api import FIRST_PORTION, MAX_PAGE_BYTES
from tests.ledger.api_fixtures import DOCUMENT, ApiClient, api, matches, record
from tests.ledger.records import DAY_US, NOON, a_job, a_return, an_order

__all__ = ["api"]


async def test_an_entry_is_as_the_document_says(api: ApiClient) -> None:
    await record(
        api,
        an_order(site=api.site, at=1, job=a_job(1), user="u2", lines=[("p1", 2, "256.678")], coupon="1.5"),
        an_order(site=api.site, at=2, job=a_job(2), user="u1", lines=[("p1", 2, "256.678")], coupon="1.5"),
        a_return(site=api.site, channel="offline", job=a_job(3)),
        a_return("16", site=api.site, user="u9", value="1.250000"),
    )
    (entry,) = (await api.read("/users/u1/orders"))["result"]
    matches(entry, "Entry")
    assert list(entry) == [
        "orderId", "channel", "userId", "state", "currency", "gross", "returned", "net", "order", "returns", "versions",
        "flags",
    ]  # fmt: skip
    assert (entry["gross"], entry["returned"], entry["net"]) == ("513.356", "11.24", "500.616")
    assert entry["flags"] == ["CHANNEL_DIFFERS", "USER_CHANGED", "USER_DIFFERS"]
    assert [(version["jobId"], version["changed"]) for version in entry["versions"]] == [
        (a_job(2).job_id, ["userId"]),
        (a_job(1).job_id, []),
    ]
    assert [(each["returnId"], each["value"]) for each in entry["returns"]] == [("15", "9.99"), ("16", "1.25")]
    assert entry["order"]["lineItems"] == [{"productId": "p1", "quantity": 2, "unitPrice": "256.678"}]
    assert (await api.read("/users/u2/orders"))["result"] == []
    assert (await api.read("/orders/13"))["result"] == [entry]


async def test_pages_are_complete_and_in_order_while_orders_come(api: ApiClient) -> None:
    await record(api, *(an_order(str(n), site=api.site, when=NOON + n * DAY_US) for n in range(7)))
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 3}
    while True:
        body = await api.read("/users/u1/orders", **query)
        seen += [entry["orderId"] for entry in body["result"]]
        assert body["pagination"]["rows"] == 3
        assert body["pagination"]["count"] == len(body["result"])
        if body["pagination"]["nextPageToken"] is None:
            break
        query["page"] = body["pagination"]["nextPageToken"]
        await record(api, an_order(f"later {len(seen)}", site=api.site, when=NOON + 99 * DAY_US))
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]
    assert "pagination" not in await api.read("/users/u1/orders")


async def test_a_page_is_bounded_in_bytes(api: ApiClient) -> None:
    """I8. Breaks: a client asks for a thousand orders of five hundred lines, some hundred megabytes."""
    lines = [("p" * 120, 2, "9.99")] * 500
    orders = [an_order(f"{n:02}", site=api.site, when=NOON + n * DAY_US, lines=lines) for n in range(40)]
    await record(api, *orders)
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 1_000}
    while True:
        response = await api.get("/users/u1/orders", **query)
        body = await response.read()
        assert len(body) < 1.2 * MAX_PAGE_BYTES
        page = json.loads(body)
        seen += [entry["orderId"] for entry in page["result"]]
        if page["pagination"]["nextPageToken"] is None:
            break
        assert len(page["result"]) > 1
        query["page"] = page["pagination"]["nextPageToken"]
    assert seen == [f"{n:02}" for n in reversed(range(40))]


async def test_a_page_of_small_entries_of_large_orders_is_read_in_small_portions(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8. Breaks: another channel has 10,000 lines under the same order id, and all are read."""
    for number in range(40):
        sale = partial(an_order, f"{number:02}", site=api.site, when=NOON + number * DAY_US)
        await record(api, sale(channel="a", lines=[("p", 1, "1")] * 100), sale(channel="b", user="u2"))
    portions: list[int] = []
    list_newest = MongoEntryReader.list_newest

    async def spy(self: MongoEntryReader, query: EntryQuery, *, rows: int) -> EntryPage:
        portions.append(rows)
        return await list_newest(self, query, rows=rows)

    monkeypatch.setattr(MongoEntryReader, "list_newest", spy)
    page = (await api.read("/users/u2/orders", rows=1_000))["result"]
    assert [entry["orderId"] for entry in page] == [f"{number:02}" for number in reversed(range(40))]
    assert portions == [FIRST_PORTION] * 4


async def test_a_page_of_many_portions_is_complete(api: ApiClient) -> None:
    await record(api, *(an_order(f"{n:03}", site=api.site, when=NOON + n * DAY_US) for n in range(150)))
    ids = [entry["orderId"] for entry in (await api.read("/users/u1/orders", rows=149))["result"]]
    assert ids == [f"{n:03}" for n in reversed(range(1, 150))]
    assert len((await api.read("/users/u1/orders", rows=150))["result"]) == 150


async def test_a_page_token_is_for_its_list_only(api: ApiClient) -> None:
    await record(api, *(an_order(str(n), site=api.site) for n in range(3)))
    token = (await api.read("/users/u1/orders", rows=1))["pagination"]["nextPageToken"]
    assert await api.problem("/users/u2/orders", page=token) == (400, "INVALID_PAGE_TOKEN")
    assert await api.problem("/users/u1/orders", page=token, mode="online") == (400, "INVALID_PAGE_TOKEN")
    response = await api.get("/users/u1/orders", rows=1)
    assert 'rel="next"' in response.headers["Link"]


async def test_lists_are_filtered(api: ApiClient) -> None:
    await record(
        api,
        an_order("1", site=api.site, channel=None, mode="offline"),
        an_order("2", site=api.site, channel="web", when=NOON + DAY_US, currency="EUR"),
    )

    async def ids(**query: Any) -> list[str]:
        listed = [entry["orderId"] for entry in (await api.read("/users/u1/orders", **query))["result"]]
        exported = (await (await api.get("/exports/orders", **query)).text()).splitlines()
        assert [json.loads(line)["orderId"] for line in exported] == listed[::-1]
        return listed

    assert await ids() == ["2", "1"]
    assert await ids(channel="") == ["1"]
    assert await ids(channel="web") == ["2"]
    assert await ids(mode="offline") == await ids(mode="Offline") == ["1"]
    assert await ids(currency="EUR") == await ids(currency="eur") == ["2"]
    assert await ids(from_="2023-11-15") == ["2"]
    assert await ids(to="2023-11-14") == ["1"]
    assert await ids(from_="2023-11-14T22:13:20Z", to="2023-11-14T22:13:21Z") == ["1"]


async def test_several_channels_with_an_id(api: ApiClient) -> None:
    await record(
        api,
        an_order(site=api.site, channel="b", user="u1"),
        an_order(site=api.site, channel="a", user="u2"),
        a_return(site=api.site, channel="c", user="u3"),
    )
    entries = (await api.read("/orders/13"))["result"]
    assert [(entry["channel"], entry["flags"]) for entry in entries] == [
        ("a", []),
        ("b", []),
        ("c", ["AMBIGUOUS_ORDER"]),
    ]
    assert [entry["channel"] for entry in (await api.read("/orders/13", channel="b"))["result"]] == ["b"]
    for user, channel in (("u1", "b"), ("u2", "a"), ("u3", "c")):
        assert [entry["channel"] for entry in (await api.read(f"/users/{user}/orders"))["result"]] == [channel]
    assert await api.problem("/orders/13", channel="d") == (404, "ORDER_NOT_FOUND")


async def test_a_report_names_what_it_is_about(api: ApiClient) -> None:
    await record(api, an_order(site=api.site), an_order("2", site=api.site, currency="EUR"))
    body = await api.read("/reports/sales", by="channel", from_="2023-11-14", to="2023-11-14")
    matches(body, "Report")
    assert {name: body[name] for name in body if name != "result"} == {
        "asOf": "2023-11-14T22:13:20.000000Z",
        "zone": "UTC",
        "reportCurrency": "EUR",
        "definitions": "/ledger/openapi.yaml",
    }
    assert [(row["channel"], row["currency"], row["orders"], row["units"]) for row in body["result"]] == [
        ("web", "EUR", 1, 2),
        ("web", "USD", 1, 2),
    ]
    days = await api.read("/reports/sales")
    assert days["result"] == []
    assert len((await api.read("/reports/sales", by="day"))["result"]) == 30
    assert (await api.read("/reports/sales", zone="Asia/Tokyo"))["zone"] == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/users/u1/orders", {"rows": 0}, "INVALID_ROWS"),
        ("/users/u1/orders", {"rows": 1001}, "INVALID_ROWS"),
        ("/users/u1/orders", {"page": "x"}, "INVALID_PAGE_TOKEN"),
        ("/users/u1/orders", {"mode": "both"}, "INVALID_MODE"),
        ("/users/u1/orders", {"currency": "usdx"}, "INVALID_CURRENCY"),
        ("/users/u1/orders", {"from_": "yesterday"}, "INVALID_DATE"),
        ("/reports/sales", {"by": "day,day"}, "INVALID_BY"),
        ("/reports/sales", {"by": "user"}, "INVALID_BY"),
        ("/reports/sales", {"by": ""}, "INVALID_BY"),
        ("/reports/sales", {"zone": "Mars"}, "INVALID_ZONE"),
        ("/reports/sales", {"from_": "2023-11-14T00:00:00Z"}, "INVALID_DATE"),
        ("/reports/sales", {"from_": "2023-11-15", "to": "2023-11-14"}, "INVALID_RANGE"),
        ("/reports/sales", {"from_": "2010-01-01", "to": "2023-11-14"}, "INVALID_RANGE"),
        ("/reports/sales", {"format": "pdf"}, "INVALID_FORMAT"),
        ("/reports/sales", {"format": "ndjson"}, "INVALID_FORMAT"),
        ("/exports/orders", {"after": "x"}, "INVALID_CURSOR"),
        ("/exports/orders", {"format": "json"}, "INVALID_FORMAT"),
    ],
)
async def test_an_invalid_parameter_has_a_code(api: ApiClient, path: str, query: dict[str, Any], code: str) -> None:
    response = await api.get(path, **query)
    body = json.loads(await response.text())
    assert (response.status, body["code"]) == (400, code)
    matches(body, "Problem")
    assert code in DOCUMENT["components"]["responses"]["BadQuery"]["description"]


async def test_what_is_accepted_decides_the_format(api: ApiClient) -> None:
    await record(api, an_order(site=api.site))
    for path, accept, expected in (
        ("/reports/sales", "text/csv", "text/csv"),
        ("/reports/sales", "text/csv;q=0.5, application/json", "application/json"),
        ("/exports/orders", "*/*", "application/x-ndjson"),
        ("/exports/orders", "text/csv", "text/csv"),
    ):
        response = await api.get(path, headers={"Accept": accept})
        assert (response.status, response.content_type) == (200, expected)
        await response.read()
    assert (await api.get("/reports/sales", headers={"Accept": "image/png"})).status == 406


async def test_a_report_is_bounded_in_rows(api: ApiClient) -> None:
    """I8. Breaks: a site with many channels asks for each of ten years' days of each of them."""
    orders = [an_order(f"{n}", site=api.site, channel=f"c{n}", when=NOON) for n in range(MAX_REPORT_ROWS // 3_650 + 1)]
    await record(api, *orders)
    await api.harness.fold()
    span = {"from": "2015-01-01", "to": "2024-12-28"}
    assert await api.problem("/reports/sales", by="day,channel", **span) == (400, "REPORT_TOO_LARGE")
    assert await api.problem("/reports/sales", by="day,channel", zone="Asia/Tokyo", **span) == (400, "REPORT_TOO_LARGE")
    rows = (await api.read("/reports/sales", by="month,channel", **span))["result"]
    assert len(rows) == 120 * len(orders)
    # Built in a thread.
    rows = (await api.read("/reports/sales", by="day", **span))["result"]
    assert (len(rows), sum(row["orders"] for row in rows)) == (3_650, len(orders))


async def test_a_user_is_erased_with_a_receipt(api: ApiClient) -> None:
    await record(api, an_order(site=api.site, user="who/is this?"))
    path = "/users/who%2Fis%20this%3F"
    response = await api.call("DELETE", path, who="eraser")
    receipt = json.loads(await response.text())
    matches(receipt, "Receipt")
    assert (response.status, receipt["state"], api.wakes) == (202, "ERASING", [None])
    requested, gone = (datetime.fromisoformat(receipt[name]) for name in ("requestedAt", "completeBy"))
    assert gone - requested == timedelta(days=28)
    assert "who" not in await response.text()
    assert api.audit_lines == [
        {
            "action": "erase-user",
            "actor": "eraser",
            "source": "127.0.0.1",
            "site": api.site,
            "receipt": receipt["receiptId"],
        }
    ]
    await erase_pending(api.harness.erase_deps)
    found = await (
        await api.client.get(response.headers["Location"], headers={"Authorization": "Bearer eraser"})
    ).json()
    matches(found, "Receipt")
    assert (found["state"], found["receiptId"]) == ("ERASED", receipt["receiptId"])
    assert (await api.read(path + "/orders"))["result"] == []
    again = json.loads(await (await api.call("DELETE", path, who="eraser")).text())
    assert again == found
    (entry,) = (await api.read("/orders/13"))["result"]
    assert entry["userId"].startswith("erased-")
    assert "emailHash" not in entry["order"]


async def test_a_receipt_of_nobody(api: ApiClient) -> None:
    assert await api.problem("/erasures/x", who="eraser") == (404, "RECEIPT_NOT_FOUND")
    assert await api.problem("/erasures/%C3%A4", who="eraser") == (404, "RECEIPT_NOT_FOUND")


@pytest.mark.parametrize(("who", "status"), [("narrow", 403), ("eraser", 403), ("stranger", 401)])
async def test_who_may_not_read(api: ApiClient, who: str, status: int) -> None:
    for path in ("/users/u1/orders", "/orders/13", "/reports/sales", "/exports/orders"):
        assert (await api.get(path, who=who)).status == status


async def test_no_path_breaks_it(api: ApiClient) -> None:
    for path in ("/users/%FF/orders", "/users/%00/orders", "/users/a%2Fb/orders"):
        assert (await api.get(path)).status in {200, 400, 404}
    for path in ("/orders/%FF", "/orders/%00"):
        assert (await api.get(path)).status in {400, 404}
