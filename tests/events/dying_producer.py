"""A producer that fails as if its process had died."""

from collections.abc import Sequence

from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError


class DyingProducer(Producer):
    """A producer whose process dies after N sends, before or right after the next one."""

    sends_before_death: int | None = None
    dies_after_send: bool = False

    async def send_to(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        if self.sends_before_death is None:
            await super().send_to(topic, partition, records)
            return
        self.sends_before_death -= 1
        if self.sends_before_death >= 0 or (self.sends_before_death == -1 and self.dies_after_send):
            await super().send_to(topic, partition, records)
        if self.sends_before_death < 0:
            raise UnavailableError("Kafka")
