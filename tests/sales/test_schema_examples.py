"""The examples beside the schemas, in Avro's JSON encoding: each is a record of its schema."""

import io
import json
from typing import Any

import fastavro
import pytest

from services.sales.rules import check_record
from tests.sales.samples import CURRENCIES, JOB_EVENTS, NOW_US, ORDERS, RETURNS, SCHEMAS, definition

NAMES = sorted(path.stem for path in SCHEMAS.glob("*.avsc"))


def as_bytes(name: str) -> bytes:
    parsed = fastavro.parse_schema(definition(name))
    text = json.dumps(json.loads((SCHEMAS / "examples" / f"{name}.json").read_text(encoding="utf-8")))
    (document,) = fastavro.json_reader(io.StringIO(text), parsed)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, document, strict=True)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_has_an_example_that_fits(name: str) -> None:
    assert as_bytes(name)


@pytest.mark.parametrize(("name", "codec"), [("order", ORDERS), ("return", RETURNS), ("job_event", JOB_EVENTS)])
def test_the_examples_are_read_and_written_by_our_codecs(name: str, codec: Any) -> None:
    data = as_bytes(name)
    assert codec.encode(codec.decode(data)) == data


@pytest.mark.parametrize(("name", "codec"), [("order", ORDERS), ("return", RETURNS)])
def test_the_examples_keep_every_rule(name: str, codec: Any) -> None:
    assert check_record(codec.decode(as_bytes(name)), now_us=NOW_US, currencies=CURRENCIES) == []
