"""Dead letters replayed by filter: what the dry run says is what comes back, once, whatever happens in between."""

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.operator.flows import replays
from services.operator.flows.replays import Operator
from tests.events.harness import KafkaHarness
from tests.operator.conftest import Clock, Process, StartProcess, replayed_values, send_dead_letters

ME = Operator("client-operator", "127.0.0.1")


def values(reason: str, count: int) -> list[bytes]:
    return sorted(f"{reason} {number}".encode() for number in range(count))


async def create(process: Process, reason: str, **criteria: object) -> str:
    """Create a replay and count it; return its id."""
    body = {"reasons": [reason], **criteria}
    replay = await process.request("POST", "/replays", json=body, status=201)
    assert replay["state"] == "counting"
    await process.work()
    return str(replay["id"])


async def show(process: Process, replay_id: str) -> tuple[str, int, int]:
    found = await process.request("GET", f"/replays/{replay_id}")
    return found["state"], found["replayable"], found["replayed"]


async def test_a_thousand_of_one_reason_are_replayed_as_the_dry_run_said(
    kafka: KafkaHarness, process: Process, start_process: StartProcess, clock: Clock
) -> None:
    """Among others; aborted and resumed; the process dies after it has sent and before it has marked a batch."""
    await send_dead_letters(process.producer, "thousand", 1_000)
    await send_dead_letters(process.producer, "other", 150)
    replay = await create(process, "thousand")
    assert await show(process, replay) == ("counted", 1_000, 0)
    assert await replayed_values(kafka, "thousand") == []
    # What fails after the dry run is not part of it.
    await send_dead_letters(process.producer, "thousand", 3)

    await abort_after(process, replay, batches=2)
    assert await show(process, replay) == ("aborted", 1_000, 400)
    assert len(await replayed_values(kafka, "thousand")) == 400

    await process.request("POST", f"/replays/{replay}/start")
    # A batch is a marker, records of four partitions, a marker: the second batch is half sent.
    process.producer.sends_before_death, process.producer.dies_after_send = 6 + 3, True
    with pytest.raises(UnavailableError):
        await process.work()

    other = await start_process()
    await other.work()
    assert await show(other, replay) == ("running", 1_000, 600), "the lease of the dead process holds"
    clock.us += replays.LEASE_US + 1
    await other.work()
    assert await show(other, replay) == ("finished", 1_000, 1_000)
    assert await replayed_values(kafka, "thousand") == values("thousand", 1_000)
    assert await replayed_values(kafka, "other") == []

    again = await create(other, "thousand")
    found = await other.request("GET", f"/replays/{again}")
    assert (found["matched"], found["replayable"], found["replayedBefore"]) == (1_003, 3, 1_000)


async def abort_after(process: Process, replay_id: str, *, batches: int) -> None:
    """Start a replay and abort it while it runs, behind that many batches."""
    await process.request("POST", f"/replays/{replay_id}/start")
    store, count = process.deps.replays, 0
    lease = store.lease

    async def counting_lease(owner: str, *, lease_us: int) -> bool:
        nonlocal count
        count += 1
        # The first two: the step, and before the first batch.
        if count == 2 + batches:
            await replays.abort(replay_id, ME, process.deps)
        return await lease(owner, lease_us=lease_us)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "lease", counting_lease)
        await process.work()


async def test_a_filter_has_reason_topic_group_and_time(kafka: KafkaHarness, process: Process) -> None:
    await send_dead_letters(process.producer, "filtered", 4, group="validator")
    await send_dead_letters(process.producer, "filtered", 2, group="someone")
    for criteria, expected in (
        ({"groups": ["validator"]}, 4),
        ({"groups": ["nobody"]}, 0),
        ({"topics": ["orders.submitted.v1"]}, 6),
        ({"topics": ["returns.submitted.v1"]}, 0),
        ({"since": "2000-01-01T00:00:00Z"}, 6),
        ({"until": "2000-01-01T00:00:00Z"}, 0),
        ({"since": "2999-01-01T00:00:00Z"}, 0),
    ):
        assert await show(process, await create(process, "filtered", **criteria)) == ("counted", expected, 0), criteria
    replay = await create(process, "filtered", groups=["validator"])
    await process.request("POST", f"/replays/{replay}/start")
    await process.work()
    assert await show(process, replay) == ("finished", 4, 4)
    assert await replayed_values(kafka, "filtered") == values("filtered", 4)


async def test_what_somebody_else_has_replayed_is_not_sent_again(kafka: KafkaHarness, process: Process) -> None:
    """The command line does the same; the counts tell who has sent what."""
    await send_dead_letters(process.producer, "shared", 5)
    first, second = await create(process, "shared"), await create(process, "shared")
    for replay in (first, second):
        await process.request("POST", f"/replays/{replay}/start")
    await process.work()
    assert await show(process, first) == ("finished", 5, 5)
    assert await show(process, second) == ("finished", 5, 0)
    assert await replayed_values(kafka, "shared") == values("shared", 5)


async def test_too_many_matches_are_refused(process: Process, start_process: StartProcess) -> None:
    await send_dead_letters(process.producer, "many", 6)
    small = await start_process(max_letters=5)
    assert (await show(small, await create(small, "many")))[0] == "refused"


@pytest.mark.parametrize(
    ("state", "action"),
    [("counted", ""), ("aborted", "abort"), ("finished", "start")],
)
async def test_states_allow_only_what_makes_sense(process: Process, state: str, action: str) -> None:
    await send_dead_letters(process.producer, f"states-{state}", 1)
    replay = await create(process, f"states-{state}")
    if action:
        await process.request("POST", f"/replays/{replay}/{action}")
        await process.work()
    assert (await show(process, replay))[0] == state
    refused = {"counted": [], "aborted": ["abort"], "finished": ["start", "abort"]}[state]
    for each in refused:
        problem = await process.request("POST", f"/replays/{replay}/{each}", status=409)
        assert problem["detail"] == f"the replay is {state}"


async def test_one_that_was_aborted_before_it_was_counted_is_counted_when_it_is_resumed(process: Process) -> None:
    await send_dead_letters(process.producer, "uncounted", 2)
    replay = await process.request("POST", "/replays", json={"reasons": ["uncounted"]}, status=201)
    await process.request("POST", f"/replays/{replay['id']}/abort")
    await process.work()
    await process.request("POST", f"/replays/{replay['id']}/start")
    await process.work()
    assert await show(process, replay["id"]) == ("counted", 2, 0)


async def test_only_one_process_works(process: Process, start_process: StartProcess, clock: Clock) -> None:
    other = await start_process()
    assert await process.deps.replays.lease("one", lease_us=1_000_000)
    assert not await other.deps.replays.lease("two", lease_us=1_000_000)
    await process.deps.replays.release("one")
    assert await other.deps.replays.lease("two", lease_us=1_000_000)
    clock.us += 1_000_001
    assert await process.deps.replays.lease("one", lease_us=1_000_000)


async def test_the_audit_trail_says_who_did_what(process: Process) -> None:
    await send_dead_letters(process.producer, "audited", 2)
    replay = await create(process, "audited")
    await process.request("POST", f"/replays/{replay}/start")
    await process.work()
    entries = (await process.request("GET", "/audit"))["entries"]
    assert [(each["action"], each["actor"]) for each in entries] == [
        ("replay finished", "client-operator"),
        ("replay started", "client-operator"),
        ("replay created", "client-operator"),
    ]
    assert entries[0]["details"] == {
        "replay": replay,
        "reasons": ["audited"],
        "matched": 2,
        "replayable": 2,
        "replayed": 2,
    }
    (page,) = (await process.request("GET", f"/audit?limit=1&before={entries[0]['id']}"))["entries"]
    assert page == entries[1]
