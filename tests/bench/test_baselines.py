"""Limit programs do the work that nobody can do without: their records are those of the services."""

import gzip
from zoneinfo import ZoneInfo

import pytest

from bench.baselines.avro import decode_ids, encode
from bench.baselines.ingest import _PREFIX, _many, build_job
from bench.tenant import SITE, build_bodies
from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY
from services.ingest.adapters.publisher import KafkaPublisher
from services.ingest.domain.import_job import ImportRequest
from services.ingest.flows.accept import build_job as build_accepted_job
from services.ingest.wire import Encoder
from services.sales.batch import ImportTarget, SiteDefaults
from services.sales.import_request import read_batch
from services.values.time_uuids import time_uuid
from tests.ingest.sent_batches import decode_batch

NOW_US = 1_714_550_400_000_000
SCHEMAS = Schemas.load(REPOSITORY / "schemas")


def a_body(records: int = 100) -> bytes:
    return gzip.decompress(build_bodies(1, size=records)[0])


def test_the_records_of_ingests_baseline_are_those_of_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = time_uuid(NOW_US, clock_seq=1, node=2)
    monkeypatch.setattr("bench.baselines.ingest.uuid4", lambda: job_id)
    monkeypatch.setattr("bench.baselines.ingest.time_ns", lambda: NOW_US * 1000)
    site = SiteDefaults(SITE, ZoneInfo("UTC"), "bench")
    request = ImportRequest(
        client_id="c",
        scopes=frozenset({"orders:write"}),
        target=ImportTarget("orders", None, None),
        site=site,
        records_per_second=1_000_000,
        body=a_body(),
    )
    batch = read_batch(request.body, target=request.target, defaults=site, now_us=NOW_US, currencies=frozenset({"USD"}))
    publisher = KafkaPublisher(None, Encoder(SCHEMAS))  # type: ignore[arg-type]
    expected = decode_batch(publisher._encode_records(build_accepted_job(request, batch, job_id, NOW_US)))
    _, records = build_job(_many(request.body))
    assert [(key, value, tuple(headers)) for key, value, headers in records] == [
        (key, value, tuple(headers)) for key, value, headers in expected
    ]


def test_the_validators_baseline_reads_ingests_records() -> None:
    orders = _many(a_body(records=2))
    job_id, records = build_job(orders)
    for index, (order, (_, value, _)) in enumerate(zip(orders, records, strict=True)):
        products = [line.product_id.encode() for line in order.line_items]
        assert decode_ids(value) == (job_id.encode(), index, order.id.encode(), products)


def test_a_record_begins_with_the_current_schemas_id() -> None:
    assert SCHEMAS["order"].prefix == _PREFIX
    assert encode(("", ""), 0, _many(a_body(records=1))[0])
