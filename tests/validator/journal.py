"""Hand-written fakes that write what they do into one journal."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.kafka.producer import ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.validator.adapters.publisher import KafkaPublisher
from services.validator.flow import World
from services.validator.wire import Encoder, WireReader
from tests.sales.sample import CURRENCIES, NOW_US, SITE
from tests.validator.records import SCHEMAS


class Published(NamedTuple):
    """Records that a topic acknowledged."""

    topic: str
    records: int


class Committed(NamedTuple):
    """An offset that the worker gave up for committing."""

    partition: int
    offset: int


Journal = list[Published | Committed]


@dataclass
class Topics:
    """Takes records as the producer does; away or slow where told to be."""

    journal: Journal
    away: set[str] = field(default_factory=set)
    stored: dict[str, list[ProducerRecord]] = field(default_factory=dict)

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        lot = list(records)
        if topic in self.away:
            raise UnavailableError("Kafka")
        if lot:
            self.stored.setdefault(topic, []).extend(lot)
            self.journal.append(Published(topic, len(lot)))


@dataclass
class Letters:
    """Takes dead letters."""

    journal: Journal
    taken: list[DeadLetter] = field(default_factory=list)

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        lot = list(letters)
        self.taken += lot
        self.journal.append(Published("dead letters", len(lot)))


class Products:
    """A catalogue of one site."""

    def __init__(self, products: AbstractSet[str], site: int = SITE) -> None:
        self._of: Mapping[int, AbstractSet[str]] = {site: products}

    def products_of(self, site: int) -> AbstractSet[str]:
        return self._of.get(site, frozenset())


@dataclass
class Stage:
    """A world for judging, whose ends can be looked at."""

    journal: Journal
    topics: Topics
    letters: Letters
    brake: DeadLetterLimit
    world: World

    def stored(self, topic: str) -> Sequence[ProducerRecord]:
        return self.topics.stored.get(topic, ())


def a_stage(
    journal: Journal, *, products: AbstractSet[str] = frozenset({"4556"}), largest_job: int = 1000, most_in_row: int = 3
) -> Stage:
    topics, letters = Topics(journal), Letters(journal)
    brake = DeadLetterLimit(max_consecutive=most_in_row, window=20, max_ratio=0.5)
    world = World(
        reader=WireReader(SCHEMAS),
        catalogue=Products(products),
        publisher=KafkaPublisher(topics, Encoder(SCHEMAS), letters),
        brake=brake,
        currencies=CURRENCIES,
        largest_job=largest_job,
        now_us=lambda: NOW_US,
    )
    return Stage(journal, topics, letters, brake, world)
