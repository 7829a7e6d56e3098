"""What an endpoint gets, when, in which order, and what is recorded of it."""

import asyncio
import random
from itertools import pairwise
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.webhooks.domain.circuit import FAILURES_TO_OPEN, MIN_PAUSE_US
from services.webhooks.domain.delivery import DeliveryState, Outcome
from services.webhooks.domain.endpoint import DisabledReason
from services.webhooks.domain.event import EventType
from services.webhooks.domain.health import EndpointHealth
from services.webhooks.domain.retry import RetrySchedule
from services.webhooks.flows.send_events import MAX_UNRECORDED
from tests.chassis.eventually import until
from tests.webhooks.events import NOON_US, an_event, some_events
from tests.webhooks.sender_harness import DAY_US, SECOND_US, Received, SenderHarness, harness

__all__ = ["harness"]

PAUSES_S = [5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]


# Delivery


async def test_a_new_endpoint_gets_a_ping_and_what_happens_from_then_on(harness: SenderHarness) -> None:
    await harness.append(*some_events(3))
    endpoint, _ = await harness.create()
    await harness.append(*some_events(2, 3))
    await harness.run()
    assert [each.event["type"] for each in harness.transport.received] == ["endpoint.ping", *["job.finished"] * 2]
    assert harness.transport.sequences == [4, 5]
    stored = await harness.all_events()
    assert [each.body.decode() for each in harness.transport.received[1:]] == [event.json for event in stored[3:]]
    assert (await harness.find(endpoint.id)).position == 5


async def test_an_endpoint_gets_its_types_only(harness: SenderHarness) -> None:
    await harness.create(types=["invoice.issued"])
    types = [EventType.JOB_FINISHED, EventType.INVOICE_ISSUED]
    await harness.append(*(an_event(n, type_=types[n % 2]) for n in range(6)))
    await harness.run()
    assert harness.transport.sequences == [2, 4, 6]


async def test_what_was_not_recorded_is_sent_again(harness: SenderHarness) -> None:
    """Breaks: the process dies after the answers. Must hold: each event at least once, with the same id."""
    await harness.create()
    await harness.append(*some_events(3))
    sender = await harness.claim()
    assert sender is not None
    await sender.step()
    await sender.settle()
    assert sorted(harness.transport.sequences) == [1, 2, 3]
    await harness.run(restart=True)
    assert sorted(harness.transport.sequences) == [1, 1, 2, 2, 3, 3]
    ids = {(each.sequence, each.headers["webhook-id"]) for each in harness.transport.received if each.sequence}
    assert len(ids) == 3
    await harness.run(restart=True)
    assert len(harness.transport.sequences) == 6


async def test_what_comes_back_while_others_are_recorded_is_recorded_next(harness: SenderHarness) -> None:
    """Breaks: an answer arrives during the write of the ones before. Must hold: it is stored, too."""
    endpoint, _ = await harness.create()
    await harness.run()
    await harness.append(*some_events(2))
    late = harness.transport.answer_late(2, status=200)
    sender = await harness.claim()
    assert sender is not None
    await sender.step()
    await until(lambda: sender._recorder.has_work)
    save = harness.deliveries.save

    async def save_slowly(*arguments: Any, **options: Any) -> None:
        late.set()
        await sender.settle()
        await save(*arguments, **options)

    harness.deliveries.save = save_slowly  # type: ignore[method-assign]
    await sender.record()
    await sender.record()
    assert (await harness.delivery(endpoint.id, 2)).state is DeliveryState.DELIVERED
    assert (await harness.find(endpoint.id)).position == 2


async def test_a_slow_write_holds_up_no_request(harness: SenderHarness) -> None:
    """Breaks: the write of an outcome takes long. Must hold: what is new is sent meanwhile, and nothing twice."""
    endpoint, _ = await harness.create()
    await harness.run()
    sender = await harness.claim()
    assert sender is not None
    written = asyncio.Event()
    save = harness.deliveries.save

    async def save_slowly(*arguments: Any, **options: Any) -> None:
        await written.wait()
        await save(*arguments, **options)

    harness.deliveries.save = save_slowly  # type: ignore[method-assign]
    await harness.append(*some_events(1))
    await sender.step()
    await sender.settle()
    recording = asyncio.create_task(sender.record())
    await harness.append(*some_events(2, 1))
    await sender.step()
    await sender.settle()
    assert harness.transport.sequences == [1, 2, 3]
    written.set()
    await recording
    await harness.run()
    assert harness.transport.sequences == [1, 2, 3]
    assert (await harness.find(endpoint.id)).position == 3


async def test_requests_wait_for_a_write_that_does_not_end(harness: SenderHarness) -> None:
    """A process that dies repeats what it has not recorded: that is bounded."""
    await harness.create()
    await harness.run()
    sender = await harness.claim()
    assert sender is not None
    await harness.append(*some_events(300))
    for _ in range(20):
        await sender.step()
        await sender.settle()
    assert len(harness.transport.sequences) == MAX_UNRECORDED * harness.deps.max_in_flight
    await harness.run()
    assert sorted(harness.transport.sequences) == list(range(1, 301))


@pytest.mark.parametrize("method", ["read", "read_many"])
async def test_a_read_that_fails_is_repeated(harness: SenderHarness, method: str) -> None:
    """Breaks: MongoDB does not answer one read. Must hold: no event waits for the next one's."""
    await harness.create()
    await harness.run()
    await harness.append(*some_events(3))
    if method == "read_many":
        harness.transport.answer = lambda _: 500
        await harness.run()
        harness.transport.answer = lambda _: 200
        harness.transport.received.clear()
        harness.now_us += 10 * SECOND_US
    read = getattr(harness.feed, method)

    async def fail(*_: Any) -> None:
        raise UnavailableError("MongoDB")

    setattr(harness.feed, method, fail)
    sender = await harness.claim()
    assert sender is not None
    with pytest.raises(UnavailableError):
        await sender.step()
    setattr(harness.feed, method, read)
    await harness.run()
    assert sorted(harness.transport.sequences) == [1, 2, 3]


@pytest.mark.parametrize("method", ["save_progress", "disable"])
async def test_a_write_after_the_outcomes_that_fails_is_repeated(harness: SenderHarness, method: str) -> None:
    """Breaks: MongoDB takes the outcomes and then is away. Must hold: the rest waits for no other outcome."""
    endpoint, _ = await harness.create()
    await harness.run()
    harness.transport.answer = lambda _: 410
    await harness.append(an_event(1))
    write = getattr(harness.endpoints, method)

    async def fail(*_: Any, **__: Any) -> None:
        setattr(harness.endpoints, method, write)
        raise UnavailableError("MongoDB")

    setattr(harness.endpoints, method, fail)
    with pytest.raises(UnavailableError):
        await harness.run()
    assert harness.sender is not None
    assert not harness.sender.is_idle
    await harness.run()
    found = await harness.find(endpoint.id)
    assert (found.position, found.reason) == (1, DisabledReason.GONE)


async def test_an_answer_from_before_does_not_disable_an_endpoint_again(harness: SenderHarness) -> None:
    """Breaks: a 410 comes back after the endpoint was disabled and enabled again."""
    endpoint, _ = await harness.create()
    await harness.append(*some_events(2))
    late = harness.transport.answer_late(2, status=410)
    sender = await harness.claim()
    assert sender is not None
    await sender.step()
    await until(lambda: sender._recorder.has_work)
    assert await sender.record() is None
    assert not (await harness.find(endpoint.id)).is_enabled
    await harness.enable(endpoint.id)
    late.set()
    await sender.drain(5)
    assert (await harness.find(endpoint.id)).is_enabled


async def test_requests_to_an_endpoint_are_bounded(harness: SenderHarness) -> None:
    await harness.create()
    await harness.append(*some_events(100))
    in_flight = most = 0

    async def answer(_: Received) -> int:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0)
        in_flight -= 1
        return 200

    harness.transport.answer = answer
    await harness.run()
    assert len(harness.transport.sequences) == 100
    assert 1 < most <= harness.deps.max_in_flight


@pytest.mark.parametrize("status", [200, 201, 204, 299, 199, 301, 302, 304, 400, 404, 429, 500, 503, None])
def test_only_2xx_counts(status: int | None) -> None:
    outcome = Outcome(at_us=NOON_US, latency_ms=15_000, status=status)
    assert outcome.is_success == (status in (200, 201, 204, 299))


# Retries


async def test_the_tries_of_a_delivery(harness: SenderHarness) -> None:
    """At once, and after the documented pauses; then it has failed. All of it on a virtual clock."""
    endpoint, _ = await harness.create()
    await harness.run()
    harness.transport.answer = lambda _: 500
    await harness.append(an_event(1))
    await harness.run_for(4 * DAY_US)
    times = [each.at_us for each in harness.transport.received if each.sequence]
    assert [(after - before) // SECOND_US for before, after in pairwise(times)] == PAUSES_S
    delivery = await harness.delivery(endpoint.id, 1)
    assert (delivery.state, delivery.due_us, len(delivery.tries)) == (DeliveryState.FAILED, None, 11)
    assert {(each.status, each.answer) for each in delivery.tries} == {(500, "answer 500")}


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_pauses_vary_by_a_fifth(chance: float) -> None:
    schedule = RetrySchedule()
    for attempts, pause_s in enumerate(PAUSES_S, 1):
        due_us = schedule.next_try_us(attempts, now_us=0, random=lambda: chance)
        assert due_us == pytest.approx(pause_s * SECOND_US * (0.8 + 0.4 * chance), abs=1)
    assert schedule.next_try_us(11, now_us=0, random=lambda: chance) is None


@pytest.mark.parametrize(("asked_s", "waited_s"), [(1, 5), (30, 30), (86_400, 86_400), (999_999, 86_400)])
async def test_retry_after_is_heeded_up_to_a_day(harness: SenderHarness, asked_s: int, waited_s: int) -> None:
    """For the event, and for everything else that the endpoint is to get."""
    await harness.create()
    await harness.run()
    harness.transport.answer = lambda request: Outcome(
        at_us=request.at_us, latency_ms=1, status=429, retry_after_us=min(asked_s, 86_400) * SECOND_US
    )
    await harness.append(an_event(1))
    await harness.run()
    await harness.append(an_event(2))
    harness.transport.answer = lambda _: 200
    began_us = harness.now_us
    await harness.run_for(2 * DAY_US)
    times = {each.sequence: each.at_us for each in harness.transport.received}
    assert (times[1] - began_us) // SECOND_US == waited_s
    assert (times[2] - began_us) // SECOND_US >= min(asked_s, 86_400)


async def test_pauses_begin_when_a_try_has_ended(harness: SenderHarness) -> None:
    """Breaks: a receiver hangs for 15 s. Must hold: it is left alone for the pause after that."""
    endpoint, _ = await harness.create()
    await harness.run()
    harness.transport.answer = lambda request: Outcome(at_us=request.at_us, latency_ms=15_000, error="timeout")
    await harness.append(an_event(1))
    await harness.run()
    assert (await harness.delivery(endpoint.id, 1)).due_us == harness.now_us + 20 * SECOND_US
    circuit = EndpointHealth(endpoint, min_pause_us=MIN_PAUSE_US)
    for _ in range(FAILURES_TO_OPEN):
        circuit.count(Outcome(at_us=0, latency_ms=15_000, error="timeout"))
    assert circuit.circuit.opens_at_us == 15 * SECOND_US + MIN_PAUSE_US


async def test_an_endpoint_that_keeps_failing_is_asked_once_in_a_while(harness: SenderHarness) -> None:
    """Half-open circuit: events wait, and cost no tries."""
    endpoint, _ = await harness.create()
    harness.transport.answer = lambda _: 503
    await harness.append(*some_events(200))
    await harness.run()
    first_tries = len(harness.transport.received)
    assert first_tries <= 2 * harness.deps.max_in_flight
    await harness.run_for(600 * SECOND_US)
    asked = len(harness.transport.received) - first_tries
    assert 3 <= asked <= 12
    harness.transport.answer = lambda _: 200
    await harness.run_for(3_600 * SECOND_US)
    assert set(harness.transport.sequences) == set(range(1, 201))
    assert (await harness.find(endpoint.id)).failing_since_us is None


# Order


@pytest.mark.parametrize("start", range(3))
async def test_an_ordered_endpoint_gets_events_one_after_the_other(harness: SenderHarness, start: int) -> None:
    """Breaks: three of ten tries fail, and the process dies at times. Must hold: no hole in what was accepted."""
    chance = random.Random(start)  # noqa: S311 - reproducible
    await harness.create(is_ordered=True)
    accepted: list[int] = []
    concurrent = 0

    async def answer(request: Received) -> int:
        nonlocal concurrent
        concurrent += 1
        assert concurrent == 1
        await asyncio.sleep(0)
        concurrent -= 1
        if chance.random() < 0.3:
            return chance.choice([500, 429, 302])
        if request.sequence not in accepted and request.sequence:
            accepted.append(request.sequence)
        return 200

    harness.transport.answer = answer
    for part in range(10):
        await harness.append(*some_events(4, 4 * part))
        await harness.run(restart=chance.random() < 0.5)
        await harness.run_for(60 * SECOND_US)
    await harness.run_for(DAY_US)
    assert accepted == list(range(1, 41))


async def test_an_ordered_endpoint_goes_on_after_the_last_try(harness: SenderHarness) -> None:
    """The hole can be seen, and replayed."""
    endpoint, _ = await harness.create(is_ordered=True)
    harness.transport.answer = lambda request: 500 if request.sequence == 1 else 200
    await harness.append(*some_events(2))
    await harness.run_for(3 * DAY_US)
    assert set(harness.transport.sequences) == {1}
    await harness.run_for(DAY_US)
    assert harness.transport.sequences[-1] == 2
    assert (await harness.delivery(endpoint.id, 1)).state is DeliveryState.FAILED


# Health
