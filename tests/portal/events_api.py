"""The events API in memory: the feed and the endpoints of one site."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2

from tests.portal.apis import problem

ENDPOINT = "e-1"
SECRET = "whsec_c2VjcmV0LWNhbmFyeQ=="


def an_event(sequence: int, time: str = "2026-11-30T10:15:00Z", **fields: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"event-{sequence}",
        "source": "urn:tillstream:site:608",
        "type": "job.finished",
        "time": time,
        "sequence": sequence,
        "data": {"jobId": f"job-{sequence}", "type": "orders", "counts": {"total": 3, "failed": 1, "success": 2}},
        **fields,
    }


def an_endpoint(**fields: Any) -> dict[str, Any]:
    return {
        "id": ENDPOINT,
        "url": "https://shop.example/hooks",
        "types": [],
        "description": "Our till",
        "ordered": False,
        "enabled": True,
        "createdAt": "2026-11-01T10:00:00Z",
        "failingSince": None,
        **fields,
    }


def a_delivery(sequence: int = 1, **fields: Any) -> dict[str, Any]:
    attempt = {"attempt": 1, "at": "2026-11-30T10:15:01Z", "status": 200, "latencyMs": 5, "error": None, "answer": "ok"}
    delivery = {"eventId": f"event-{sequence}", "sequence": sequence, "type": "job.finished", "state": "delivered"}
    return {**delivery, "attempts": [attempt], "nextTryAt": None, **fields}


@dataclass(slots=True)
class FakeEventsApi:
    """Answers requests; `failure` is answered to all that change something."""

    events: list[dict[str, Any]] = field(default_factory=list)
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    replay: dict[str, Any] = field(default_factory=dict)
    changes: list[tuple[str, str, Any]] = field(default_factory=list)
    failure: httpx2.Response | Exception | None = None
    reads: int = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        parts = request.url.path.strip("/").split("/")[3:]
        if request.method != "GET":
            body = json.loads(request.content) if request.content else None
            self.changes.append((request.method, "/".join(parts), body))
            if isinstance(self.failure, Exception):
                raise self.failure
            if self.failure is not None:
                return self.failure
            return self._change(request.method, parts, body or {})
        return self._feed(request) if parts == ["events"] else self._read(request, parts)

    def _read(self, request: httpx2.Request, parts: list[str]) -> httpx2.Response:
        if parts == ["endpoints"]:
            return httpx2.Response(200, json={"result": list(self.endpoints.values())})
        if parts[1] not in self.endpoints:
            return problem(404, "ENDPOINT_NOT_FOUND")
        if parts[2:] == ["deliveries"]:
            return self._deliveries(request)
        if parts[2:3] == ["replays"]:
            return httpx2.Response(200, json=self.replay) if self.replay else problem(404, "REPLAY_NOT_FOUND")
        return httpx2.Response(200, json=self.endpoints[parts[1]])

    def _feed(self, request: httpx2.Request) -> httpx2.Response:
        self.reads += 1
        params = request.url.params
        after, rows, types = params.get("after", "0"), int(params["rows"]), params.get("types")
        found = [
            event
            for event in self.events
            if (event["sequence"] > int(after) if after.isdigit() else _instant(event["time"]) >= _instant(after))
            and (types is None or event["type"] in types.split(","))
        ][:rows]
        cursor = str(found[-1]["sequence"]) if found else after
        return httpx2.Response(
            200, json={"pagination": {"rows": rows, "count": len(found), "nextPageToken": cursor}, "result": found}
        )

    def _deliveries(self, request: httpx2.Request) -> httpx2.Response:
        rows, start = int(request.url.params["rows"]), int(request.url.params.get("page", "0"))
        following = str(start + rows) if len(self.deliveries) > start + rows else None
        found = self.deliveries[start : start + rows]
        page = {"rows": rows, "count": len(found), "nextPageToken": following}
        return httpx2.Response(200, json={"pagination": page, "result": found})

    def _change(self, method: str, parts: list[str], body: dict[str, Any]) -> httpx2.Response:
        match method, parts:
            case "POST", ["endpoints"]:
                self.endpoints[ENDPOINT] = an_endpoint(**body)
                return httpx2.Response(201, json=self.endpoints[ENDPOINT] | {"secret": SECRET})
            case "PATCH", ["endpoints", name]:
                self.endpoints[name] |= body
                return httpx2.Response(200, json=self.endpoints[name])
            case "DELETE", ["endpoints", name]:
                del self.endpoints[name]
                return httpx2.Response(204)
            case "POST", ["endpoints", name, "rotate"]:
                return httpx2.Response(200, json=self.endpoints[name] | {"secret": SECRET})
            case "DELETE", ["endpoints", _, "replays", _]:
                self.replay["state"] = "stopped"
                return httpx2.Response(200, json=self.replay)
            case _:
                counts = {"total": 1_000, "done": 250, "sent": 200, "failed": 3, "skipped": 50}
                self.replay = {
                    "id": "r-1",
                    "state": "running",
                    "createdAt": "2026-11-30T10:15:00Z",
                    "onlyFailed": "failedSince" in body,
                    "counts": counts,
                }
                return httpx2.Response(202, json=self.replay)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
