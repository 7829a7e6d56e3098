"""Endpoints are disabled, and recover."""

from services.webhooks.domain.endpoint import DisabledReason
from services.webhooks.domain.replay import ReplayState
from tests.webhooks.events import an_event, some_events
from tests.webhooks.sender_harness import DAY_US, SenderHarness, harness

__all__ = ["harness"]


async def test_410_disables_at_once(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    harness.transport.answer = lambda _: 410
    await harness.append(an_event(1))
    assert await harness.run() is None
    found = await harness.find(endpoint.id)
    assert (found.is_enabled, found.reason) == (False, DisabledReason.GONE)
    assert await harness.relay() == 1
    assert [event.type for event in await harness.all_events()] == ["job.finished", "endpoint.disabled"]


async def test_disabled_after_five_failing_days_recovered_and_replayed(harness: SenderHarness) -> None:
    """Nothing is missing: not what failed, not what came while it was disabled."""
    endpoint, _ = await harness.create()
    await harness.append(an_event(0))
    await harness.run()
    began_us = harness.now_us
    harness.transport.answer = lambda _: 500
    number = 0
    while (await harness.find(endpoint.id)).is_enabled:
        number += 1
        await harness.append(an_event(number))
        await harness.run_for(DAY_US // 2)
    disabled = await harness.find(endpoint.id)
    assert disabled.disabled_us is not None
    assert 5 * DAY_US <= disabled.disabled_us - began_us <= 5.6 * DAY_US
    assert disabled.reason is DisabledReason.FAILING
    mails = [message.message for message in await harness.outbox.due("mail")]
    assert len(mails) == 1
    await harness.relay()
    await harness.append(*some_events(5, 1_000))
    assert await harness.run() is None
    harness.transport.answer = lambda _: 200
    harness.transport.received.clear()
    await harness.enable(endpoint.id)
    await harness.relay()
    await harness.append(an_event(2_000))
    replay = await harness.replay(endpoint.id, start=1, only_failed=True)
    await harness.run_for(DAY_US)
    stored = await harness.all_events()
    assert {"endpoint.disabled", "endpoint.recovered"} <= {event.type for event in stored}
    assert set(harness.transport.sequences) == {event.sequence for event in stored} - {1}
    done = await harness.replays.find(endpoint.id, replay.id)
    assert done is not None
    assert done.state is ReplayState.FINISHED
    assert done.position == done.end


async def test_a_success_begins_the_five_days_again(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    for number in range(9):
        harness.transport.answer = (lambda _: 200) if number % 4 == 0 else (lambda _: 500)
        await harness.append(an_event(number))
        await harness.run_for(DAY_US)
    assert (await harness.find(endpoint.id)).is_enabled
