"""Publishes sites and revocations to Kafka."""

from collections.abc import Sequence

from services.auth import metrics, wire
from services.auth.domain.revocation import Revocation
from services.auth.ports import Publisher
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.topics import AUTH_REVOCATIONS, AUTH_SITES
from services.values.sites import Site


class KafkaPublisher(Publisher):
    """Publishes sites and revocations on their compacted topics."""

    def __init__(self, producer: Producer, schemas: Schemas) -> None:
        self._producer = producer
        self._site = schemas["site"]
        self._revocation = schemas["revocation"]

    async def publish_sites(self, sites: Sequence[Site]) -> None:
        if not sites:
            return
        records = [
            ProducerRecord(str(site.site).encode(), encode_record(site.to_fields(), self._site)) for site in sites
        ]
        await self._producer.send_by_key(AUTH_SITES.name, records)
        metrics.SITES_PUBLISHED.inc(len(records))

    async def publish_revocations(self, revocations: Sequence[Revocation]) -> None:
        if not revocations:
            return
        records = [
            ProducerRecord(revocation.key.encode(), wire.encode_revocation(revocation, self._revocation))
            for revocation in revocations
        ]
        await self._producer.send_by_key(AUTH_REVOCATIONS.name, records)
