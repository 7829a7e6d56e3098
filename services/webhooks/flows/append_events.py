"""Append events to the feeds of their sites: each exactly once, without holes in the sequence."""

import asyncio
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field

from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.runtime.failpoints import failpoint
from services.webhooks import metrics
from services.webhooks.domain.event import Head, NewEvent, place_event
from services.webhooks.ports import Conflict, FeedNotifier, FeedWriter

# An attempt fails when another process was faster; that many in a row mean that something is wrong.
MAX_ATTEMPTS = 100
MAX_EVENTS_PER_INSERT = 500
CONCURRENT_SITES = 8
# Far less than events are kept: of an older head, retention may have deleted what others appended behind it.
MAX_HEAD_AGE_US = 3_600_000_000
_inserted = failpoint("webhooks.inserted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that appending may touch. `heads` caches the last event of each feed; it may be stale."""

    feed: FeedWriter
    notifier: FeedNotifier
    now_us: Callable[[], int]
    heads: MutableMapping[int, Head] = field(default_factory=dict)


async def append_events(events: Iterable[NewEvent], deps: Deps) -> None:
    """Append the events; returns once all are durable, stored by this process or another.

    Raises `UnavailableError`; appending the same events again changes nothing.
    """
    by_site: dict[int, dict[str, NewEvent]] = {}
    for event in events:
        by_site.setdefault(event.site, {})[event.id] = event
    limit = asyncio.Semaphore(CONCURRENT_SITES)

    async def append(site: int, of_site: Sequence[NewEvent]) -> Head:
        async with limit:
            return await _append_to_site(site, of_site, deps)

    outcomes = await asyncio.gather(
        *(append(site, list(of_site.values())) for site, of_site in by_site.items()), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    heads = {site: head for site, head in zip(by_site, outcomes, strict=True) if isinstance(head, Head)}
    if heads:
        # This process's readers need not wait for the write that wakes the others'.
        deps.notifier.notify(list(heads))
        await deps.feed.save_heads(heads)


async def _append_to_site(site: int, events: Sequence[NewEvent], deps: Deps) -> Head:
    pending = list(events)
    for _ in range(MAX_ATTEMPTS + len(events)):
        head = _cached_head(site, deps) or await deps.feed.find_head(site)
        if not pending:
            deps.heads[site] = head
            return head
        pending = await _insert(site, head, pending, deps)
    raise ContentionError("the feed")


def _cached_head(site: int, deps: Deps) -> Head | None:
    head = deps.heads.get(site)
    return None if head is None or deps.now_us() - head.recorded_us > MAX_HEAD_AGE_US else head


async def _insert(site: int, head: Head, pending: list[NewEvent], deps: Deps) -> list[NewEvent]:
    """Insert behind the head; returns the events that are not in the feed yet."""
    # Never before the last one's: readers look positions up by time.
    recorded_us = max(deps.now_us(), head.recorded_us)
    part = pending[:MAX_EVENTS_PER_INSERT]
    placed = [place_event(event, head.sequence + number, recorded_us) for number, event in enumerate(part, 1)]
    # The cached head is wrong unless all goes well.
    deps.heads.pop(site, None)
    count, conflict = await deps.feed.insert(site, placed, recorded_us=recorded_us)
    _inserted()
    _count(part[:count], recorded_us)
    rest = pending[count:]
    if conflict is Conflict.TAKEN:
        metrics.CONFLICTS.inc()
        return rest
    if count:
        head = Head(head.sequence + count, recorded_us)
    deps.heads[site] = head
    if conflict is None:
        return rest
    known = await deps.feed.find_known([event.id for event in rest])
    if rest[0].id not in known:
        # The insert found it, but a majority of the replica set does not have it yet.
        raise UnavailableError("MongoDB")
    metrics.REPEATED.inc(len(known))
    return [event for event in rest if event.id not in known]


def _count(events: Sequence[NewEvent], recorded_us: int) -> None:
    for event in events:
        metrics.RECORDED.labels(event.type).inc()
        metrics.RECORD_SECONDS.observe(max(recorded_us - event.time_us, 0) / 1_000_000)
