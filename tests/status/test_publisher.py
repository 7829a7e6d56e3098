"""What status tells of jobs that are over."""

from collections.abc import Iterable

from services.chassis.kafka.producer import ProducerRecord
from services.status.adapters.publisher import KafkaPublisher
from services.status.avro import EventReader, EventWriter
from services.status.domain.facts import Expired, JobEvent
from tests.status.encoded import SCHEMAS
from tests.status.events import a_header

AT_US = 1_750_000_000_000_000


class Topics:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[ProducerRecord]]] = []

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        self.sent.append((topic, list(records)))


async def test_every_job_that_is_over_is_told_with_its_key() -> None:
    topics, headers = Topics(), [a_header(), a_header(250, type_="returns"), a_header(mode="online")]
    publisher = KafkaPublisher(topics, EventWriter(SCHEMAS), topic="jobs")  # type: ignore[arg-type]
    await publisher.publish_expired(headers, at_us=AT_US)
    ((topic, told),) = topics.sent
    assert topic == "jobs"
    assert [one.key for one in told] == [f"{h.key.site}|{h.key.job_id}".encode() for h in headers]
    assert [EventReader(SCHEMAS).read(one.value) for one in told] == [JobEvent(h, AT_US, Expired()) for h in headers]
