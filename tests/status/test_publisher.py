"""What status tells of jobs that are over."""

from collections.abc import Iterable

from services.chassis.kafka.producer import ProducerRecord
from services.jobs.events import Expired, JobEvent
from services.status.adapters.publisher import KafkaPublisher
from services.status.wire import EventCodec
from tests.jobs.encoded import SCHEMAS
from tests.jobs.events import a_header

AT_US = 1_750_000_000_000_000


class FakeProducer:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[ProducerRecord]]] = []

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        self.sent.append((topic, list(records)))


async def test_every_job_that_is_over_is_told_with_its_key() -> None:
    topics, headers = FakeProducer(), [a_header(), a_header(250, type_="returns"), a_header(mode="online")]
    publisher = KafkaPublisher(topics, EventCodec(SCHEMAS), topic="jobs")  # type: ignore[arg-type]
    await publisher.publish_expired(headers, at_us=AT_US)
    ((topic, records),) = topics.sent
    assert topic == "jobs"
    assert [one.key for one in records] == [f"{h.key.site}|{h.key.job_id}".encode() for h in headers]
    assert [EventCodec(SCHEMAS).decode(one.value) for one in records] == [
        JobEvent(h, AT_US, Expired()) for h in headers
    ]
