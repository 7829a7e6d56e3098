"""Publishing sites and revocations."""

from collections.abc import Sequence
from pathlib import Path

from services.auth import metrics
from services.auth.adapters.publisher import KafkaPublisher
from services.auth.domain.revocation import CLOCK_TOLERANCE_S, client_revocation, token_id_revocation
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from tests.auth.test_stores import SITE

SCHEMAS = Schemas.load(Path(__file__).parents[2] / "schemas")
NOW = 1_700_000_000.25


class FakeProducer:
    """Records what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Sequence[ProducerRecord]]] = []

    async def send_by_key(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        self.sent.append((topic, records))


def a_publisher(producer: FakeProducer) -> KafkaPublisher:
    return KafkaPublisher(producer, SCHEMAS)  # type: ignore[arg-type]


async def test_sites_are_published_and_counted_as_others_read_them() -> None:
    producer, before = FakeProducer(), metrics.SITES_PUBLISHED._value.get()
    await a_publisher(producer).publish_sites([])
    await a_publisher(producer).publish_sites([SITE, SITE])
    ((topic, records),) = producer.sent
    sites = Sites(SCHEMAS)
    for record in records:
        sites.apply(record.key or b"", record.value)
    found = sites.by_api_key("12346")
    assert (topic, [record.key for record in records]) == ("auth.sites.v1", [b"608", b"608"])
    assert found is not None
    assert (found.site, found.invoice_email, found.default_channel("12345")) == (608, SITE.invoice_email, "web")
    assert metrics.SITES_PUBLISHED._value.get() - before == 2


async def test_revocations_are_published_as_others_read_them() -> None:
    producer = FakeProducer()
    await a_publisher(producer).publish_revocations([])
    await a_publisher(producer).publish_revocations(
        [client_revocation("c|1", now=NOW), token_id_revocation("t", now=NOW)]
    )
    ((topic, records),) = producer.sent
    revocations = Revocations(SCHEMAS)
    for record in records:
        revocations.apply(record.key or b"", record.value)
    assert (topic, [record.key for record in records]) == ("auth.revocations.v1", [b"c%7C1", b"t"])
    assert revocations.issued_before("c|1") == NOW + CLOCK_TOLERANCE_S
    assert revocations.has_token("t")
