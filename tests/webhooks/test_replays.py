"""Events that are sent again: which, what is counted, and what else happens meanwhile."""

import pytest

from services.webhooks.domain.delivery import DeliveryState
from services.webhooks.domain.replay import ReplayState
from services.webhooks.flows import manage_endpoints
from tests.webhooks.events import an_event, some_events
from tests.webhooks.sender_harness import DAY_US, SECOND_US, SenderHarness, harness

__all__ = ["harness"]


@pytest.mark.parametrize(
    ("start", "only_failed", "sequences", "counts"),
    [(0, False, [1, 2, 3, 4, 5, 6], (6, 0, 0)), (2, False, [3, 4, 5, 6], (4, 0, 0)), (0, True, [2, 4], (2, 0, 4))],
)
async def test_events_are_sent_again(
    harness: SenderHarness, start: int, *, only_failed: bool, sequences: list[int], counts: tuple[int, int, int]
) -> None:
    endpoint, _ = await harness.create()
    harness.transport.answer = lambda request: 500 if request.sequence in (2, 4) else 200
    await harness.append(*some_events(6))
    await harness.run()
    harness.transport.answer = lambda _: 200
    harness.transport.received.clear()
    replay = await harness.replay(endpoint.id, start=start, only_failed=only_failed)
    await harness.run()
    assert sorted(harness.transport.sequences) == sequences
    found = await harness.replays.find(endpoint.id, replay.id)
    assert found is not None
    assert (found.sent, found.failed, found.skipped) == counts
    assert (found.state, found.position) == (ReplayState.FINISHED, 6)


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_a_replay_of_nothing_finishes(harness: SenderHarness, *, is_ordered: bool) -> None:
    """It holds up nothing that comes later, not even of an ordered endpoint."""
    endpoint, _ = await harness.create(is_ordered=is_ordered)
    await harness.append(*some_events(3))
    await harness.run()
    replay = await harness.replay(endpoint.id, start=3)
    await harness.run()
    found = await harness.replays.find(endpoint.id, replay.id)
    assert found is not None
    assert (found.state, found.sent) == (ReplayState.FINISHED, 0)
    await harness.append(an_event(9))
    await harness.run()
    assert harness.transport.sequences[-1] == 4


@pytest.mark.parametrize("is_ordered", [False, True])
async def test_a_replay_of_which_all_was_delivered_finishes(harness: SenderHarness, *, is_ordered: bool) -> None:
    endpoint, _ = await harness.create(is_ordered=is_ordered)
    await harness.append(*some_events(3))
    await harness.run()
    replay = await harness.replay(endpoint.id, only_failed=True)
    await harness.append(an_event(9))
    await harness.run()
    found = await harness.replays.find(endpoint.id, replay.id)
    assert found is not None
    assert (found.state, found.sent, found.skipped) == (ReplayState.FINISHED, 0, 3)
    assert harness.transport.sequences[-1] == 4


async def test_a_replay_continues_after_a_crash(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    await harness.append(*some_events(250))
    await harness.run()
    harness.transport.received.clear()
    await harness.replay(endpoint.id)
    sender = await harness.claim()
    assert sender is not None
    for _ in range(3):
        await sender.step()
        await sender.settle()
        await sender.record()
    await harness.run(restart=True)
    assert set(harness.transport.sequences) == set(range(1, 251))


async def test_a_replay_can_be_stopped(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    await harness.append(*some_events(250))
    await harness.run()
    harness.transport.received.clear()
    replay = await harness.replay(endpoint.id)
    another = await manage_endpoints.start_replay(endpoint, harness.manage, start=0, only_failed=False)
    assert another is None
    sender = await harness.claim()
    assert sender is not None
    await sender.step()
    await sender.settle()
    assert await harness.replays.stop(endpoint.id, replay.id)
    await harness.run()
    assert len(harness.transport.sequences) < 50
    found = await harness.replays.find(endpoint.id, replay.id)
    assert found is not None
    assert found.state is ReplayState.STOPPED
    assert not await harness.replays.stop(endpoint.id, replay.id)
    await harness.append(an_event(999))
    await harness.run()
    assert harness.transport.sequences[-1] == 251


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_replay_that_has_ended_does_not_begin_again(harness: SenderHarness, *, is_stopped: bool) -> None:
    """Breaks: the dispatcher read it before its end was stored, and takes it over afterwards."""
    endpoint, _ = await harness.create()
    await harness.append(*some_events(3))
    await harness.run()
    replay = await harness.replay(endpoint.id)
    (running,) = await harness.replays.find_running([endpoint.id])
    if is_stopped:
        sender = await harness.claim()
        assert sender is not None
        await sender.step()
        assert await harness.replays.stop(endpoint.id, replay.id)
        await sender.settle()
        await sender.record()
    else:
        await harness.run()
    harness.transport.received.clear()
    assert harness.sender is not None
    harness.sender.update(endpoint, running)
    await harness.sender.step()
    await harness.sender.settle()
    assert harness.transport.sequences == []
    await harness.replay(endpoint.id, start=2)
    await harness.run()
    assert harness.transport.sequences == [3]


async def test_a_replay_of_a_failing_endpoint_is_tried_like_any_other(harness: SenderHarness) -> None:
    endpoint, _ = await harness.create()
    await harness.append(*some_events(2))
    await harness.run()
    harness.transport.answer = lambda _: 500
    replay = await harness.replay(endpoint.id)
    await harness.run()
    found = await harness.replays.find(endpoint.id, replay.id)
    assert found is not None
    assert (found.sent, found.failed) == (2, 2)
    harness.transport.answer = lambda _: 200
    await harness.run_for(60 * SECOND_US)
    assert (await harness.delivery(endpoint.id, 1)).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("status", [200, 500])
async def test_a_replayed_event_has_all_its_tries_again(harness: SenderHarness, status: int) -> None:
    """Whatever came of it before: tries before the replay do not count."""
    endpoint, _ = await harness.create()
    harness.transport.answer = lambda _: status
    await harness.append(an_event(1))
    await harness.run_for(4 * DAY_US)
    harness.transport.answer = lambda request: 500 if request.sequence == 1 else 200
    await harness.append(an_event(2))
    await harness.run()
    harness.transport.received.clear()
    await harness.replay(endpoint.id, end=1)
    await harness.run_for(4 * DAY_US)
    assert harness.transport.sequences == [1] * 11
    assert (await harness.delivery(endpoint.id, 1)).state is DeliveryState.FAILED
