"""Sites and revocations to Kafka."""

from collections.abc import Sequence

from services.auth import metrics, wire
from services.auth.domain.revocation import Revocation
from services.auth.domain.site import Site
from services.chassis.avro.schemas import Schema
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.topics import AUTH_REVOCATIONS, AUTH_SITES


class KafkaPublisher:
    """Publishes sites and revocations on their compacted topics."""

    def __init__(self, producer: Producer, *, site: Schema, revocation: Schema) -> None:
        self._producer = producer
        self._site = site
        self._revocation = revocation

    async def publish_sites(self, sites: Sequence[Site]) -> None:
        """Return when all in-sync replicas have the sites. Raises `Away`."""
        if not sites:
            return
        records = [ProducerRecord(wire.site_key(site.site), wire.encode_site(site, self._site)) for site in sites]
        await self._producer.send_by_key(AUTH_SITES.name, records)
        metrics.SITES_PUBLISHED.inc(len(records))

    async def publish_revocations(self, revocations: Sequence[Revocation]) -> None:
        """Return when all in-sync replicas have the revocations. Raises `Away`."""
        if revocations:
            records = [
                ProducerRecord(one.key.encode(), wire.encode_revocation(one, self._revocation)) for one in revocations
            ]
            await self._producer.send_by_key(AUTH_REVOCATIONS.name, records)
