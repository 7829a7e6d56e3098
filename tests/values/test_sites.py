"""The definition of a site, and the contracts that it must match."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from bson.int64 import Int64

from services.values.sites import ApiKey, Site

SCHEMAS = Path(__file__).parents[2] / "schemas"
FIELDS: dict[str, Any] = {
    "site": 608,
    "name": "Demo",
    "appId": 1078,
    "rootSource": "omnichannel-api/qa",
    "datacenter": "qa",
    "timeZone": "Europe/Paris",
    "apiKeys": [{"apiKey": "12345", "channel": "web"}, {"apiKey": "12346", "channel": None}],
    "recordsPerSecond": 7,
    "invoiceEmail": "books@shop.example",
    "invoiceAddress": "1 Market Street\nDemotown",
    "taxId": "DE123456789",
    "reportCurrency": "EUR",
}


def test_json_and_fields_by_wire_names_give_the_same_site() -> None:
    site = msgspec.json.decode(json.dumps(FIELDS), type=Site)
    assert Site.from_fields({**FIELDS, "revision": 3}) == site
    assert json.loads(msgspec.json.encode(site.to_fields())) == FIELDS
    assert site.api_keys == (ApiKey(api_key="12345", channel="web"), ApiKey(api_key="12346"))
    assert (site.default_channel("12345"), site.default_channel("12346")) == ("web", None)


def test_a_site_that_was_stored_before_a_field_existed_can_be_read() -> None:
    stored = {name: value for name, value in FIELDS.items() if name not in ("invoiceAddress", "taxId")}
    site = Site.from_fields(stored)
    assert (site.name, site.invoice_address, site.tax_id) == ("Demo", None, None)
    with pytest.raises(KeyError):
        Site.from_fields({name: value for name, value in FIELDS.items() if name != "appId"})


def test_numbers_of_mongodb_become_plain_integers() -> None:
    site = Site.from_fields({**FIELDS, "site": Int64(2**31), "appId": Int64(2**63 - 1)})
    assert (type(site.site), type(site.app_id)) == (int, int)


def test_the_fields_are_those_of_the_avro_schema_and_of_the_openapi_document() -> None:
    avro = json.loads((SCHEMAS / "site.avsc").read_text())
    document = yaml.safe_load((SCHEMAS / "openapi" / "auth-admin.yaml").read_text())["components"]["schemas"]["Site"]
    required = {field.encode_name for field in msgspec.structs.fields(Site) if field.required}
    assert [field["name"] for field in avro["fields"]] == list(FIELDS)
    assert list(document["properties"]) == list(FIELDS)
    assert set(document["required"]) == required
    assert list(Site.from_fields(FIELDS).to_fields()) == list(FIELDS)


@pytest.mark.parametrize(
    "change",
    [
        {"site": -1},
        {"site": 2**63},
        {"site": "608"},
        {"name": ""},
        {"name": "n" * 129},
        {"invoiceEmail": ""},
        {"invoiceAddress": ""},
        {"invoiceAddress": "a" * 513},
        {"taxId": ""},
        {"reportCurrency": "eur"},
        {"reportCurrency": "EURO"},
        {"taxId": "1" * 129},
        {"recordsPerSecond": 0},
        {"recordsPerSecond": 1_000_001},
        {"apiKeys": [{"apiKey": "a/b"}]},
        {"apiKeys": [{"apiKey": "12345\n"}]},
        {"apiKeys": [{"apiKey": "12345", "channel": ""}]},
        {"apiKeys": [{"apiKey": "12345", "canal": "web"}]},
        {"timezone": "UTC"},
    ],
)
def test_json_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps({**FIELDS, **change}), type=Site)
