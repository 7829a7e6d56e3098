"""Lists of transactions over HTTP: pages, and date ranges in the customer's time zone."""

from zoneinfo import ZoneInfo

import pytest

from services.fulfilment.domain.listing import MAX_PAGE_ROWS
from tests.fulfilment.api_fixtures import DOCUMENT, ORDERS, V1, ApiClient, api, assert_problem
from tests.fulfilment.harness import SITE

__all__ = ["api"]

ROWS = DOCUMENT["components"]["parameters"]["Rows"]


async def test_lists_are_walked_page_by_page(api: ApiClient) -> None:
    ids: list[str] = []
    for number in range(5):
        ids.insert(0, (await api.order(("CARD", 1), clientOrderNumber=f"n{number}"))["transactionId"])
        api.harness.clock.advance(seconds=1)
    page = await api.call("GET", ORDERS, rows="2")
    walked = []
    while True:
        body = await page.json()
        walked += [row["transactionId"] for row in body["result"]]
        if body["pagination"]["nextPageToken"] is None:
            break
        link = page.headers["Link"].partition(">")[0][1:]
        page = await api.call("GET", link)
    assert walked == ids
    token = (await (await api.call("GET", ORDERS, rows="2")).json())["pagination"]["nextPageToken"]
    for how in ({"page": token, "clientOrderNumber": "n1"}, {"page": "x"}):
        await assert_problem(await api.call("GET", ORDERS, **how), 400, "INVALID_PAGE_TOKEN")
    for how, code in (
        ({"rows": "0"}, "INVALID_ROWS"),
        ({"rows": "10001"}, "INVALID_ROWS"),
        ({"from": "yesterday"}, "INVALID_DATE"),
        ({"from": "0001-01-01"}, "INVALID_DATE"),
        ({"to": "9999-12-31"}, "INVALID_DATE"),
        ({"to": "2026-02-30"}, "INVALID_DATE"),
    ):
        await assert_problem(await api.call("GET", ORDERS, **how), 400, code)
    assert (await api.read(ORDERS, rows="10000"))["pagination"] == {"rows": 10000, "count": 5, "nextPageToken": None}
    assert [row["transactionId"] for row in (await api.read(ORDERS, clientOrderNumber="n1"))["result"]] == [ids[3]]


async def test_rows_may_change_from_page_to_page(api: ApiClient) -> None:
    ids = [(await api.order(("CARD", 1)))["transactionId"] for _ in range(5)]
    first = await api.read(ORDERS, rows="2")
    rest = await api.read(ORDERS, page=first["pagination"]["nextPageToken"])
    assert sorted(row["transactionId"] for row in first["result"] + rest["result"]) == sorted(ids)
    assert rest["pagination"]["rows"] == ROWS["schema"]["default"]
    assert f"{MAX_PAGE_ROWS:,} at most" in ROWS["description"]


async def test_a_page_token_is_good_for_one_customer(api: ApiClient) -> None:
    for _ in range(2):
        await api.order(("CARD", 1))
    token = (await api.read(ORDERS, rows="1"))["pagination"]["nextPageToken"]
    await assert_problem(await api.call("GET", ORDERS, page=token, token="other"), 400, "INVALID_PAGE_TOKEN")


async def test_pages_of_a_span_stay_within_it(api: ApiClient) -> None:
    ids = []
    for _ in range(4):
        ids.append((await api.order(("CARD", 1)))["transactionId"])
        api.harness.clock.advance(hours=1)
    span = {"from": "2026-03-04T13:00:00Z", "to": "2026-03-04T15:00:00Z", "rows": "1"}
    first = await api.read(ORDERS, **span)
    last = await api.read(ORDERS, **span, page=first["pagination"]["nextPageToken"])
    assert [row["transactionId"] for row in first["result"] + last["result"]] == [ids[2], ids[1]]
    assert last["pagination"]["nextPageToken"] is None


async def test_a_page_is_never_longer_than_can_be_held(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.fulfilment.http.params.MAX_PAGE_ROWS", 2)
    for _ in range(3):
        await api.order(("CARD", 1))
    page = await api.read(ORDERS, rows="3")
    assert (page["pagination"]["rows"], page["pagination"]["count"]) == (3, 2)
    rest = await api.read(ORDERS, rows="3", page=page["pagination"]["nextPageToken"])
    assert (rest["pagination"]["count"], rest["pagination"]["nextPageToken"]) == (1, None)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"from": "2026-03-04"}, 2),
        ({"from": "2026-03-05"}, 1),
        ({"from": "2026-03-06"}, 0),
        ({"to": "2026-03-03"}, 0),
        ({"to": "2026-03-04"}, 1),
        ({"from": "2026-03-05", "to": "2026-03-05"}, 1),
        ({"from": "2026-03-04T12:00:00Z"}, 2),
        ({"from": "2026-03-04T21:00:00+09:00", "to": "2026-03-04T21:00:01 09:00"}, 1),
        ({"from": "2026-03-04T21:00:01"}, 1),
        ({"to": "2026-03-04T12:00:00Z"}, 0),
    ],
)
async def test_transactions_between_days_and_times_of_the_customer(
    api: ApiClient, asked: dict[str, str], count: int
) -> None:
    """In Tokyo: one order on the 4th at 21:00, one on the 5th at 01:00."""
    api.harness.customers.time_zones[SITE] = ZoneInfo("Asia/Tokyo")
    await api.order(("CARD", 1))
    api.harness.clock.advance(hours=4)
    await api.order(("CARD", 1))
    assert len((await api.read(ORDERS, **asked))["result"]) == count


async def test_ids_are_found_in_any_case(api: ApiClient) -> None:
    placed = await api.order(("CARD", 1))
    transaction, order = placed["transactionId"].upper(), placed["purchaseOrder"]["id"].upper()
    assert (await api.read(f"{ORDERS}/{transaction}"))["transactionId"] == placed["transactionId"]
    assert (await api.read(f"{ORDERS}/{transaction}/codes"))["transactionId"] == placed["transactionId"]
    (listed,) = (await api.read(ORDERS, transactionId=transaction))["result"]
    assert listed["transactionId"] == placed["transactionId"]
    assert (await api.read(f"{V1}/purchase-orders/{order}"))["id"] == placed["purchaseOrder"]["id"]
    api.harness.clock.advance(days=1)
    await api.harness.close_days()
    (invoice,) = (await api.read(V1 + "/invoices"))["result"]
    assert await api.read(f"{V1}/invoices/{invoice['id'].upper()}") == invoice


async def test_a_disclosure_is_audited_under_the_stored_id(api: ApiClient) -> None:
    await api.harness.load("CARD", "only")
    placed = await api.order(("CARD", 1))
    await api.read(f"{ORDERS}/{placed['transactionId'].upper()}/codes")
    (line,) = api.audit_log.lines
    assert line["transactionId"] == placed["transactionId"]
