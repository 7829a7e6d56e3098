"""Fakes of the validator's ports. All write to one journal, so that tests can assert the order of effects."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.validator.adapters.publisher import KafkaPublisher
from services.validator.adapters.record_reader import SubmittedRecordReader
from services.validator.flow import Deps
from services.validator.wire import Encoder
from tests.sales.samples import CURRENCIES, NOW_US, SITE
from tests.validator.records import SCHEMAS


class Published(NamedTuple):
    """Records that a topic acknowledged."""

    topic: str
    records: int


class Committed(NamedTuple):
    """An offset that the worker returned for committing."""

    partition: int
    offset: int


Journal = list[Published | Committed]


@dataclass
class FakeProducer:
    """Keeps records; raises for the topics in `unavailable`."""

    journal: Journal
    unavailable: set[str] = field(default_factory=set)
    records: dict[str, list[ProducerRecord]] = field(default_factory=dict)

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        batch = list(records)
        if topic in self.unavailable:
            raise UnavailableError("Kafka")
        if batch:
            self.records.setdefault(topic, []).extend(batch)
            self.journal.append(Published(topic, len(batch)))


@dataclass
class FakeDeadLetterSender:
    """Keeps dead letters."""

    journal: Journal
    sent: list[DeadLetter] = field(default_factory=list)

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        batch = list(letters)
        self.sent += batch
        self.journal.append(Published("dead letters", len(batch)))


class FakeCatalogue:
    """The products of one site."""

    def __init__(self, products: AbstractSet[str], site: int = SITE) -> None:
        self._by_site: Mapping[int, AbstractSet[str]] = {site: products}

    def products(self, site: int) -> AbstractSet[str]:
        return self._by_site.get(site, frozenset())


@dataclass
class Harness:
    """Dependencies for judging, and access to what they recorded."""

    journal: Journal
    producer: FakeProducer
    dead_letters: FakeDeadLetterSender
    dead_letter_limit: DeadLetterLimit
    deps: Deps

    def published(self, topic: str) -> Sequence[ProducerRecord]:
        return self.producer.records.get(topic, ())


def a_harness(
    journal: Journal,
    *,
    products: AbstractSet[str] = frozenset({"4556"}),
    max_job_records: int = 1000,
    max_consecutive: int = 3,
) -> Harness:
    producer, dead_letters = FakeProducer(journal), FakeDeadLetterSender(journal)
    dead_letter_limit = DeadLetterLimit(max_consecutive=max_consecutive, window=20, max_ratio=0.5)
    deps = Deps(
        reader=SubmittedRecordReader(SCHEMAS),
        catalogue=FakeCatalogue(products),
        publisher=KafkaPublisher(producer, Encoder(SCHEMAS), dead_letters),
        dead_letter_limit=dead_letter_limit,
        currencies=CURRENCIES,
        max_job_records=max_job_records,
        now_us=lambda: NOW_US,
    )
    return Harness(journal, producer, dead_letters, dead_letter_limit, deps)


class FakeSchemaSource:
    """Records which schemas were requested."""

    def __init__(self, *, is_unavailable: bool = False, **definitions: Any) -> None:
        self.definitions = {int(name.removeprefix("id")): value for name, value in definitions.items()}
        self.is_unavailable = is_unavailable
        self.requested: list[int] = []

    async def definition(self, schema_id: int) -> Mapping[str, Any] | None:
        self.requested.append(schema_id)
        if self.is_unavailable:
            raise UnavailableError("the schema registry")
        return self.definitions.get(schema_id)
