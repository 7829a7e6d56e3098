"""Records in whichever version of their schema they were written."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_writer

from services.chassis.avro.records import AvroRecordReader
from services.chassis.avro.schemas import Schema, Schemas
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from tests.support.schema_versions import schemas_with_older_version, without_fields

OURS = Schemas.load(Path(__file__).parents[3] / "schemas")
SITE = {
    "site": 608,
    "name": "Demo",
    "appId": 1078,
    "rootSource": "omnichannel-api/qa",
    "datacenter": "qa",
    "timeZone": "Asia/Tokyo",
    "apiKeys": [{"apiKey": "12345", "channel": None}],
    "recordsPerSecond": 7,
    "invoiceEmail": None,
    "invoiceAddress": None,
    "taxId": None,
    "reportCurrency": "USD",
}


def encode(record: Mapping[str, Any], schema: Schema) -> bytes:
    out = io.BytesIO()
    out.write(b"\0" + schema.schema_id.to_bytes(4, "big"))
    schemaless_writer(out, schema.plain, record)
    return out.getvalue()


A_REVOCATION = encode({"tokenId": "t", "until": 1}, OURS["revocation"])


@pytest.fixture
def newer_schemas(tmp_path: Path) -> Schemas:
    """Ours, had sites once had neither a time zone nor a limit."""
    older = without_fields(OURS["site"].definition, "timeZone", "recordsPerSecond")
    return schemas_with_older_version("site", older, tmp_path)


def test_what_an_older_release_has_written_has_the_defaults_of_what_it_did_not_know(newer_schemas: Schemas) -> None:
    reader = AvroRecordReader(newer_schemas, "site")
    assert reader.read(encode(SITE, newer_schemas["site"])) == SITE
    older = reader.read(encode(SITE, newer_schemas.versions["site"][1]))
    assert older == {**SITE, "timeZone": "UTC", "recordsPerSecond": 100}


def test_sites_of_an_older_release_stay_known(newer_schemas: Schemas) -> None:
    """F25: their topic keeps what was written before."""
    sites = Sites(newer_schemas)
    sites.apply(b"608", encode(SITE, newer_schemas.versions["site"][1]))
    found = sites.by_api_key("12345")
    assert found is not None
    assert (found.site, found.time_zone, found.records_per_second) == (608, "UTC", 100)


def test_revocations_of_an_older_release_stay_known(tmp_path: Path) -> None:
    """F25: a token must not be good again."""
    newer_schemas = schemas_with_older_version(
        "revocation", without_fields(OURS["revocation"].definition, "clientId"), tmp_path
    )
    revocations = Revocations(newer_schemas)
    fields = {"tokenId": "t", "issuedBefore": None, "until": 60_000_000}
    revocations.apply(b"", encode(fields, newer_schemas.versions["revocation"][1]))
    assert revocations.has_token("t")


@pytest.mark.parametrize("version", [1, 2])
def test_bytes_that_are_no_such_record_are_refused(newer_schemas: Schemas, version: int) -> None:
    reader = AvroRecordReader(newer_schemas, "site")
    value = encode(SITE, newer_schemas.versions["site"][version])
    for end in range(5, len(value)):
        with pytest.raises(ValueError, match="not a record of its schema"):
            reader.read(value[:end])
    with pytest.raises(ValueError, match="left over"):
        reader.read(value + b"\0")


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\0\0\0\0", b"\1\0\0\0\6", encode({"tokenId": "t", "until": 1}, OURS["revocation"])],
    ids=repr,
)
def test_values_of_another_schema_are_refused(newer_schemas: Schemas, value: bytes | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reasons differ
        AvroRecordReader(newer_schemas, "site").read(value)
