"""Replays: created as a dry run, confirmed, run in the background, aborted and resumed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.operator import metrics
from services.operator.domain.replay import (
    ABORTABLE,
    STARTABLE,
    Replay,
    ReplayNotFoundError,
    Selection,
    State,
    TooManyMatchesError,
    WrongStateError,
)
from services.operator.ports import AuditTrail, DeadLetterTopics, ReplayStore

# Renewed while a replay is counted or run; checked before each batch is sent.
LEASE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything replays may touch. `owner` names this process."""

    replays: ReplayStore
    letters: DeadLetterTopics
    audit: AuditTrail
    now_us: Callable[[], int]
    new_id: Callable[[], str]
    owner: str
    wake: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and from where."""

    client_id: str
    source: str


async def create(selection: Selection, operator: Operator, deps: Deps) -> Replay:
    """Add a replay, to be counted in the background; nothing is sent back before it is started."""
    replay = Replay(
        id=deps.new_id(),
        selection=selection,
        state=State.COUNTING,
        created_us=deps.now_us(),
        created_by=operator.client_id,
    )
    await _record("replay created", replay, operator, deps)
    await deps.replays.add(replay)
    deps.wake()
    return replay


async def start(replay_id: str, operator: Operator, deps: Deps) -> Replay:
    """Start a replay that is counted, or resume an aborted one.

    Raises `ReplayNotFoundError`, `WrongStateError`.
    """
    found = await _require(replay_id, STARTABLE, deps)
    # An aborted one that was never counted is counted first.
    state = State.RUNNING if found.started_us is not None or found.state is State.COUNTED else State.COUNTING
    await _record("replay resumed" if found.state is State.ABORTED else "replay started", found, operator, deps)
    changes: dict[str, Any] = {"state": state, "ended_us": None}
    if state is State.RUNNING:
        changes |= {"started_us": found.started_us or deps.now_us(), "started_by": operator.client_id}
    replay = await _move(found, STARTABLE, deps, **changes)
    deps.wake()
    return replay


async def abort(replay_id: str, operator: Operator, deps: Deps) -> Replay:
    """Abort a replay; what is being sent at this moment is still sent. Raises as `start` does."""
    found = await _require(replay_id, ABORTABLE, deps)
    await _record("replay aborted", found, operator, deps)
    return await _move(found, ABORTABLE, deps, state=State.ABORTED, ended_us=deps.now_us())


async def work(deps: Deps) -> bool:
    """Count or run the oldest replay that waits; return whether there was one.

    Safe to repeat after `UnavailableError` and after the death of the process: what is sent back is marked in the
    dead-letter topics.
    """
    if not await deps.replays.lease(deps.owner, lease_us=LEASE_US):
        return False
    replay = await deps.replays.next_unfinished()
    if replay is None:
        return False
    await (_count if replay.state is State.COUNTING else _run)(replay, deps)
    return True


async def _count(replay: Replay, deps: Deps) -> None:
    try:
        count = await deps.letters.count(replay.selection)
    except TooManyMatchesError:
        await _end(replay, State.REFUSED, State.COUNTING, deps)
        return
    counts = {name: getattr(count, name) for name in ("matched", "replayable", "replayed_before", "unreplayable")}
    await deps.replays.move(replay.id, [State.COUNTING], state=State.COUNTED, ends=dict(count.ends), **counts)


async def _run(replay: Replay, deps: Deps) -> None:
    async def may_continue(replayed: int) -> bool:
        if not await deps.replays.lease(deps.owner, lease_us=LEASE_US):
            return False
        # What was sent counts, also if the replay was aborted meanwhile.
        found = await deps.replays.move(replay.id, [State.RUNNING, State.ABORTED], replayed=replayed)
        return found is not None and found.state is State.RUNNING

    if await deps.letters.replay(replay, may_continue):
        await _end(replay, State.FINISHED, State.RUNNING, deps)


async def _end(replay: Replay, state: State, expected: State, deps: Deps) -> None:
    """End a replay that was not aborted meanwhile, if the lease is still ours."""
    if not await deps.replays.lease(deps.owner, lease_us=LEASE_US):
        return
    ended = await deps.replays.move(replay.id, [expected], state=state, ended_us=deps.now_us())
    if ended is not None:
        metrics.REPLAYS.labels(state).inc()
        await _record(f"replay {state}", ended, Operator(ended.started_by or ended.created_by, "operator"), deps)


async def _require(replay_id: str, allowed: tuple[State, ...], deps: Deps) -> Replay:
    found = await deps.replays.find(replay_id)
    if found is None:
        raise ReplayNotFoundError
    if found.state not in allowed:
        raise WrongStateError(found.state)
    return found


async def _move(replay: Replay, allowed: tuple[State, ...], deps: Deps, **changes: Any) -> Replay:
    moved = await deps.replays.move(replay.id, allowed, **changes)
    if moved is None:
        # Somebody else was faster.
        raise WrongStateError((await _require(replay.id, tuple(State), deps)).state)
    return moved


async def _record(action: str, replay: Replay, operator: Operator, deps: Deps) -> None:
    await deps.audit.record(action, actor=operator.client_id, source=operator.source, details=_describe(replay))


def _describe(replay: Replay) -> Mapping[str, Any]:
    selection = replay.selection
    criteria = {
        "reasons": list(selection.reasons),
        "topics": list(selection.topics),
        "groups": list(selection.groups),
        "since": selection.since_us,
        "until": selection.until_us,
    }
    counts = {"matched": replay.matched, "replayable": replay.replayable, "replayed": replay.replayed}
    return {"replay": replay.id, **{name: value for name, value in criteria.items() if value}, **counts}
