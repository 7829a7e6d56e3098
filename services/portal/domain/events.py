"""The feed and its endpoints, in the words of pages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tillstream.models import Delivery, Endpoint, FeedEvent

TYPES: Mapping[str, str] = {
    "job.finished": "Import finished",
    "codes.available": "Codes delivered",
    "order.completed": "Code order completed",
    "invoice.issued": "Invoice issued",
    "endpoint.disabled": "Endpoint disabled",
    "endpoint.recovered": "Endpoint works again",
}
PING = "endpoint.ping"
_REASONS: Mapping[str, str] = {
    "failing": "It failed for five days.",
    "gone": "It answered 410, which means that it is gone for good.",
    "requested": "Somebody has disabled it.",
}
_STATES: Mapping[str, tuple[str, str]] = {
    "delivered": ("Delivered", "good"),
    "pending": ("To be sent", "info"),
    "failed": ("Given up", "bad"),
}


class EventView(Struct, frozen=True, kw_only=True):
    """An event; `link` leads to what it is about."""

    id: str
    sequence: int
    type: str
    title: str
    time: str
    text: str
    link: str | None
    data: str


class EndpointView(Struct, frozen=True, kw_only=True):
    """An endpoint."""

    id: str
    url: str
    description: str
    types: Sequence[str]
    is_ordered: bool
    is_enabled: bool
    state: str
    tone: str
    note: str
    created: str
    failing_since: str | None
    missed_since: str | None


class DeliveryView(Struct, frozen=True, kw_only=True):
    """What became of an event at an endpoint."""

    event_id: str
    sequence: int
    title: str
    state: str
    tone: str
    attempts: int
    last_at: str | None
    last_status: str
    last_error: str
    next_try: str | None


def describe_event(event: FeedEvent) -> EventView:
    """Return an event in words."""
    return EventView(
        id=event.id,
        sequence=event.sequence,
        type=event.type,
        title=TYPES.get(event.type, event.type),
        time=event.time.isoformat(),
        text=_text_of(event.type, event.data),
        link=_link_of(event.type, event.data),
        data=json.dumps(event.data, indent=2, ensure_ascii=False, default=str),
    )


def _text_of(type_: str, data: Mapping[str, Any]) -> str:
    counts = data.get("counts", {})
    match type_:
        case "job.finished":
            return f"{counts.get('total', 0):,} {data.get('type', 'records')}, {counts.get('failed', 0):,} failed"
        case "codes.available" | "order.completed":
            return f"{counts.get('delivered', 0):,} of {counts.get('ordered', 0):,} codes"
        case "invoice.issued":
            return f"{data.get('number', '')}: {data.get('total', '')} {data.get('currency', '')}".strip()
        case _:
            return str(data.get("endpointId", ""))


def _link_of(type_: str, data: Mapping[str, Any]) -> str | None:
    if type_ == "job.finished" and data.get("jobId"):
        return f"/portal/jobs/{data['jobId']}"
    if type_.startswith("endpoint.") and data.get("endpointId"):
        return f"/portal/events/endpoints/{data['endpointId']}"
    return None


def describe_endpoint(endpoint: Endpoint) -> EndpointView:
    """Return an endpoint in words."""
    state, tone, note = "Works", "good", ""
    if not endpoint.enabled:
        state, tone, note = "Disabled", "bad", _REASONS.get(endpoint.disabled_reason or "", "")
    elif endpoint.failing_since is not None:
        state, tone, note = "Failing", "warning", "What it misses is sent again, less and less often."
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        description=endpoint.description,
        types=endpoint.types,
        is_ordered=endpoint.ordered,
        is_enabled=endpoint.enabled,
        state=state,
        tone=tone,
        note=note,
        created=endpoint.created_at.isoformat(),
        failing_since=endpoint.failing_since.isoformat() if endpoint.failing_since else None,
        missed_since=endpoint.missed_since.isoformat() if endpoint.missed_since else None,
    )


def describe_delivery(delivery: Delivery) -> DeliveryView:
    """Return a delivery in words."""
    last: Mapping[str, Any] = delivery.attempts[-1] if delivery.attempts else {}
    state, tone = _STATES.get(delivery.state, (delivery.state, "neutral"))
    if delivery.state == "pending" and delivery.attempts:
        state, tone = "Tried again", "warning"
    is_failure = delivery.state != "delivered"
    return DeliveryView(
        event_id=delivery.event_id,
        sequence=delivery.sequence,
        title="Test of the endpoint" if delivery.type == PING else TYPES.get(delivery.type, delivery.type),
        state=state,
        tone=tone,
        attempts=len(delivery.attempts),
        last_at=last.get("at"),
        last_status="" if last.get("status") is None else str(last["status"]),
        last_error=str(last.get("error") or last.get("answer") or "") if is_failure else "",
        next_try=delivery.next_try_at.isoformat() if delivery.next_try_at else None,
    )
