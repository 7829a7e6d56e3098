"""Endpoints, deliveries and replays as JSON."""

from typing import Any

from services.values.instants import format_utc
from services.webhooks.domain.delivery import Delivery, Outcome
from services.webhooks.domain.endpoint import Endpoint, missed_since_us
from services.webhooks.domain.replay import Replay
from services.webhooks.domain.signature import format_secret


def endpoint(value: Endpoint) -> dict[str, Any]:
    """An endpoint without its secrets."""
    body: dict[str, Any] = {
        "id": value.id,
        "url": value.url,
        "types": list(value.types),
        "description": value.description,
        "ordered": value.is_ordered,
        "enabled": value.is_enabled,
        "createdAt": _instant(value.created_us),
        "failingSince": None if value.failing_since_us is None else _instant(value.failing_since_us),
    }
    if not value.is_enabled:
        body |= {"disabledReason": value.reason, "missedSince": _instant(missed_since_us(value))}
    return body


def endpoint_with_secret(value: Endpoint, secret: bytes) -> dict[str, Any]:
    """An endpoint and its newest secret."""
    return {**endpoint(value), "secret": format_secret(secret)}


def delivery(value: Delivery) -> dict[str, Any]:
    """A delivery and its tries, the first one first."""
    return {
        "eventId": value.event,
        "sequence": value.sequence,
        "type": value.type,
        "state": value.state,
        "attempts": [_attempt(number, outcome) for number, outcome in enumerate(value.tries, 1)],
        "nextTryAt": None if value.due_us is None else _instant(value.due_us),
    }


def _attempt(number: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "attempt": number,
        "at": _instant(outcome.at_us),
        "status": outcome.status,
        "latencyMs": outcome.latency_ms,
        "error": outcome.error,
        "answer": outcome.answer,
    }


def replay(value: Replay) -> dict[str, Any]:
    """A replay and how far it is."""
    return {
        "id": value.id,
        "state": value.state,
        "createdAt": _instant(value.created_us),
        "onlyFailed": value.only_failed,
        "counts": {
            "total": value.end - value.start,
            "done": value.position - value.start,
            "sent": value.sent,
            "failed": value.failed,
            "skipped": value.skipped,
        },
    }


def _instant(us: int) -> str:
    return format_utc(us, digits=6)
