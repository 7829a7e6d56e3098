"""Events for tests."""

from typing import Any

from services.webhooks.domain.event import EventType, NewEvent, derive_id

SITE, OTHER_SITE = 608, 609
NOON_US = 1_767_268_800_000_000


def an_event(number: int, *, site: int = SITE, type_: str = EventType.JOB_FINISHED, at_us: int = NOON_US) -> NewEvent:
    return NewEvent(id=derive_id(site, number), site=site, type=str(type_), time_us=at_us, data=job_data(number))


def some_events(count: int, start: int = 0, **options: Any) -> list[NewEvent]:
    return [an_event(number, **options) for number in range(start, start + count)]


def job_data(number: int) -> dict[str, Any]:
    return {
        "jobId": derive_id("job", number),
        "type": "orders",
        "mode": "offline",
        "state": "COMPLETED",
        "counts": {"total": 1, "failed": 0, "success": 1},
        "links": {"job": f"/common-status/v1/{{apiKey}}/job/job-{number}", "events": ""},
    }
