"""I10: a planted code stands in clear in the answer to its owner, and nowhere else."""

import base64
import json
import logging
from decimal import Decimal

import bson
import msgspec
import pytest
from prometheus_client import generate_latest

from services.chassis.runtime import metrics
from services.fulfilment.adapters.code_cipher import CodeVault, WrongKey, read_keys
from services.fulfilment.adapters.invoice_renderer import InvoicePaper
from services.fulfilment.domain.code import Code, Sealed
from services.fulfilment.domain.listing import InvoicesAsked
from services.fulfilment.domain.loading import read_codes
from services.fulfilment.domain.ordering import Refused
from services.fulfilment.flows import get_codes
from services.fulfilment.http import responses
from services.fulfilment.settings import Settings
from tests.fulfilment.shop import SITE, VAULT, Shop

CANARY, PIN = "CANARY-7f3a-CODE", "CANARY-PIN-55"


def traces(text: bytes) -> list[bytes]:
    """The canary as it is, or as it would look encoded."""
    forms = [CANARY.encode(), PIN.encode(), base64.b64encode(CANARY.encode())[:16], CANARY.encode().hex().encode()]
    return [form for form in forms if form in text]


async def test_codes_are_in_clear_nowhere(
    mongo_shop: Shop, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = mongo_shop
    shop.register.emails[SITE] = "billing@customer.example"
    caplog.set_level(logging.DEBUG)
    await shop.stock.load("CARD", [VAULT.seal("CARD", Code(CANARY, PIN))])
    transaction = (await shop.place(("CARD", 2))).transaction
    found = await get_codes.get_codes(SITE, transaction.id, None, shop.reading)
    assert found is not None
    shown = msgspec.json.encode(responses.codes(found, 0))
    assert len(traces(shown)) == 2
    shop.clock.pass_(days=8)
    await shop.fulfil(transaction.id)
    await shop.close()
    assert shop.mongo is not None
    database, kept = shop.mongo._database, b""
    for name in await database.list_collection_names():
        async for document in database[name].find():
            kept += bson.encode(document)
    assert len(kept) > 2_000
    (invoice,) = await shop.invoices.listed(InvoicesAsked(site=SITE))
    paper = InvoicePaper(issuer="Us")
    printed = paper.html(invoice).encode() + paper.text(invoice).encode() + paper.pdf(invoice)
    said = caplog.text + "".join(capsys.readouterr()) + repr(found) + repr(shop) + repr(Code(CANARY, PIN))
    for where in (kept, printed, generate_latest(metrics.REGISTRY), said.encode()):
        assert traces(where) == []


def test_a_refusal_quotes_no_code() -> None:
    with pytest.raises(Refused) as refused:
        read_codes([CANARY, CANARY * 100, {"redeemCode": CANARY, "pinCode": []}, {"pinCode": PIN}])
    assert traces(repr(refused.value.faults).encode() + str(refused.value).encode()) == []
    assert len(refused.value.faults) == 3


def test_the_vault_opens_what_it_sealed() -> None:
    code = Code("abc", "1")
    sealed = VAULT.seal("CARD", code)
    assert VAULT.open("CARD", sealed) == code
    assert b"abc" not in sealed.sealed
    assert VAULT.seal("CARD", code).sealed != sealed.sealed
    assert VAULT.seal("CARD", code).digest == sealed.digest == VAULT.seal("PENNY", Code("abc")).digest
    assert VAULT.seal("CARD", Code("abd")).digest != sealed.digest
    assert CodeVault([b"k" * 32], b"e" * 32).seal("CARD", code).digest != sealed.digest


def test_a_sealed_code_cannot_be_moved_or_changed() -> None:
    one, two = (VAULT.seal("CARD", Code(text)) for text in ("one", "two"))
    for sku, forged in (
        ("PENNY", one),
        ("CARD", Sealed(one.digest, one.key_id, two.sealed)),
        ("CARD", Sealed(one.digest, one.key_id, one.sealed[:-1] + bytes([one.sealed[-1] ^ 1]))),
        ("CARD", Sealed(one.digest, "another key", one.sealed)),
    ):
        with pytest.raises(WrongKey) as error:
            VAULT.open(sku, forged)
        assert "one" not in str(error.value).replace("none", "")


async def test_codes_are_sealed_anew_under_a_new_key(shop: Shop) -> None:
    if shop.mongo is None:
        pytest.skip("memory keeps no keys")
    await shop.load("CARD", *(f"c{n}" for n in range(5)))
    transaction = (await shop.place(("CARD", 3))).transaction
    before = await shop.codes(transaction.id)
    newer = CodeVault([b"n" * 32, b"k" * 32], b"d" * 32)
    rounds = 0
    while found := await shop.stock.sealed_otherwise(newer.key_id, most=2):
        await shop.stock.reseal([(old, newer.resealed(sku, old)) for sku, old in found])
        rounds += 1
    assert rounds == 3
    alone = CodeVault([b"n" * 32], b"d" * 32)
    units = await shop.stock.units(transaction.id, None)
    assert {alone.open("CARD", sealed).redeem_code for _, sealed in units if sealed} == set(before.values())
    assert await shop.load("CARD", "c1") == 0


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(b"short").decode(), "a,b"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_keys(text)


def test_settings_hide_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", f"{key},{key}")
    monkeypatch.setenv("CODE_DIGEST_KEY", key)
    monkeypatch.setenv("SMTP_URL", "smtp://me:hidden@localhost:25")
    settings = Settings()
    assert (settings.encryption_keys, settings.digest_key) == ([b"k" * 32] * 2, b"k" * 32)
    shown = repr(settings) + json.dumps(settings.model_dump(), default=str)
    assert key not in shown
    assert "hidden" not in shown
    assert Decimal(settings.fulfilment_deadline.days) == 7
