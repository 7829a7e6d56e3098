"""I10: a planted code is in clear in the response to its owner, and nowhere else."""

import base64
import json
import logging
from decimal import Decimal

import bson
import msgspec
import pytest
from prometheus_client import generate_latest

from services.chassis.runtime import metrics
from services.chassis.security.keyed_cipher import WrongKeyError, parse_keys
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer
from services.fulfilment.domain.code import Code, SealedCode
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.domain.order_request import InvalidRequestError
from services.fulfilment.domain.stock_request import parse_codes
from services.fulfilment.http import responses
from services.fulfilment.settings import Settings
from tests.fulfilment.harness import CIPHER, SITE, Harness

CANARY, PIN = "CANARY-7f3a-CODE", "CANARY-PIN-55"


def encodings(text: bytes) -> list[bytes]:
    """Return the canary's plain and encoded forms that the text contains."""
    forms = [CANARY.encode(), PIN.encode(), base64.b64encode(CANARY.encode())[:16], CANARY.encode().hex().encode()]
    return [form for form in forms if form in text]


async def test_codes_are_in_clear_nowhere(
    mongo_harness: Harness, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    harness = mongo_harness
    harness.customers.emails[SITE] = "billing@customer.example"
    caplog.set_level(logging.DEBUG)
    await harness.stock.load("CARD", [CIPHER.seal("CARD", Code(CANARY, PIN))], batch_id="b")
    transaction = (await harness.place(("CARD", 2))).transaction
    found = await harness.find_codes(transaction.id)
    assert found is not None
    body = msgspec.json.encode(responses.codes(found, 0))
    assert len(encodings(body)) == 2
    harness.clock.advance(days=8)
    await harness.fulfil(transaction.id)
    await harness.close_days()
    assert harness.mongo is not None
    database, stored = harness.mongo._database, b""
    for name in await database.list_collection_names():
        async for document in database[name].find():
            stored += bson.encode(document)
    assert len(stored) > 2_000
    (invoice,) = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    renderer = TemplateInvoiceRenderer()
    printed = renderer.html(invoice).encode() + renderer.text(invoice).encode() + renderer.pdf(invoice)
    said = caplog.text + "".join(capsys.readouterr()) + repr(found) + repr(harness) + repr(Code(CANARY, PIN))
    for where in (stored, printed, generate_latest(metrics.REGISTRY), said.encode()):
        assert encodings(where) == []


def test_a_refusal_quotes_no_code() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_codes([CANARY, CANARY * 100, {"redeemCode": CANARY, "pinCode": []}, {"pinCode": PIN}])
    assert encodings(repr(refused.value.faults).encode() + str(refused.value).encode()) == []
    assert len(refused.value.faults) == 3


def test_the_cipher_opens_what_it_sealed() -> None:
    code = Code("abc", "1")
    sealed = CIPHER.seal("CARD", code)
    assert CIPHER.open("CARD", sealed) == code
    assert b"abc" not in sealed.ciphertext
    assert CIPHER.seal("CARD", code).ciphertext != sealed.ciphertext
    assert CIPHER.seal("CARD", code).digest == sealed.digest == CIPHER.seal("PENNY", Code("abc")).digest
    assert CIPHER.seal("CARD", Code("abd")).digest != sealed.digest
    assert CodeCipher([b"k" * 32], b"e" * 32).seal("CARD", code).digest != sealed.digest


def test_a_sealed_code_cannot_be_moved_or_changed() -> None:
    first, second = (CIPHER.seal("CARD", Code(text)) for text in ("one", "two"))
    for sku, forged in (
        ("PENNY", first),
        ("CARD", SealedCode(first.digest, first.key_id, second.ciphertext)),
        ("CARD", SealedCode(first.digest, first.key_id, first.ciphertext[:-1] + bytes([first.ciphertext[-1] ^ 1]))),
        ("CARD", SealedCode(first.digest, "another key", first.ciphertext)),
    ):
        with pytest.raises(WrongKeyError) as error:
            CIPHER.open(sku, forged)
        assert "one" not in str(error.value).replace("none", "")


async def test_codes_are_resealed_under_a_new_key(harness: Harness) -> None:
    if harness.mongo is None:
        pytest.skip("memory keeps no keys")
    await harness.load("CARD", *(f"c{n}" for n in range(5)))
    transaction = (await harness.place(("CARD", 3))).transaction
    before = await harness.get_codes(transaction.id)
    newer = CodeCipher([b"n" * 32, b"k" * 32], b"d" * 32)
    rounds = 0
    while found := await harness.stock.list_sealed_with_other_keys(newer.key_id, limit=2):
        await harness.stock.replace_sealed([(old, newer.reseal(sku, old)) for sku, old in found])
        rounds += 1
    assert rounds == 3
    alone = CodeCipher([b"n" * 32], b"d" * 32)
    units = await harness.stock.slots_with_codes(transaction.id, None)
    assert {alone.open("CARD", sealed).redeem_code for _, sealed in units if sealed} == set(before.values())
    assert await harness.load("CARD", "c1") == 0


@pytest.mark.parametrize("text", ["", "x", base64.b64encode(b"short").decode(), "a,b"])
def test_invalid_keys(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_keys(text)


def test_settings_hide_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", f"{key},{key}")
    monkeypatch.setenv("CODE_DIGEST_KEY", key)
    monkeypatch.setenv("SMTP_URL", "smtp://me:hidden@localhost:25")
    settings = Settings()
    assert (settings.encryption_keys, settings.digest_key) == ([b"k" * 32] * 2, b"k" * 32)
    printed = repr(settings) + json.dumps(settings.model_dump(), default=str)
    assert key not in printed
    assert "hidden" not in printed
    assert Decimal(settings.fulfilment_deadline.days) == 7
