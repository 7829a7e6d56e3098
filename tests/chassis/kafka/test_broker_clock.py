"""The local clock is compared with the brokers', at once when it jumps, and without the brokers as well."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion
from structlog.testing import capture_logs

from sandbox.kafka import KafkaCluster
from services.chassis.kafka.broker_clock import INTERVAL_S, RETRY_S, BrokerClock, measure_broker_clock
from services.chassis.kafka.producer import Producer
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.kafka.kafka_fixtures import a_name, frozen_broker, kill_broker, make_topics, restart_broker, settings

MAX_OFFSET_S = 30.0


class AdjustableClock:
    """The local clock, set wrong by `offset_s`."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s

    def __call__(self) -> float:
        return time.time() + self.offset_s


class FakeProducer:
    """Returns or raises the prepared outcome."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    async def request(self, _request: object) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class FakeResponse:
    """A response of the quorum, whose leader is 2."""

    def __init__(self, *, error_code: int = 0, partition_error: int = 0, leader_time_s: float = 0.0) -> None:
        voters = [
            {"replica_id": replica, "last_fetch_timestamp": int(at_s * 1000)}
            for replica, at_s in ((1, leader_time_s - 77), (2, leader_time_s))
        ]
        partition = {"error_code": partition_error, "leader_id": 2, "current_voters": voters}
        topics = [] if error_code else [{"partitions": [partition]}]
        self._fields = {"error_code": error_code, "topics": topics}

    def to_object(self) -> dict[str, Any]:
        return self._fields


def a_clock(producer: object, **options: Any) -> BrokerClock:
    return BrokerClock(producer, max_offset_s=MAX_OFFSET_S, **options)  # type: ignore[arg-type]


def offset_metric() -> float:
    value = metrics.REGISTRY.get_sample_value("clock_offset_seconds")
    assert value is not None
    return value


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[Producer]:
    async with Producer(settings(kafka_bootstrap), client_id="test") as producer:
        await producer.wait_ready(30)
        yield producer


@pytest.mark.parametrize("offset_s", [0.0, -29.0, 29.0])
async def test_a_clock_within_the_maximum_is_ready_and_its_offset_is_measured(
    producer: Producer, offset_s: float
) -> None:
    clock = a_clock(producer, clock_s=AdjustableClock(offset_s))
    assert (clock.ready, clock.is_wrong, clock.offset_s) == (False, False, None)
    assert math.isnan(offset_metric())
    await clock.run_once()
    assert clock.ready
    assert clock.offset_s == pytest.approx(offset_s, abs=0.5)
    assert offset_metric() == pytest.approx(offset_s, abs=0.5)


@pytest.mark.parametrize("offset_s", [-600.0, -31.0, 31.0, 3 * 3_600.0])
async def test_a_clock_beyond_the_maximum_is_not_ready_and_logged_once(producer: Producer, offset_s: float) -> None:
    clock = a_clock(producer, clock_s=AdjustableClock(offset_s))
    with capture_logs() as lines:
        for _ in range(2):
            await clock.run_once()
    assert (clock.ready, clock.is_wrong) == (False, True)
    assert [(line["event"], round(line["offset_s"])) for line in lines] == [("local clock is wrong", offset_s)]
    assert clock.now_us() / 1e6 == pytest.approx(time.time(), abs=0.5)


async def test_a_jump_shows_at_once_although_no_broker_answers(own_kafka: KafkaCluster) -> None:
    local = AdjustableClock()
    async with Producer(settings(own_kafka.bootstrap_servers), client_id="test") as producer:
        await producer.wait_ready(30)
        clock = a_clock(producer, clock_s=local)
        await clock.run_once()
        await kill_broker(own_kafka)
        await clock.run_once()
        readiness = [clock.ready]
        local.offset_s = 50 * 60
        readiness.append(clock.ready)
        assert offset_metric() == pytest.approx(50 * 60, abs=0.5)
        local.offset_s = 0
        readiness.append(clock.ready)
        assert readiness == [True, False, True]
        await restart_broker(own_kafka)


async def test_the_request_waits_for_no_batch_and_no_batch_for_it(own_kafka: KafkaCluster) -> None:
    """A frozen broker answers neither; both end in time and both work again."""
    topic = a_name("clock")
    await make_topics(own_kafka.bootstrap_servers, {topic: 1})
    async with Producer(settings(own_kafka.bootstrap_servers, kafka_send_timeout_s=1.0), client_id="test") as producer:
        await producer.wait_ready(30)
        clock = a_clock(producer)
        async with frozen_broker(own_kafka.brokers[0]), asyncio.timeout(5):
            assert await clock.run_once() == RETRY_S
        assert not clock.ready
        async with asyncio.timeout(30):
            while not clock.ready:
                await producer.wait_ready(10)
                await clock.run_once()


async def test_the_time_is_the_leaders() -> None:
    clock = a_clock(FakeProducer(FakeResponse(leader_time_s=1_000.0)), clock_s=lambda: 1_000.0, monotonic_s=lambda: 5.0)
    await clock.run_once()
    assert (clock.offset_s, clock.now_us()) == (0.0, 1_000_000_000)


async def test_a_response_that_was_long_underway_is_not_used() -> None:
    readings = iter([0.0, MAX_OFFSET_S / 2 + 0.1])
    clock = a_clock(FakeProducer(FakeResponse(leader_time_s=1_000.0)), monotonic_s=lambda: next(readings))
    await clock.run_once()
    assert (clock.ready, clock.offset_s) == (False, None)


@pytest.mark.parametrize(
    "outcome", [UnavailableError("Kafka"), FakeResponse(error_code=7), FakeResponse(partition_error=6)]
)
async def test_a_failure_leaves_the_last_measurement(outcome: object) -> None:
    producer = FakeProducer(FakeResponse(leader_time_s=time.time()))
    clock = a_clock(producer)
    await clock.run_once()
    producer.outcome = outcome
    assert await clock.run_once() == INTERVAL_S
    assert clock.ready
    assert clock.offset_s == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(
    "outcome", [IncompatibleBrokerVersion("unknown"), NotImplementedError("version 0"), FakeResponse(error_code=31)]
)
async def test_brokers_that_do_not_report_their_time_stop_no_service(outcome: object) -> None:
    clock = a_clock(FakeProducer(outcome), clock_s=lambda: 7.0)
    with capture_logs() as lines:
        for _ in range(2):
            await clock.run_once()
    assert [line["log_level"] for line in lines] == ["warning"]
    assert clock.ready
    assert (clock.offset_s, clock.now_us()) == (None, 7_000_000)
    assert math.isnan(offset_metric())
    assert metrics.REGISTRY.get_sample_value("clock_unchecked") == 1


async def test_a_right_that_is_granted_later_lets_the_clock_be_checked(producer: Producer) -> None:
    clock = a_clock(FakeProducer(FakeResponse(error_code=31)), clock_s=AdjustableClock(-600.0))
    with capture_logs() as lines:
        await clock.run_once()
    assert lines[0]["reason"] == "they deny the operation DESCRIBE on the cluster"
    clock._producer = producer
    await clock.run_once()
    assert clock.is_wrong
    assert metrics.REGISTRY.get_sample_value("clock_unchecked") == 0


async def test_a_command_measures_until_a_round_trip_was_short() -> None:
    producer = FakeProducer(UnavailableError("Kafka"))
    with pytest.raises(UnavailableError):
        await measure_broker_clock(producer)  # type: ignore[arg-type]
    producer.outcome = FakeResponse(leader_time_s=time.time() - 600)
    clock = await measure_broker_clock(producer)  # type: ignore[arg-type]
    assert clock.now_s() == pytest.approx(time.time() - 600, abs=0.5)
