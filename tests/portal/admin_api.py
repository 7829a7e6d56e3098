"""Auth's admin API in memory."""

import json
from typing import Any

import httpx2

from tests.portal.apis import problem

SECRET = "new-secret-canary"
_BASE = "/auth-admin/v1/"


def a_site(number: int = 608, **fields: Any) -> dict[str, Any]:
    site = {"site": number, "name": f"Shop {number}", "appId": 1, "rootSource": "api", "datacenter": "qa"}
    return {**site, "timeZone": "Europe/Paris", "apiKeys": [{"apiKey": f"shop-{number}", "channel": "till"}], **fields}


def a_client(client_id: str, **fields: Any) -> dict[str, Any]:
    secrets = [{"id": "s1", "createdAt": 1_700_000_000, "expiresAt": None}]
    client = {"clientId": client_id, "site": 608, "apiKeys": ["shop-608"], "scopes": ["status:read"]}
    return {**client, "secrets": secrets, **fields}


class FakeAdminApi:
    """Answers requests. `refusal` is answered to all that change something."""

    def __init__(self) -> None:
        self.sites: dict[str, dict[str, Any]] = {"608": a_site()}
        self.clients: dict[str, dict[str, Any]] = {"shop": a_client("shop")}
        self.keys = [{"number": 1, "kid": "key-1", "algorithm": "RS256", "signsFrom": 1_700_000_000}]
        self.changes: list[tuple[str, str, Any]] = []
        self.queries: list[str] = []
        self.refusal: httpx2.Response | Exception | None = None

    def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """Answer a request of the admin API; None to any other."""
        path = request.url.raw_path.decode().partition("?")[0]
        if not path.startswith(_BASE):
            return None
        parts = path.removeprefix(_BASE).split("/")
        if request.method == "GET":
            return self._read(parts)
        body = json.loads(request.content) if request.content else None
        self.changes.append((request.method, "/".join(parts), body))
        self.queries.append(request.url.query.decode())
        if isinstance(self.refusal, Exception):
            raise self.refusal
        return self.refusal or self._change(request.method, parts, body)

    def _read(self, parts: list[str]) -> httpx2.Response:
        match parts:
            case ["sites"]:
                found: Any = list(self.sites.values())
            case ["clients"]:
                found = list(self.clients.values())
            case ["keys"]:
                found = self.keys
            case [kind, name]:
                found = (self.sites if kind == "sites" else self.clients).get(name)
            case _:
                found = None
        return problem(404, "NOT_FOUND") if found is None else httpx2.Response(200, json=found)

    def _change(self, method: str, parts: list[str], body: Any) -> httpx2.Response:
        match method, parts:
            case "PUT", ["sites", number]:
                self.sites[number] = body
                return httpx2.Response(200, json=body)
            case "PATCH", ["clients", name]:
                self.clients[name] |= body
                return httpx2.Response(200, json=self.clients[name])
            case "POST", ["clients"]:
                self.clients[body["clientId"]] = a_client(body["clientId"])
                return httpx2.Response(201, json={"clientId": body["clientId"], "secret": SECRET})
            case "POST", ["clients", name, "secrets"]:
                return httpx2.Response(201, json={"clientId": name, "secret": SECRET})
            case "POST", ["keys"]:
                return httpx2.Response(201, json=self.keys)
            case _:
                return httpx2.Response(204)
