import io
from pathlib import Path
from typing import Any

import pytest
from fastavro import schemaless_writer

from services.chassis.avro.schemas import Schemas
from services.chassis.security.sites import Sites
from services.values.sites import ApiKey, Site

SCHEMAS = Schemas.load(Path(__file__).parents[3] / "schemas")
SCHEMA = SCHEMAS["site"]


def record(site: int, *keys: str, channel: str | None = None, **changes: Any) -> tuple[bytes, bytes]:
    fields = {
        "site": site,
        "name": "Demo",
        "appId": 1078,
        "rootSource": "omnichannel-api/qa",
        "datacenter": "qa",
        "timeZone": "UTC",
        "apiKeys": [{"apiKey": key, "channel": channel} for key in keys],
        "recordsPerSecond": 100,
        "invoiceEmail": None,
        "invoiceAddress": None,
        "taxId": None,
        "reportCurrency": "USD",
        **changes,
    }
    body = io.BytesIO()
    schemaless_writer(body, SCHEMA.parsed, fields, strict=True)
    return str(site).encode(), SCHEMA.prefix + body.getvalue()


@pytest.fixture
def sites() -> Sites:
    return Sites(SCHEMAS)


def test_a_site_is_found_by_number_and_by_key(sites: Sites) -> None:
    sites.apply(*record(608, "12345", "12346", channel="web"))
    expected = Site(
        site=608,
        name="Demo",
        app_id=1078,
        root_source="omnichannel-api/qa",
        datacenter="qa",
        api_keys=(ApiKey(api_key="12345", channel="web"), ApiKey(api_key="12346", channel="web")),
    )
    assert sites.get(608) == sites.by_api_key("12345") == sites.by_api_key("12346") == expected
    assert expected.default_channel("12345") == "web"
    assert expected.default_channel("1") is None
    assert sites.get(609) is None
    assert sites.by_api_key("1") is None
    assert list(sites) == [expected]


def test_the_last_record_of_a_site_counts(sites: Sites) -> None:
    sites.apply(*record(608, "12345"))
    sites.apply(*record(608, "54321", name="Renamed"))
    assert sites.by_api_key("12345") is None
    found = sites.by_api_key("54321")
    assert found is not None
    assert found.name == "Renamed"
    assert len(sites) == 1


def test_a_site_that_names_a_key_twice_can_change(sites: Sites) -> None:
    sites.apply(*record(608, "12345", "12345"))
    sites.apply(*record(608, "54321"))
    assert sites.by_api_key("12345") is None
    assert sites.by_api_key("54321") == sites.get(608)


def test_a_record_without_value_removes_the_site(sites: Sites) -> None:
    sites.apply(*record(608, "12345"))
    sites.apply(b"608", None)
    sites.apply(b"609", None)
    assert sites.get(608) is None
    assert sites.by_api_key("12345") is None


def test_a_key_can_move_to_another_site(sites: Sites) -> None:
    sites.apply(*record(608, "12345"))
    sites.apply(*record(608))
    sites.apply(*record(609, "12345"))
    found = sites.by_api_key("12345")
    assert found is not None
    assert found.site == 609


@pytest.mark.parametrize("order", [(608, 609), (609, 608)])
def test_should_two_sites_claim_a_key_all_readers_pick_the_same(sites: Sites, order: tuple[int, int]) -> None:
    for site in order:
        sites.apply(*record(site, "12345"))
    found = sites.by_api_key("12345")
    assert found is not None
    assert found.site == 608
    sites.apply(b"608", None)
    found = sites.by_api_key("12345")
    assert found is not None
    assert found.site == 609


GOOD = record(608, "12345")[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"608", b""),
        (b"608", b"\x01" + GOOD[1:]),
        (b"608", GOOD[:-3]),
        (b"608", GOOD + b"\x00"),
        (b"608", b"\x00\x00\x00\x00\x63" + GOOD[5:]),
        (b"608", GOOD[:5] + b"\xff" * 40),
        (b"six", GOOD),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_record_that_is_no_site_changes_nothing(sites: Sites, key: bytes, value: bytes | None) -> None:
    sites.apply(*record(608, "12345", name="Before"))
    with pytest.raises(ValueError):  # noqa: PT011 - the table counts them alike
        sites.apply(key, value)
    found = sites.get(608)
    assert found is not None
    assert found.name == "Before"
