"""Codes: ordering them once, following an order, showing codes to who asks, purchase orders and invoices."""

import re
from typing import Any

import httpx2
import prometheus_client
import pytest

from tests.portal import apis as fake
from tests.portal.apis import OTHER, Apis, problem
from tests.portal.fake_fulfilment import CODE, PDF, a_day, an_invoice, an_order
from tests.portal.site import Site

ORDER = "00000000-cdbe-11f0-8de9-0242ac120002"
ADDRESS = f"/portal/codes/orders/{ORDER}"


@pytest.fixture
def order(apis: Apis) -> dict[str, Any]:
    """An order of three units, one of which has its code."""
    made = an_order(0, {"CARD-10": 3}, delivered=1, number="PO-17")
    apis.fulfilment.orders.append(made)
    return made


async def form_of(site: Site, **fields: str) -> dict[str, str]:
    """Return the form of an order as the page makes it, filled in."""
    text = await site.text("/portal/codes/new")
    hidden = dict(
        re.findall(r'type="hidden" name="([^"]+)" value="([^"]+)"', text.partition('action="/portal/codes/new"')[2])
    )
    return hidden | fields


# Placing.


async def test_an_order_leads_to_its_page(signed_in: Site, apis: Apis) -> None:
    form = await form_of(signed_in, sku0="CARD-10", quantity0="3", sku1="CARD-25", quantity1="1", number="PO-1")
    async with await signed_in.post("/portal/codes/new", form) as response:
        assert (response.status, response.headers["Location"]) == (303, ADDRESS)
    (placed,) = apis.fulfilment.orders
    assert {line["sku"]: line["quantity"] for line in placed["lines"]} == {"CARD-10": 3, "CARD-25": 1}
    assert placed["clientOrderNumber"] == "PO-1"
    assert "PO-1" in await signed_in.text(ADDRESS)


async def test_a_double_click_buys_once(signed_in: Site, apis: Apis) -> None:
    form = await form_of(signed_in, sku0="CARD-10", quantity0="3")
    locations = []
    for _ in range(2):
        async with await signed_in.post("/portal/codes/new", form) as response:
            locations.append(response.headers["Location"])
    assert locations == [ADDRESS, ADDRESS]
    assert len(apis.fulfilment.orders) == 1


async def test_each_form_is_another_order(signed_in: Site, apis: Apis) -> None:
    for _ in range(2):
        form = await form_of(signed_in, sku0="CARD-10", quantity0="3")
        async with await signed_in.post("/portal/codes/new", form):
            pass
    assert len(apis.fulfilment.orders) == 2


async def test_an_order_of_the_same_number_is_found_again(signed_in: Site, apis: Apis) -> None:
    for expected in (ADDRESS, f"{ADDRESS}?again=1"):
        form = await form_of(signed_in, sku0="CARD-10", quantity0="3", number="PO-1")
        async with await signed_in.post("/portal/codes/new", form) as response:
            assert response.headers["Location"] == expected
    assert len(apis.fulfilment.orders) == 1
    assert "Nothing was ordered again" in await signed_in.text(f"{ADDRESS}?again=1")


async def test_lines_of_one_product_add_up(signed_in: Site, apis: Apis) -> None:
    form = await form_of(signed_in, sku0="CARD-10", quantity0="3", sku2=" CARD-10 ", quantity2="4")
    async with await signed_in.post("/portal/codes/new", form):
        pass
    assert [line["quantity"] for line in apis.fulfilment.orders[0]["lines"]] == [7]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 422, "Name at least one product"),
        ({"sku0": "CARD-10", "quantity0": ""}, 422, "from 1 to 1,000"),
        ({"sku0": "CARD-10", "quantity0": "0"}, 422, "from 1 to 1,000"),
        ({"sku0": "CARD-10", "quantity0": "1001"}, 422, "from 1 to 1,000"),
        ({"sku0": "CARD-10", "quantity0": "-1"}, 422, "from 1 to 1,000"),
        ({"sku0": "CARD-10", "quantity0": "1.5"}, 422, "from 1 to 1,000"),
        ({"quantity0": "1"}, 422, "Name the product"),
        ({"sku0": "unknown", "quantity0": "1"}, 422, "unknown: There is no such product."),
    ],
)
async def test_a_refused_order_keeps_what_was_filled_in(
    signed_in: Site, apis: Apis, fields: dict[str, str], status: int, words: str
) -> None:
    form = await form_of(signed_in, number="PO-1", **fields)
    async with await signed_in.post("/portal/codes/new", form) as response:
        assert response.status == status
        text = await response.text()
    assert words in text
    for value in (*fields.values(), "PO-1"):
        assert f'value="{value}"' in text
    assert apis.fulfilment.orders == []


@pytest.mark.parametrize("failure", [problem(503, "UNAVAILABLE"), problem(409, "IDEMPOTENCY_IN_PROGRESS")])
async def test_an_order_of_unknown_outcome_is_repeated_under_its_key(
    signed_in: Site, apis: Apis, failure: httpx2.Response
) -> None:
    """Breaks: the order was placed, the reader is told to try again, and buys a second time."""

    def place_and_fail(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            apis.fulfilment.answer(request, ["orders"])
        return httpx2.Response(failure.status_code, headers=failure.headers, content=failure.content)

    form = await form_of(signed_in, sku0="CARD-10", quantity0="3")
    apis.fails = place_and_fail
    async with await signed_in.post("/portal/codes/new", form) as response:
        assert response.status == 503
        text = await response.text()
    assert "it is placed once only" in text
    assert f'name="key" value="{form["key"]}"' in text
    apis.fails = lambda _request: None
    async with await signed_in.post("/portal/codes/new", form) as response:
        assert response.headers["Location"] == ADDRESS
    assert len(apis.fulfilment.orders) == 1


@pytest.mark.usefixtures("order")
async def test_a_number_that_another_order_has_is_refused(signed_in: Site) -> None:
    form = await form_of(signed_in, sku0="CARD-10", quantity0="9", number="PO-17")
    async with await signed_in.post("/portal/codes/new", form) as response:
        assert response.status == 409
        assert "Another order has this number already" in await response.text()


@pytest.mark.usefixtures("order")
async def test_products_of_earlier_orders_are_offered(signed_in: Site) -> None:
    assert '<option value="CARD-10">' in await signed_in.text("/portal/codes/new")
    assert 'name="sku0" value="CARD-25"' in await signed_in.text("/portal/codes/new?sku=CARD-25")


# Following.


@pytest.mark.usefixtures("order")
async def test_the_list_shows_what_is_delivered(signed_in: Site) -> None:
    text = await signed_in.text("/portal/codes")
    assert f'href="{ADDRESS}"' in text
    assert "1 of 3" in text
    assert "2 to come" in text
    assert "data-unfinished" in text


async def test_orders_are_paged_and_filtered(signed_in: Site, apis: Apis) -> None:
    apis.fulfilment.orders = [an_order(n, {"CARD-10": 1}, delivered=1, number=f"N{n % 2}") for n in range(120)]
    path, seen = "/portal/codes?number=N1", list[str]()
    while path:
        text = await signed_in.text(path)
        seen += re.findall(r'class="row-link" href="([^"]+)"', text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = following[1] if following else ""
    assert len(seen) == len(set(seen)) == 60
    assert 'href="/portal/codes?number=N1"' in text


async def test_filters_by_day_are_passed_on(signed_in: Site) -> None:
    text = await signed_in.text("/portal/codes?from=2026-11-01&to=tomorrow")
    assert "The last day must be a day" in text
    assert "tomorrow" not in text
    assert dict(signed_in.apis.requests[-1].url.params) == {"rows": "50", "from": "2026-11-01"}


async def test_an_order_is_followed_to_its_last_code(signed_in: Site, apis: Apis) -> None:
    for delivered, is_finished in ((0, False), (2, False), (3, True)):
        apis.fulfilment.orders = [an_order(0, {"CARD-10": 3}, delivered=delivered)]
        text = await signed_in.text(ADDRESS)
        assert f"{delivered} of 3" in text
        assert ("data-unfinished" not in text) == is_finished
        assert ("Delivered</span>" in text) == is_finished


# Codes.


@pytest.mark.usefixtures("order")
async def test_codes_are_masked_until_somebody_asks(signed_in: Site, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/portal/codes", ADDRESS):
        assert CODE not in await signed_in.text(path)
    async with await signed_in.get(f"{ADDRESS}/codes") as response:
        assert (response.status, response.headers["Location"]) == (303, ADDRESS)
    assert not any(request.url.path.endswith("/codes") for request in signed_in.apis.requests)
    form = {"form_token": await signed_in.form_token(ADDRESS), "sku": "CARD-10"}
    capfd.readouterr()
    async with await signed_in.post(f"{ADDRESS}/codes", form) as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        text = await response.text()
    assert f"{CODE}0" in text
    assert f"{CODE}1" not in text
    assert text.count("To come") == 2
    logged = "".join(capfd.readouterr())
    assert re.search(r"audit .*codes shown.*", logged)
    assert ORDER in logged
    assert "codes=1" in logged
    assert CODE not in logged + prometheus_client.generate_latest().decode()


async def test_many_codes_come_page_by_page(signed_in: Site, apis: Apis) -> None:
    apis.fulfilment.orders = [an_order(0, {"CARD-10": 250}, delivered=250)]
    form, seen = {"form_token": await signed_in.form_token(ADDRESS), "sku": "CARD-10"}, list[str]()
    while form:
        async with await signed_in.post(f"{ADDRESS}/codes", form) as response:
            text = await response.text()
        found = re.findall(rf">({CODE}\d+)<", text)
        assert len(found) <= 100
        seen += found
        start = re.search(r'name="start" value="(\d+)"', text)
        form = form | {"start": start[1]} if start else {}
    assert seen == [f"{CODE}{number}" for number in range(250)]


@pytest.mark.parametrize("start", ["-1", "x", "٣", "99999999999", "500"])
@pytest.mark.usefixtures("order")
async def test_a_page_of_codes_that_does_not_exist_is_no_error(signed_in: Site, start: str) -> None:
    form = {"form_token": await signed_in.form_token(ADDRESS), "sku": "CARD-10", "start": start}
    async with await signed_in.post(f"{ADDRESS}/codes", form) as response:
        assert response.status == 200


@pytest.mark.usefixtures("order")
async def test_codes_need_their_own_right(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fake.SCOPES, fake.CUSTOMER, {"fulfilment": "orders:read"})
    async with await site.sign_in():
        pass
    text = await site.text(ADDRESS)
    assert "codes:read" in text
    assert "Show codes" not in text
    form = {"form_token": await site.form_token(ADDRESS), "sku": "CARD-10"}
    async with await site.post(f"{ADDRESS}/codes", form) as response:
        assert response.status == 403
    for path in ("/portal/codes/new", "/portal/codes/days", "/portal/codes/invoices"):
        assert "Not allowed" in await site.text(path, status=403)
        assert f'href="{path}"' not in await site.text("/portal/codes")


@pytest.mark.parametrize("path", [ADDRESS, "/portal/codes/invoices/unknown", "/portal/codes/invoices/unknown.pdf"])
async def test_what_another_site_has_does_not_exist(site: Site, path: str) -> None:
    async with await site.sign_in(OTHER):
        pass
    assert "No such" in await site.text(path, status=404)


# Days and invoices.


async def test_the_purchase_orders_of_a_day(signed_in: Site, apis: Apis) -> None:
    assert "No purchase order on this day" in await signed_in.text("/portal/codes/days")
    apis.fulfilment.days = [a_day(), a_day(id="po-2", currency="EUR", state="CLOSED", invoiceId="invoice-1")]
    text = await signed_in.text("/portal/codes/days?date=2026-11-30")
    assert signed_in.apis.requests[-1].url.params["date"] == "2026-11-30"
    assert text.index("2026-11-30 in USD") < text.index("2026-11-30 in EUR")
    assert 'href="/portal/codes/invoices/invoice-1"' in text
    assert "1 of 3" in text


async def test_invoices_as_list_page_and_pdf(signed_in: Site, apis: Apis) -> None:
    assert "No invoices yet" in await signed_in.text("/portal/codes/invoices")
    credit = an_invoice(2, kind="CREDIT_NOTE", creditFor="invoice-1", total="-10.00")
    apis.fulfilment.invoices = [credit, an_invoice()]
    text = await signed_in.text("/portal/codes/invoices")
    assert text.index("2026-000002") < text.index("2026-000001")
    page = await signed_in.text("/portal/codes/invoices/invoice-1")
    for shown in ("Invoice 2026-000001", "$81.005", "Customer & Sons", "Issuer Ltd", "Tax id T1", "30 days"):
        assert shown in page
    assert 'href="/portal/codes/invoices/invoice-1"' in await signed_in.text("/portal/codes/invoices/invoice-2")
    async with await signed_in.get("/portal/codes/invoices/invoice-1.pdf") as response:
        assert response.headers["Content-Type"] == "application/pdf"
        assert response.headers["Content-Disposition"] == 'attachment; filename="invoice-2026-000001.pdf"'
        assert await response.read() == PDF
