"""The operator commands for products, codes and keys, on MongoDB."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner, Result

from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.keyed_cipher import parse_keys
from services.fulfilment import cli
from services.fulfilment.adapters import stock
from services.fulfilment.adapters.code_cipher import CodeCipher
from services.fulfilment.cli import fulfilment
from services.fulfilment.domain.code import Code, SealedCode
from tests.support.audit_log import FakeAuditLog

Run = Callable[..., Result]
OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
OPERATOR = {"actor": "operator", "source": "command line"}
CARD = {"sku": "CARD", "name": "Card", "unitPrice": "9.99", "currency": "USD"}


@pytest.fixture
def database(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    name = f"t{uuid4().hex[:12]}"
    environment = {
        "MONGODB_URI": mongodb_uri,
        "MONGODB_DATABASE": name,
        "CODE_ENCRYPTION_KEYS": OLD,
        "CODE_DIGEST_KEY": OLD,
    }
    for setting, value in environment.items():
        monkeypatch.setenv(setting, value)
    client: MongoClient[Any] = MongoClient(mongodb_uri)
    yield client[name]
    client.drop_database(name)
    client.close()


@pytest.fixture
def audit_log(monkeypatch: pytest.MonkeyPatch) -> FakeAuditLog:
    """Collect audit entries here instead of in the log, which other tests may have redirected."""
    fake = FakeAuditLog()
    monkeypatch.setattr(cli, "AuditLog", lambda: fake)
    return fake


@pytest.fixture
def run(database: Any, audit_log: FakeAuditLog, tmp_path: Path) -> Run:
    """Run a command; `file` is the content of a file whose path is the last argument."""
    del database, audit_log

    def run(*arguments: str, file: str | None = None) -> Result:
        path = tmp_path / "file"
        if file is not None:
            path.write_text(file, encoding="utf-8")
            arguments = (*arguments, str(path))
        return CliRunner().invoke(fulfilment, arguments)

    return run


def products(*entries: dict[str, Any]) -> str:
    return json.dumps({"products": entries})


def test_products_come_with_their_codes_and_can_be_listed(run: Run) -> None:
    document = products({**CARD, "codes": ["a", {"redeemCode": "b", "pinCode": "1"}]}, {**CARD, "sku": "BARE"})
    first, second = (run("products", "put", file=document).output.splitlines() for _ in range(2))
    assert (first[0], second[0]) == ("2 products and 2 new codes loaded", "2 products and 0 new codes loaded")
    assert first[1:] == second[1:]
    assert [line.partition(" batch ")[0] for line in first[1:]] == ["CARD:"]
    listed = run("products", "list").output.splitlines()
    assert listed == [
        "BARE\tCard\t9.99 USD\t0 on sale\tstock\t0 waiting",
        "CARD\tCard\t9.99 USD\t2 on sale\tstock\t0 waiting",
    ]


def test_a_pin_comes_after_a_comma_and_who_loads_codes_is_noted(
    run: Run, database: Any, audit_log: FakeAuditLog
) -> None:
    run("products", "put", file=products(CARD))
    run("stock", "load", "CARD", file="one , 22 \n")
    (stored,) = database.codes.find()
    counts = {"codes": 1, "added": 1}
    assert audit_log.lines == [{"action": "codes-loaded", **OPERATOR, "batch": stored["batch"], **counts}]
    cipher = CodeCipher(parse_keys(OLD), parse_keys(OLD)[0])
    assert cipher.open("CARD", SealedCode(stored["_id"], stored["key_id"], stored["ciphertext"])) == Code("one", "22")


def test_a_file_may_have_more_codes_than_are_taken_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "BATCH_SIZE", 2)
    put = run("products", "put", file=products({**CARD, "codes": ["a", "b", "c", "a"]}))
    assert put.output.startswith("1 products and 3 new codes loaded\n")
    assert run("stock", "load", "CARD", file="c\nd\ne\nf\ng\n").output.startswith("4 of 5 codes are new\n")
    assert "7 on sale" in run("products", "list").output


def test_a_byte_order_mark_before_a_document_is_skipped(run: Run) -> None:
    assert run("products", "put", file="\ufeff" + products(CARD)).output == "1 products and 0 new codes loaded\n"


def test_a_price_may_be_a_number_and_keeps_its_digits(run: Run) -> None:
    run("products", "put", file='{"products": [{"sku": 7, "name": "N", "unitPrice": 9.990001, "currency": "usd"}]}')
    assert run("products", "list").output == "7\tN\t9.990001 USD\t0 on sale\tstock\t0 waiting\n"


def test_codes_are_loaded_from_lines_once(run: Run) -> None:
    run("products", "put", file=products(CARD))
    assert run("stock", "load", "CARD", file="one\n\n two , 22 \n").output.startswith("2 of 2 codes are new\n")
    assert run("stock", "load", "CARD", file="two\nthree\n").output.startswith("1 of 2 codes are new\n")
    # Some editors write a byte order mark, which is not part of the first code.
    assert run("stock", "load", "CARD", file="\ufeffone\nfour\n").output.startswith("1 of 2 codes are new\n")


def test_a_file_in_another_spelling_has_the_same_codes(run: Run) -> None:
    run("products", "put", file=products(CARD))
    first = run("stock", "load", "CARD", file='"DDDD-1","1234"\r\n"DDDD-2"\r\n').output.splitlines()
    again = run("stock", "load", "CARD", file="\ufeffcode,pin\nDDDD-1 , 1234\nDDDD-2\n").output.splitlines()
    assert (first[0], again[0]) == ("2 of 2 codes are new", "0 of 2 codes are new")
    assert first[1] == again[1]


def test_an_invalid_line_loads_nothing_of_its_file(run: Run) -> None:
    run("products", "put", file=products(CARD))
    done = run("stock", "load", "CARD", file="A-1\n" + "E-1;1234\n" * 9)
    assert done.exit_code == 1
    assert "file, line 2: the delimiter must be a comma" in done.output
    assert "4 more lines" in done.output
    assert "0 on sale" in run("products", "list").output


def batch_id(loaded: Result) -> str:
    return loaded.output.strip().rpartition(" ")[2]


def test_unsold_codes_can_be_taken_back(run: Run, database: Any, audit_log: FakeAuditLog) -> None:
    run("products", "put", file=products(CARD, {**CARD, "sku": "OTHER", "codes": ["o-1"]}))
    run("stock", "load", "CARD", file="a-1\na-2\na-3\n")
    database.codes.update_one({"sku": "CARD"}, {"$unset": {"available": ""}, "$set": {"slot": "sold"}})
    done = run("stock", "withdraw", "CARD", file='code\n a-1\n"a-2"\na-3\no-1\nunknown-1\n')
    assert done.output == "2 of 5 codes withdrawn; the others are sold or unknown\n"
    assert audit_log.lines[-1] == {"action": "codes-withdrawn", **OPERATOR, "codes": 2}
    left = {document["sku"]: document.get("slot") for document in database.codes.find()}
    assert left == {"CARD": "sold", "OTHER": None}
    assert run("stock", "load", "CARD", file="a-1\na-2\na-3\n").output.startswith("2 of 3 codes are new\n")


def test_a_batch_can_be_taken_back(run: Run, database: Any, audit_log: FakeAuditLog) -> None:
    run("products", "put", file=products(CARD))
    run("stock", "load", "CARD", file="a-1\na-2\n")
    second = batch_id(run("stock", "load", "CARD", file="a-2\nb-1\nb-2\n"))
    database.codes.update_one({"batch": second}, {"$unset": {"available": ""}, "$set": {"slot": "sold"}})
    for count in (1, 0):
        done = run("stock", "withdraw", "CARD", "--batch", second.upper())
        assert done.output == f"{count} unsold codes withdrawn\n"
        assert audit_log.lines[-1] == {"action": "codes-withdrawn", **OPERATOR, "codes": count, "batch": second}
    assert "2 on sale" in run("products", "list").output


@pytest.mark.parametrize(
    ("arguments", "file", "reason"),
    [
        (("CARD",), None, "give either a file or --batch"),
        (("CARD", "--batch", str(uuid4())), "a-1\n", "give either a file or --batch"),
        (("CARD", "--batch", "one"), None, "Invalid value for '--batch'"),
        (("NONE",), "a-1\n", "there is no product NONE"),
        (("CARD",), "a-1;1\n", "file, line 1: the delimiter must be a comma"),
    ],
)
def test_only_a_file_or_a_batch_can_be_taken_back(
    run: Run, arguments: tuple[str, ...], file: str | None, reason: str
) -> None:
    run("products", "put", file=products(CARD))
    done = run("stock", "withdraw", *arguments, file=file)
    assert done.exit_code != 0
    assert reason in done.output


@pytest.mark.parametrize(
    ("arguments", "file", "environment"),
    [
        (("stock", "load", "NONE"), "SECRET-CODE\n", "there is no product NONE"),
        (("stock", "load", "CARD"), "ok\n\n" + "SECRET-CODE" * 60, "file, line 3: the code must not be longer"),
        (("stock", "load", "CARD"), "ok\nSECRET-CODE,\n", "file, line 2: the PIN must not be empty"),
        (("products", "put"), products({**CARD, "unitPrice": -1}), "CARD: /unitPrice"),
        (("products", "put"), products({**CARD, "currency": "HRK"}), "CARD: /currency"),
        (("products", "put"), products({**CARD, "codes": [{"pinCode": "SECRET-CODE"}]}), "CARD: /codes/0"),
        (("products", "put"), "{", "the document is not JSON: ends too early"),
        (("products", "put"), products({**CARD, "sku": "\ud800"}), "/sku: sku must not contain half of a surrogate"),
        (("products", "put"), "[]", '{"products": [{…}, …]} is expected'),
        (("products", "put"), '{"products": ["SECRET-CODE"]}', '{"products": [{…}, …]} is expected'),
    ],
    ids=[
        "no product",
        "long code",
        "empty pin",
        "price",
        "currency withdrawn",
        "no code",
        "no json",
        "surrogate",
        "array",
        "texts",
    ],
)
def test_an_invalid_document_is_reported_without_quoting_a_code(
    run: Run, arguments: tuple[str, ...], file: str, environment: str
) -> None:
    run("products", "put", file=products(CARD))
    done = run(*arguments, file=file)
    assert done.exit_code == 1
    assert environment in done.output
    assert "SECRET-CODE" not in done.output


def test_a_product_may_come_from_a_supplier_that_there_is_and_from_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = {**CARD, "supplier": "simulated"}
    refused = run("products", "put", file=products(simulated))
    assert (refused.exit_code, refused.output) == (1, "CARD: /supplier: supplier must be one of stock\n")
    assert run("products", "list").output == ""

    monkeypatch.setenv("SIMULATED_SUPPLIER", "true")
    assert run("products", "put", file=products(simulated)).output == "1 products and 0 new codes loaded\n"
    refused = run("products", "put", file=products({**CARD, "supplier": "simulatd"}))
    assert (refused.exit_code, refused.output) == (1, "CARD: /supplier: supplier must be one of simulated, stock\n")

    monkeypatch.setenv("SIMULATED_SUPPLIER", "false")
    assert run("products", "list").output == "CARD\tCard\t9.99 USD\t0 on sale\tsimulated\t0 waiting\n"


def test_the_demo_is_loaded_where_there_is_a_simulated_supplier(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = (REPOSITORY / "sandbox" / "demo" / "stock.json").read_text(encoding="utf-8")
    assert run("products", "put", file=demo).exit_code == 1
    monkeypatch.setenv("SIMULATED_SUPPLIER", "true")
    assert run("products", "put", file=demo).output.startswith("6 products and 20 new codes loaded\n")


def test_every_code_is_resealed_under_the_first_key(
    run: Run, database: Any, audit_log: FakeAuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("products", "put", file=products({**CARD, "codes": [f"c{n}" for n in range(5)]}))
    old_ids = database.codes.distinct("key_id")
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    assert run("reseal").output == "5 codes resealed\n"
    assert run("reseal").output == "0 codes resealed\n"
    (new_id,) = database.codes.distinct("key_id")
    noted = {"action": "codes-resealed", **OPERATOR, "key": new_id}
    assert audit_log.lines == [{**noted, "codes": count} for count in (5, 0)]
    assert database.codes.distinct("key_id") != old_ids
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", NEW)
    assert run("stock", "load", "CARD", file="c1\n").output.startswith("0 of 1 codes are new\n")


def test_a_code_whose_key_is_missing_is_not_changed(run: Run, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("products", "put", file=products({**CARD, "codes": ["c"]}))
    before = list(database.codes.find())
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", NEW)
    done = run("reseal")
    assert done.exit_code == 1
    assert "which CODE_ENCRYPTION_KEYS lacks" in done.output
    assert list(database.codes.find()) == before


def test_codes_stay_as_they_are_under_another_digest_key(
    run: Run, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each code is bound to its fingerprint: sealed with another one, it could not be opened again."""
    run("products", "put", file=products({**CARD, "codes": ["c"]}))
    before = list(database.codes.find())
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    monkeypatch.setenv("CODE_DIGEST_KEY", NEW)
    done = run("reseal")
    assert (done.exit_code, done.output) == (1, "CODE_DIGEST_KEY is not the key with which the codes were loaded\n")
    assert list(database.codes.find()) == before


def test_close_day_wants_a_day(run: Run) -> None:
    assert run("close-day").exit_code == 2
    assert run("close-day", "--date", "yesterday").exit_code == 2


def test_a_file_of_codes_that_is_not_utf_8_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "codes").write_bytes(b"\xff\xfeA")
    run("products", "put", file=products(CARD))
    done = run("stock", "load", "CARD", str(tmp_path / "codes"))
    assert (done.exit_code, done.output) == (1, "codes is not valid UTF-8\n")


def test_no_code_is_loaded_under_another_digest_key(run: Run, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("products", "put", file=products({**CARD, "codes": ["one"]}))
    monkeypatch.setenv("CODE_DIGEST_KEY", NEW)
    refused = run("stock", "load", "CARD", file="one\n")
    assert (refused.exit_code, refused.output.split(":")[0]) == (1, "CODE_DIGEST_KEY")
    assert database.codes.count_documents({}) == 1


def test_a_key_may_be_removed_once_every_code_is_sealed_with_another(
    run: Run, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("products", "put", file=products({**CARD, "codes": ["one"]}))
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", NEW)
    assert run("products", "list").output.split(":")[0] == "CODE_ENCRYPTION_KEYS"
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", f"{NEW},{OLD}")
    assert run("reseal").output == "1 codes resealed\n"
    monkeypatch.setenv("CODE_ENCRYPTION_KEYS", NEW)
    assert run("products", "list").exit_code == 0
    assert database.codes.count_documents({}) == 1
