"""The operators' API in memory."""

import json
from typing import Any

import httpx2

from tests.portal.apis import problem

REPLAY = "0011223344556677"
LETTER = "orders.submitted.v1.dlq/0/7"
_BASE = "/operator/v1/"
_AT = "2026-11-30T10:15:00.000Z"


def a_letter(**fields: Any) -> dict[str, Any]:
    return {
        "name": LETTER,
        "reason": "unknown-schema",
        "detail": "no schema has this id",
        "topic": "orders.submitted.v1",
        "group": "validator",
        "source": "orders.submitted.v1/3/12",
        "failedAt": _AT,
        "attempts": 1,
        "state": "open",
        "isReplayable": True,
        **fields,
    }


def a_group(**fields: Any) -> dict[str, Any]:
    return {
        "reason": "unknown-schema",
        "topic": "orders.submitted.v1",
        "group": "validator",
        "count": 1_000,
        "replayable": 990,
        "replayed": 10,
        "firstFailedAt": _AT,
        "lastFailedAt": _AT,
        "samples": [a_letter()],
        **fields,
    }


def a_replay(state: str = "counted", **fields: Any) -> dict[str, Any]:
    return {
        "id": REPLAY,
        "state": state,
        "filter": {"reasons": ["unknown-schema"]},
        "matched": 1_003,
        "replayable": 1_000,
        "replayedBefore": 2,
        "unreplayable": 1,
        "replayed": 0,
        "createdAt": _AT,
        "createdBy": "operator",
        "startedAt": None,
        "startedBy": None,
        "endedAt": None,
        **fields,
    }


def a_topic(name: str, *groups: dict[str, Any], **fields: Any) -> dict[str, Any]:
    partitions = [{"number": 0, "begin": 0, "end": 12_345}]
    topic = {"name": name, "description": "For a test.", "exists": True, "records": 12_345, "recordsPerSecond": 7.5}
    return {**topic, "partitions": partitions, "groups": list(groups), **fields}


class FakeOperatorApi:
    """Answers requests. `refusal` is answered to all that change something, and to filters."""

    def __init__(self) -> None:
        self.topics = [
            a_topic("orders.submitted.v1", {"group": "validator", "lag": 4_321, "oldestUnreadSeconds": 190.0}),
            a_topic("auth.sites.v1"),
            a_topic("missing.v1", exists=False, records=0, recordsPerSecond=0, partitions=[]),
        ]
        self.findings: dict[str, Any] = {"groups": [a_group()], "total": 1_000, "isComplete": True}
        self.letter: dict[str, Any] = a_letter(
            size=120, isWhole=True, schema="order", version=1, record={"id": "O1", "userId": "[removed]"}, problem=None
        )
        self.replay: dict[str, Any] = a_replay()
        self.entries: list[dict[str, Any]] = []
        self.queries: list[dict[str, list[str]]] = []
        self.changes: list[tuple[str, Any]] = []
        self.refusal: httpx2.Response | None = None

    def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """Answer a request of the operators' API; None to any other."""
        path = request.url.raw_path.decode().partition("?")[0]
        if not path.startswith(_BASE):
            return None
        parts = path.removeprefix(_BASE).split("/")
        if request.method == "GET":
            params = request.url.params
            self.queries.append({name: params.get_list(name) for name in params})
            return self._read(parts)
        self.changes.append(("/".join(parts), json.loads(request.content) if request.content else None))
        return self.refusal or httpx2.Response(201, json=self.replay)

    def _read(self, parts: list[str]) -> httpx2.Response:
        found = {
            "topics": {"topics": self.topics},
            "dead-letters": self.findings,
            f"dead-letters/{LETTER}": self.letter,
            "replays": {"replays": [self.replay]},
            f"replays/{REPLAY}": self.replay,
            "audit": {"entries": self.entries},
        }.get("/".join(parts))
        if found is None:
            return problem(404, "NOT_FOUND")
        if parts == ["dead-letters"] and self.refusal:
            return self.refusal
        return httpx2.Response(200, json=found)
