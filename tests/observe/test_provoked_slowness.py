"""Slow but available dependencies: which panels show them, and the effect of another replica."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid1

import psutil
import pytest
from confluent_kafka import Producer

from sandbox.ports import free_port
from sandbox.probes import http_status
from tests.chassis.eventually import until
from tests.e2e.confluent_producer import serialize_orders
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation
from tests.observe.alert_watch import AlertWatch, background_orders
from tests.observe.releases import python_process, wait_ready

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ORDERS, PARTITIONS = "orders.submitted.v1", 12
BACKLOG = 200_000


@asynccontextmanager
async def slowed_down(pid: int, *, frozen_s: float, running_s: float) -> AsyncIterator[None]:
    """While inside, stop the process most of the time, as if it lacked CPU or waited for its disk."""
    process = psutil.Process(pid)

    async def stop_and_continue() -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(frozen_s)
                process.send_signal(signal.SIGCONT)
                await asyncio.sleep(running_s)

    task = asyncio.create_task(stop_and_continue())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


async def status_of(broken: Installation, name: str) -> int | None:
    """Return the status of a service's `/ready`."""
    return await asyncio.to_thread(http_status, broken.endpoints["services"][name]["operations"] + "/ready")


async def test_a_mongodb_that_takes_its_time(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Status lags, stays ready, and needs long for a poll; Kafka is as fast as always."""
    async with background_orders(customer):
        async with slowed_down(broken.status()["mongodb"]["pid"], frozen_s=4, running_s=0.2):
            await watch.wait_for_panel("pipeline: Time until visible", predicate=lambda s: s > 1)
            await watch.wait_for_panel(
                "pipeline: Poll duration, 99th percentile", predicate=lambda s: s > 1, group="status"
            )
            await watch.wait_for_panel("pipeline: Lag in seconds", predicate=lambda s: s > 1, group="status")
            quick = "pipeline: Produce latency, 99th percentile"
            await watch.wait_for_panel(quick, predicate=lambda s: s < 0.5, topic=ORDERS)
            assert await status_of(broken, "status") == 200
        await watch.wait_for('max(consumer_lag_seconds{group="status"}) < 1')


async def test_a_kafka_that_takes_its_time(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Acknowledgements are slow, and with them the validator's polls, which wait for one."""
    async with background_orders(customer):
        async with slowed_down(broken.status()["kafka"]["pid"], frozen_s=0.6, running_s=0.03):
            await watch.wait_for_panel("pipeline: Time until visible", predicate=lambda s: s > 1)
            behind = "pipeline: Produce latency, 99th percentile"
            await watch.wait_for_panel(behind, predicate=lambda s: s > 0.5, topic="jobs.events.v1")
            await watch.wait_for_panel(
                "pipeline: Poll duration, 99th percentile", predicate=lambda s: s > 0.5, group="validator"
            )
            assert await status_of(broken, "ingest") == 200
        await watch.wait_for("max(consumer_lag_seconds) < 1")


async def test_another_replica(broken: Installation, watch: AlertWatch, tmp_path: Path) -> None:
    """Two replicas short of CPU: the second gets half of the partitions, and half of the work."""
    environment, port = broken.environment_of("validator"), free_port()
    del environment["KAFKA_GROUP_INSTANCE_ID"]
    environment |= {"OPERATIONS_PORT": str(port), "HTTP_PORT": str(free_port())}
    await asyncio.to_thread(broken.run, "stop", "validator")
    await asyncio.to_thread(produce_backlog, broken)
    await asyncio.to_thread(broken.run, "start", "validator")
    first = broken.endpoints["services"]["validator"]["operations"]
    async with slowed_down(broken.status()["validator"]["pid"], frozen_s=0.09, running_s=0.01):
        await watch.wait_for_panel("pipeline: Lag in seconds", predicate=lambda s: s > 5, group="validator")
        with python_process(environment, tmp_path / "log", "-m", "services.validator") as second:
            await wait_ready(f"http://127.0.0.1:{port}")
            async with slowed_down(second.running.pid, frozen_s=0.09, running_s=0.01):
                second_url = f"http://127.0.0.1:{port}"
                await until(lambda: have_partitions(6, first, second_url), deadline_s=60)
                await until(lambda: has_processed(second_url), deadline_s=60)
        # After an orderly shutdown its partitions are reassigned at once.
        await until(lambda: have_partitions(12, first), deadline_s=30)
    await watch.wait_for('sum(consumer_lag_records{group="validator"}) == 0')


def produce_backlog(installation: Installation) -> None:
    """Produce orders without a job, the same hundred repeatedly, to all partitions."""
    failures: Counter[str] = Counter()
    producer = Producer({"bootstrap.servers": installation.endpoints["kafka_bootstrap_servers"], "linger.ms": 20})
    values = serialize_orders(installation, str(uuid1()), [{"job": None}] * 100)
    for number in range(BACKLOG):
        producer.produce(
            ORDERS,
            value=values[number % len(values)],
            partition=number % PARTITIONS,
            on_delivery=lambda error, _: failures.update([str(error)] if error else []),
        )
        if number % 10_000 == 0:
            producer.flush(30)
    assert producer.flush(30) == 0
    assert not failures


async def have_partitions(count: int, *validators: str) -> bool:
    """Whether each validator has `count` partitions of orders."""
    return all([len(await metric_values(each, "consumer_lag_records")) == count for each in validators])


async def has_processed(validator: str) -> bool:
    return sum(await metric_values(validator, "consumer_records_total")) > 0


async def metric_values(operations: str, metric: str) -> list[float]:
    """Return the values of a process' metric for the topic of orders."""

    def read() -> list[float]:
        with urlopen(f"{operations}/metrics", timeout=10) as response:  # noqa: S310 - the sandbox's own address
            lines = response.read().decode().splitlines()
        samples = [line for line in lines if line.startswith(metric + "{") and f'topic="{ORDERS}"' in line]
        return [float(line.rpartition(" ")[2]) for line in samples]

    return await asyncio.to_thread(read)
