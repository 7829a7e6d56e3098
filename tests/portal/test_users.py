"""Users: what they ordered and returned, erasing them, and that nothing else learns their ids."""

import re
import traceback
from typing import Any

import httpx2
import prometheus_client
import pytest
import structlog

from tests.portal import apis as fake
from tests.portal.apis import JOB, OTHER, RESELLER, Apis, problem
from tests.portal.site import Site

USER = "user-canary@example.com"
PATH = f"/portal/users/{USER}"


def a_sale(**fields: Any) -> dict[str, Any]:
    return {
        "userId": USER,
        "dateTime": "2026-11-29T10:00:00Z",
        "acceptedAt": "2026-11-29T10:01:00Z",
        "mode": "online",
        "currency": "EUR",
        "jobId": JOB,
        "index": 0,
        "lineItems": [{"productId": "4556", "quantity": 2, "unitPrice": "19.90"}],
        **fields,
    }


def an_entry(order_id: str = "O1", **fields: Any) -> dict[str, Any]:
    return {
        "orderId": order_id,
        "channel": "web",
        "userId": USER,
        "state": "ORDERED",
        "currency": "EUR",
        "gross": "39.80",
        "returned": "0",
        "net": "39.80",
        "order": a_sale(id=order_id),
        "returns": [],
        "versions": [{"at": "2026-11-29T10:01:00Z", "jobId": JOB, "index": 0, "changed": []}],
        "flags": [],
        **fields,
    }


@pytest.fixture
def entries(apis: Apis) -> list[dict[str, Any]]:
    """A user's orders: one that was corrected and partly returned, and one that is plain."""
    found = [
        an_entry(
            "O2",
            state="PARTLY_RETURNED",
            returned="19.905",
            net="19.895",
            returns=[a_sale(orderId="O2", returnId="R1", value="19.905", jobId="22222222-cdbe-11f0-8de9-0242ac120002")],
            versions=[
                {"at": "2026-11-29T12:00:00Z", "jobId": JOB, "index": 3, "changed": ["lineItems", "storeId"]},
                {"at": "2026-11-29T10:01:00Z", "jobId": None, "index": None, "changed": []},
            ],
            flags=["CHANNEL_DIFFERS"],
        ),
        an_entry("O1"),
    ]
    apis.ledger.entries["12345", USER] = found
    return found


async def test_a_user_is_found_by_the_id_in_a_form(signed_in: Site) -> None:
    token = await signed_in.form_token("/portal/users")
    async with await signed_in.post("/portal/users", {"form_token": token, "user": f" {USER} "}) as response:
        assert (response.status, response.headers["Location"]) == (303, PATH)


@pytest.mark.parametrize(("user", "status"), [("", 303), ("..", 404), ("x" * 257, 404)])
async def test_what_is_no_id_leads_nowhere(signed_in: Site, user: str, status: int) -> None:
    token = await signed_in.form_token("/portal/users")
    async with await signed_in.post("/portal/users", {"form_token": token, "user": user}) as response:
        assert response.status == status
        assert response.headers.get("Location") in (None, "/portal/users")


@pytest.mark.usefixtures("entries")
async def test_a_users_orders_have_returns_corrections_and_the_imports_that_brought_them(signed_in: Site) -> None:
    text = await signed_in.text(PATH)
    assert text.index("O2") < text.index("O1</")
    assert "Partly returned" in text
    assert "€39.80 gross, €19.905 returned" in text
    assert "€19.895" in text
    assert "R1" in text
    assert "changed lineItems, storeId" in text
    assert "A return came under another channel" in text
    assert f'href="/portal/jobs/{JOB}"' in text
    assert 'href="/portal/jobs/22222222-cdbe-11f0-8de9-0242ac120002"' in text
    assert "11:00 <span" in text  # in Paris


async def test_orders_are_paged(signed_in: Site, apis: Apis) -> None:
    apis.ledger.entries["12345", USER] = [an_entry(f"order-{number:03}") for number in range(60)]
    path, seen = PATH, list[str]()
    while path:
        text = await signed_in.text(path)
        found = re.findall(r'class="mono">(order-\d+)<', text)
        assert len(found) <= 25
        seen += found
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = following[1] if following else ""
    assert seen == [f"order-{number:03}" for number in range(60)]


@pytest.mark.usefixtures("entries")
async def test_the_user_of_another_site_does_not_exist(site: Site) -> None:
    async with await site.sign_in(OTHER):
        pass
    assert "No such user" in await site.text(PATH, status=404)


async def test_without_the_right_it_says_what_is_missing(site: Site) -> None:
    async with await site.sign_in(RESELLER):
        pass
    assert "sales:read" in await site.text("/portal/users", status=403)
    assert 'href="/portal/users"' not in await site.text("/portal/")


@pytest.fixture
async def eraser(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A browser of a client that may erase users."""
    scopes = fake.ALL_SCOPES | {"ledger": "sales:read sales:erase"}
    monkeypatch.setitem(fake.SCOPES, fake.CUSTOMER, scopes)
    async with await site.sign_in():
        pass
    return site


@pytest.mark.usefixtures("entries")
async def test_a_user_is_erased_after_a_confirmation_and_there_is_a_receipt(eraser: Site, apis: Apis) -> None:
    assert f'href="{PATH}/erase"' in await eraser.text(PATH)
    assert "Erase this user?" in await eraser.text(f"{PATH}/erase")
    assert apis.ledger.erased == []
    form = {"form_token": await eraser.form_token(f"{PATH}/erase")}
    async with await eraser.post(f"{PATH}/erase", form) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/users/erasures/receipt-1")
    assert apis.ledger.erased == [USER]
    receipt = await eraser.text("/portal/users/erasures/receipt-1")
    assert "In progress" in receipt
    assert "data-unfinished" in receipt
    assert "28 Dec 2026" in receipt
    assert USER not in receipt
    apis.ledger.receipt_state = "ERASED"
    assert "data-unfinished" not in await eraser.text("/portal/users/erasures/receipt-1")
    await eraser.text(PATH, status=404)


async def test_an_unknown_receipt_is_not_found(eraser: Site) -> None:
    assert "No such receipt" in await eraser.text("/portal/users/erasures/unknown", status=404)


@pytest.mark.usefixtures("entries")
async def test_erasing_needs_its_own_right(signed_in: Site, apis: Apis) -> None:
    assert f"{PATH}/erase" not in await signed_in.text(PATH)
    assert "sales:erase" in await signed_in.text(f"{PATH}/erase", status=403)
    form = {"form_token": await signed_in.form_token("/portal/users")}
    async with await signed_in.post(f"{PATH}/erase", form) as response:
        assert response.status == 403
    assert apis.ledger.erased == []


@pytest.mark.parametrize("user", ["a/b", "a b?c#d", "50%", "äß", "<script>"])
async def test_any_id_has_a_page(signed_in: Site, apis: Apis, user: str) -> None:
    apis.ledger.entries["12345", user] = [an_entry()]
    token = await signed_in.form_token("/portal/users")
    async with await signed_in.post("/portal/users", {"form_token": token, "user": user}) as response:
        location = response.headers["Location"]
    assert user in await signed_in.text(location)


@pytest.mark.usefixtures("entries")
async def test_no_log_metric_or_referrer_has_the_users_id(eraser: Site) -> None:
    async def check(path: str, status: int) -> None:
        async with await eraser.get(path) as response:
            assert response.status == status
            # Even to our own pages, only the origin is sent.
            assert response.headers["Referrer-Policy"] == "strict-origin"

    def fail(_request: httpx2.Request) -> httpx2.Response:
        return problem(503, "UNAVAILABLE")

    def break_down(_request: httpx2.Request) -> httpx2.Response:
        raise RuntimeError("a defect")

    with structlog.testing.capture_logs() as logged:
        await check(PATH, 200)
        await check(f"{PATH}?page=nonsense", 400)
        form = {"form_token": await eraser.form_token(f"{PATH}/erase")}
        async with await eraser.post(f"{PATH}/erase", form):
            pass
        await check(PATH, 404)
        eraser.apis.fails = fail
        await check(PATH, 503)
        eraser.apis.fails = break_down
        await check(PATH, 500)
    defects = [each["exc_info"] for each in logged if each["event"] == "page failed"]
    assert defects
    written = [str(logged), *(line for error in defects for line in traceback.format_exception(error))]
    assert "user-canary" not in "".join(written) + prometheus_client.generate_latest().decode()
