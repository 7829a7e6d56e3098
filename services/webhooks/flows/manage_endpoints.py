"""Create, change and delete endpoints; rotate their secrets; ask for replays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.chassis.runtime.errors import ContentionError
from services.values.instants import format_utc
from services.webhooks import metrics
from services.webhooks.domain.delivery import PING_SEQUENCE, Delivery
from services.webhooks.domain.endpoint import (
    MAX_LIVE_SECRETS,
    DisabledReason,
    Endpoint,
    EndpointState,
    live_secrets,
    missed_since_us,
)
from services.webhooks.domain.event import PING, EventType, NewEvent, derive_id, render_event
from services.webhooks.domain.replay import Replay
from services.webhooks.ports import DeliveryStore, EndpointStore, FeedReader, ReplayStore, SecretSealer

MAX_ATTEMPTS = 10
MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that managing endpoints may touch. `on_change` wakes this process's senders."""

    feed: FeedReader
    endpoints: EndpointStore
    deliveries: DeliveryStore
    replays: ReplayStore
    secrets: SecretSealer
    new_id: Callable[[], str]
    new_secret: Callable[[], bytes]
    now_us: Callable[[], int]
    on_change: Callable[[], None]


class TooManySecretsError(Exception):
    """The endpoint has as many live secrets as it may have."""


async def create_endpoint(
    site: int, url: str, deps: Deps, *, types: Sequence[str], description: str, is_ordered: bool
) -> tuple[Endpoint, bytes] | None:
    """Create an endpoint for events from now on, and have a ping sent; returns it with its secret.

    None if the site has as many endpoints as it may have. Raises `UnavailableError`.
    """
    endpoint_id, secret, now_us = deps.new_id(), deps.new_secret(), deps.now_us()
    endpoint = Endpoint(
        id=endpoint_id,
        site=site,
        url=url,
        types=tuple(types),
        description=description,
        is_ordered=is_ordered,
        created_us=now_us,
        secrets=(deps.secrets.seal(endpoint_id, secret),),
        position=(await deps.feed.find_head(site)).sequence,
    )
    # First, so that an endpoint never lacks its ping; without the endpoint nobody sends it.
    await deps.deliveries.save([_ping(endpoint, now_us)], added_tries=0)
    if not await deps.endpoints.add(endpoint):
        return None
    deps.on_change()
    return endpoint, secret


def _ping(endpoint: Endpoint, now_us: int) -> Delivery:
    data = {"endpointId": endpoint.id}
    event = NewEvent(id=derive_id(PING, endpoint.id), site=endpoint.site, type=PING, time_us=now_us, data=data)
    return Delivery(
        endpoint=endpoint.id,
        site=endpoint.site,
        sequence=PING_SEQUENCE,
        event=event.id,
        type=PING,
        due_us=now_us,
        body=render_event(event, PING_SEQUENCE),
    )


async def change_endpoint(
    site: int, endpoint_id: str, change: Callable[[Endpoint], Endpoint], deps: Deps
) -> Endpoint | None:
    """Change an endpoint; one that is enabled again gets events from now on. None if there is none.

    Raises `UnavailableError`, and what `change` raises.
    """
    for _ in range(MAX_ATTEMPTS):
        before = await deps.endpoints.find(site, endpoint_id)
        if before is None:
            return None
        after = change(before)
        if after == before:
            return before
        events: Sequence[NewEvent] = ()
        if before.is_enabled and not after.is_enabled:
            after = replace(after, disabled_us=deps.now_us())
            events = [disabled_event(after)]
        elif after.is_enabled and not before.is_enabled:
            after, events = await _recover(before, after, deps)
        if await deps.endpoints.replace(before, after, events=events):
            deps.on_change()
            return after
    raise ContentionError("the endpoint")


def set_enabled(endpoint: Endpoint, *, is_enabled: bool) -> Endpoint:
    """The endpoint in this state."""
    if is_enabled == endpoint.is_enabled:
        return endpoint
    if is_enabled:
        return replace(endpoint, state=EndpointState.ENABLED, reason=None)
    return replace(endpoint, state=EndpointState.DISABLED, reason=DisabledReason.REQUESTED)


async def _recover(before: Endpoint, after: Endpoint, deps: Deps) -> tuple[Endpoint, Sequence[NewEvent]]:
    head = await deps.feed.find_head(after.site)
    recovered = replace(after, position=head.sequence, failures=0, failing_since_us=None, disabled_us=None)
    data = {
        "endpointId": after.id,
        "reason": before.reason,
        "missedSince": format_utc(missed_since_us(before), digits=6),
    }
    event_id = derive_id(EventType.ENDPOINT_RECOVERED, after.id, str(before.disabled_us))
    event = NewEvent(
        id=event_id, site=after.site, type=EventType.ENDPOINT_RECOVERED.value, time_us=deps.now_us(), data=data
    )
    return recovered, [event]


async def disable_endpoint(
    endpoint: Endpoint, reason: DisabledReason, *, endpoints: EndpointStore, now_us: Callable[[], int]
) -> None:
    """Disable an endpoint that does not work; its site is told in its feed and by mail. Raises `UnavailableError`."""
    disabled = replace(endpoint, state=EndpointState.DISABLED, reason=reason, disabled_us=now_us())
    at_us = disabled.disabled_us or 0
    if await endpoints.disable(endpoint, reason, at_us=at_us, events=[disabled_event(disabled)], mail=True):
        metrics.DISABLED.labels(reason.value).inc()


def disabled_event(endpoint: Endpoint) -> NewEvent:
    """The event about a disabled endpoint."""
    at_us = endpoint.disabled_us or 0
    data = {
        "endpointId": endpoint.id,
        "reason": endpoint.reason,
        "missedSince": format_utc(missed_since_us(endpoint), digits=6),
    }
    event_id = derive_id(EventType.ENDPOINT_DISABLED, endpoint.id, at_us)
    return NewEvent(id=event_id, site=endpoint.site, type=EventType.ENDPOINT_DISABLED.value, time_us=at_us, data=data)


async def rotate_secret(site: int, endpoint_id: str, deps: Deps, *, overlap_s: int) -> tuple[Endpoint, bytes] | None:
    """Add a secret; the ones before sign for `overlap_s` more seconds at most. None if there is no such endpoint.

    Raises `TooManySecretsError`, `UnavailableError`.
    """
    secret, now_us = deps.new_secret(), deps.now_us()
    expires_us = now_us + overlap_s * MICROS

    def add(endpoint: Endpoint) -> Endpoint:
        kept = [
            replace(each, expires_us=min(each.expires_us or expires_us, expires_us))
            for each in live_secrets(endpoint, now_us=now_us)
            if overlap_s
        ]
        if len(kept) >= MAX_LIVE_SECRETS:
            raise TooManySecretsError
        return replace(endpoint, secrets=(deps.secrets.seal(endpoint.id, secret), *kept))

    changed = await change_endpoint(site, endpoint_id, add, deps)
    return None if changed is None else (changed, secret)


async def start_replay(
    endpoint: Endpoint, deps: Deps, *, start: int, end: int | None = None, only_failed: bool
) -> Replay | None:
    """Send events after `start` again, up to `end` or the present end; None if a replay of the endpoint runs.

    Raises `UnavailableError`.
    """
    if end is None:
        end = (await deps.feed.find_head(endpoint.site)).sequence
    replay = Replay(
        id=deps.new_id(),
        endpoint=endpoint.id,
        site=endpoint.site,
        start=start,
        position=start,
        end=max(end, start),
        only_failed=only_failed,
        created_us=deps.now_us(),
    )
    if not await deps.replays.add(replay):
        return None
    deps.on_change()
    return replay
