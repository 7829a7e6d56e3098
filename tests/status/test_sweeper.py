"""Jobs without progress expire, and no others."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import GroupCoordinatorNotAvailableError, UnknownTopicOrPartitionError

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.metrics import REGISTRY
from services.chassis.runtime.settings import REPOSITORY, KafkaSettings, MongoSettings
from services.jobs.events import Expired, JobEvent, JobHeader, JobKey
from services.status import app
from services.status.adapters.consumer_progress import KafkaConsumerProgress
from services.status.adapters.job_store import _WRITTEN, MongoJobStore, _in_states
from services.status.adapters.publisher import KafkaPublisher
from services.status.background import Sweeper
from services.status.domain.job import OPEN_STATES
from services.status.flows import apply_events
from services.status.flows.expire_jobs import Deps
from services.status.settings import Settings
from services.status.wire import EventCodec
from tests.chassis.kafka.test_broker_clock import FakeProducer, FakeResponse
from tests.jobs.events import a_header, a_run, expired, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
DEADLINE_S = 900
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1_000_000)


class SweeperHarness:
    """A sweeper whose ports write to one journal."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.overdue: list[JobHeader] = []
        self.has_read = True
        self.failing = ""
        deps = Deps(jobs=self, progress=self, publisher=self, now_us=lambda: NOW_US)
        self.sweeper = Sweeper(deps, deadline_s=DEADLINE_S)

    async def find_overdue(self, before_us: int, *, limit: int) -> Sequence[JobHeader]:
        assert before_us == NOW_US - DEADLINE_S * 1_000_000
        return self.overdue[:limit]

    async def snapshot_end_offsets(self) -> None:
        self._fail("snapshot_end_offsets")
        self.journal.append("marked")

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        self._fail("is_caught_up")
        assert up_to_us == NOW_US - DEADLINE_S * 1_000_000
        self.journal.append("read" if self.has_read else "not read")
        return self.has_read

    async def publish_expired(self, jobs: Sequence[JobHeader], *, at_us: int) -> None:
        self._fail("expire")
        assert at_us == NOW_US
        self.journal.append(f"expired {len(jobs)}")
        self.overdue = self.overdue[len(jobs) :]

    def _fail(self, call: str) -> None:
        if self.failing == call:
            raise UnavailableError("Kafka")


@pytest.fixture
def harness() -> SweeperHarness:
    return SweeperHarness()


async def test_what_stands_still_is_ended_once_all_that_was_there_is_read(harness: SweeperHarness) -> None:
    harness.overdue = [a_header()]
    assert await harness.sweeper.sweep() == 1
    assert harness.journal == ["marked", "read", "expired 1", "marked"]


async def test_nothing_is_ended_while_something_waits_to_be_read(harness: SweeperHarness) -> None:
    harness.overdue, harness.has_read = [a_header()], False
    assert await harness.sweeper.sweep() == 0
    assert await harness.sweeper.sweep() == 0
    assert harness.journal == ["marked", "not read", "not read"]


async def test_kafka_is_not_asked_where_nothing_stands_still(harness: SweeperHarness) -> None:
    assert await harness.sweeper.sweep() == 0
    assert harness.journal == ["marked"]


async def test_many_are_ended_batch_by_batch(harness: SweeperHarness) -> None:
    harness.overdue = [a_header()] * 2_500
    before = REGISTRY.get_sample_value("status_jobs_expired_total") or 0.0
    assert [await harness.sweeper.sweep() for _ in range(4)] == [1_000, 1_000, 500, 0]
    assert REGISTRY.get_sample_value("status_jobs_expired_total") == before + 2_500
    assert harness.journal.count("marked") == 4


@pytest.mark.parametrize("call", ["snapshot_end_offsets", "is_caught_up", "expire"])
async def test_while_kafka_is_away_nothing_is_ended_and_later_it_is(harness: SweeperHarness, call: str) -> None:
    harness.overdue, harness.failing = [a_header()], call
    with pytest.raises(UnavailableError):
        await harness.sweeper.sweep()
    harness.failing = ""
    assert await harness.sweeper.sweep() == 1
    assert [line for line in harness.journal if line.startswith("expired")] == ["expired 1"]


async def test_the_store_knows_who_stands_still(mongodb_uri: str) -> None:
    """Only open jobs that were last written before that time, the oldest write first."""
    database = f"t{uuid4().hex[:12]}"
    mongo = Mongo.connect(MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=database), retry_writes=False)
    clock = [NOW]
    jobs = MongoJobStore(mongo, now=lambda: clock[0])
    deps = apply_events.Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    old, older, young, done, large = (a_header(n, key=JobKey(608, str(uuid4()))) for n in (2, 3, 4, 1, 600))
    try:
        await jobs.create_indexes(retention_days=20_000)
        for header, age_s in ((older, 30), (old, 20), (large, 15), (young, 1)):
            clock[0] = NOW - timedelta(seconds=age_s)
            await apply_events.apply_events([opened(header), judged(a_run("S"), header)], deps)
        clock[0] = NOW - timedelta(seconds=40)
        await apply_events.apply_events([opened(done), judged(a_run("S"), done)], deps)
        before_us = NOW_US - 10_000_000
        assert await jobs.find_overdue(before_us, limit=10) == [older, old, large]
        assert await jobs.find_overdue(before_us, limit=1) == [older]
        clock[0] = NOW
        await apply_events.apply_events([expired(older), expired(large)], deps)
        assert await jobs.find_overdue(before_us, limit=10) == [old]
        where = _in_states(OPEN_STATES, [608]) | {_WRITTEN: {"$lt": NOW - timedelta(seconds=10)}}
        plan = await jobs._jobs.find(where).sort(_WRITTEN, 1).explain()
        assert plan["executionStats"]["totalDocsExamined"] == 1, "the others are told apart by the index"
    finally:
        await mongo.client.drop_database(database)
        await mongo.close()


class Expiries:
    """Everything is consumed; records which jobs expire."""

    def __init__(self) -> None:
        self.expired: list[JobHeader] = []

    async def snapshot_end_offsets(self) -> None:
        """Do nothing."""

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        return up_to_us > 0

    async def publish_expired(self, jobs: Sequence[JobHeader], *, at_us: int) -> None:
        assert at_us > 0
        self.expired += jobs


async def test_jumps_of_the_local_clock_expire_nothing_and_time_that_passes_does(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F20: fifty minutes ahead, three hours behind, and right again. The parts are those that the service builds."""
    built: dict[str, Any] = {}
    for name in ("BrokerClock", "MongoJobStore", "Sweeper"):
        monkeypatch.setattr(app, name, _recording(getattr(app, name), built))
    database = f"t{uuid4().hex[:12]}"
    settings = Settings(
        auth_jwks_url="http://127.0.0.1:1/keys", mongodb_uri=mongodb_uri, mongodb_database=database, job_deadline_s=900
    )
    service = await app.build(settings)
    (mongo,) = (part for part in service.components if isinstance(part, Mongo))
    clock, jobs, sweeper, expiries = built["BrokerClock"], built["MongoJobStore"], built["Sweeper"], Expiries()
    sweeper._deps = replace(sweeper._deps, progress=expiries, publisher=expiries)
    start_s = time.time()
    local_s, monotonic_s = [start_s], [0.0]
    monkeypatch.setattr(time, "time", lambda: local_s[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(local_s[0] * 1e9))
    clock._clock_s, clock._monotonic_s = (lambda: local_s[0]), (lambda: monotonic_s[0])
    clock._producer = FakeProducer(FakeResponse(leader_time_s=start_s))
    deps = apply_events.Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    first, second = (a_header(n, key=JobKey(608, str(uuid4()))) for n in (2, 600))
    try:
        await jobs.create_indexes(retention_days=20_000)
        await clock.measure()
        await apply_events.apply_events([opened(first), judged(a_run("S"), first)], deps)
        local_s[0] += 50 * 60
        assert await sweeper.sweep() == 0
        local_s[0] -= 3 * 3_600
        await apply_events.apply_events([opened(second), judged(a_run("S"), second)], deps)
        local_s[0] = start_s + 16
        monotonic_s[0] = 16.0
        assert await sweeper.sweep() == 0
        monotonic_s[0] = 901.0
        assert await sweeper.sweep() == 2
        assert set(expiries.expired) == {first, second}
    finally:
        await mongo.client.drop_database(database)
        await mongo.close()


def _recording(build: Callable[..., Any], built: dict[str, Any]) -> Callable[..., Any]:
    def build_and_record(*args: Any, **options: Any) -> Any:
        made = built[build.__name__] = build(*args, **options)
        return made

    return build_and_record


async def asked(backlog: KafkaConsumerProgress, up_to_us: int) -> bool:
    """Retry until the brokers answer: a group gets its coordinator with the first query."""
    async with asyncio.timeout(30):
        while True:
            with suppress(UnavailableError):
                return await backlog.is_caught_up(up_to_us=up_to_us)
            await asyncio.sleep(0.05)


async def test_brokers_know_what_is_read(kafka_bootstrap: str) -> None:
    """By committed offsets of both groups: none, some, all; an old record that waits counts, a young one does not."""
    name = uuid4().hex[:8]
    jobs, orders, group, before = (f"{name}.{part}" for part in ("jobs", "orders", "status", "validator"))
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(jobs, 2, 1), NewTopic(orders, 2, 1)])
    producer = Producer(settings, client_id="test")
    await producer.start()
    backlog = KafkaConsumerProgress(settings, own=(group, jobs), upstream=(before, [orders]), client_id="test")
    future_us, past_us = NOW_US * 2, (time.time_ns() - 60_000_000_000) // 1_000
    try:
        await producer.wait_ready(30)
        ending = KafkaPublisher(producer, EventCodec(SCHEMAS), topic=jobs)
        header = a_header()
        await ending.publish_expired([header], at_us=NOW_US)
        assert not await asked(backlog, past_us), "there is no mark yet"
        await backlog.snapshot_end_offsets()
        assert not await asked(backlog, past_us), "status has read nothing"
        async with AIOKafkaConsumer(
            bootstrap_servers=kafka_bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
        ) as kafka:
            kafka.subscribe([jobs])
            record = await kafka.getone()
            assert record.key == f"608|{header.key.job_id}".encode()
            assert EventCodec(SCHEMAS).decode(record.value) == JobEvent(header, NOW_US, Expired())
            await kafka.commit({TopicPartition(jobs, record.partition): record.offset + 1})
        assert await asked(backlog, future_us), "all is read, and nothing was ever submitted"
        await producer.send_batch(orders, 1, [ProducerRecord(b"k", b"v")])
        assert await asked(backlog, past_us), "what waits is younger"
        assert not await asked(backlog, future_us), "what waits is older"
        async with AIOKafkaConsumer(
            bootstrap_servers=kafka_bootstrap, group_id=before, enable_auto_commit=False
        ) as kafka:
            kafka.assign([TopicPartition(orders, 1)])
            await kafka.commit({TopicPartition(orders, 1): 1})
        assert await asked(backlog, future_us), "nothing waits"
        await producer.send_batch(orders, 1, [ProducerRecord(b"k", b"v")] * 3)
        for begin, is_read in ((3, False), (4, True)):
            await admin.delete_records({TopicPartition(orders, 1): RecordsToDelete(before_offset=begin)})
            assert await asked(backlog, future_us) is is_read, "what retention took is nothing that waits"
    finally:
        await admin.close()
        await producer.stop()


async def test_of_a_topic_that_brokers_do_not_know_nothing_is_said(kafka_bootstrap: str) -> None:
    """A broker that does not know a topic yet: taking it for empty would expire jobs too early."""
    name = uuid4().hex[:8]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{name}.jobs", 1, 1)])
    await admin.close()
    settings = KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap)
    unmarked = KafkaConsumerProgress(
        settings, own=(name, f"{name}.none"), upstream=(name, [f"{name}.jobs"]), client_id="test"
    )
    with pytest.raises(UnavailableError):
        await unmarked.snapshot_end_offsets()
    backlog = KafkaConsumerProgress(
        settings, own=(name, f"{name}.jobs"), upstream=(name, [f"{name}.none"]), client_id="test"
    )
    await backlog.snapshot_end_offsets()
    async with asyncio.timeout(30):
        while not isinstance(refused := await refusal(backlog), UnknownTopicOrPartitionError):
            assert isinstance(refused, GroupCoordinatorNotAvailableError), "the group is new to the brokers"
            await asyncio.sleep(0.05)


async def refusal(backlog: KafkaConsumerProgress) -> BaseException | None:
    with pytest.raises(UnavailableError) as away:
        await backlog.is_caught_up(up_to_us=NOW_US)
    return away.value.__cause__


async def test_the_mark_of_a_transaction_is_nothing_that_waits(kafka_bootstrap: str) -> None:
    """Other teams' producers may write in transactions: each ends with an offset that no consumer reads or commits."""
    name = uuid4().hex[:8]
    jobs, orders, group, before = (f"{name}.{part}" for part in ("jobs", "orders", "status", "validator"))
    place = TopicPartition(orders, 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(jobs, 1, 1), NewTopic(orders, 2, 1)])
    await admin.close()
    backlog = KafkaConsumerProgress(
        KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap),
        own=(group, jobs),
        upstream=(before, [orders]),
        client_id="test",
    )
    await backlog.snapshot_end_offsets()
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=name) as producer,
        AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=before, enable_auto_commit=False) as kafka,
    ):
        kafka.assign([place])
        for read_to in (1, 3):
            async with producer.transaction():
                await producer.send(orders, b"v", partition=place.partition)
            assert not await asked(backlog, NOW_US * 2), "a record waits"
            await kafka.commit({place: read_to})
            assert await asked(backlog, NOW_US * 2), "nothing waits but the mark"
        await producer.begin_transaction()
        await producer.send_and_wait(orders, b"v", partition=place.partition)
        assert not await asked(backlog, NOW_US * 2), "a record waits for its transaction to end"
        await producer.abort_transaction()
        assert await asked(backlog, NOW_US * 2), "what was taken back does not wait"
