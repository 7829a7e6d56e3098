"""The API for operators, on an internal port: topics, dead letters, replays, the audit trail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from services.chassis.http.openapi import openapi_route
from services.chassis.http.responses import json_response
from services.chassis.http.source_address import Networks, get_source_address
from services.chassis.runtime.errors import Problem, StartingError
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.operator.domain.replay import ReplayNotFoundError, WrongStateError
from services.operator.flows import replays
from services.operator.flows.replays import Operator
from services.operator.http.params import parse_limit, read_selection, selection_from_query
from services.operator.ports import Topics
from services.operator.wire import decoded_to_json, entry_to_json, findings_to_json, replay_to_json, topic_to_json

BASE = "/operator/v1"
SCOPE = "admin"
MAX_REPLAYS = 100

Handler = Callable[[web.Request, Operator], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorApi:
    """The routes and what they need."""

    authenticator: RequestAuthenticator
    is_started: Callable[[], bool]
    topics: Topics
    deps: replays.Deps
    proxies: Networks
    openapi: Path

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/topics"): self.list_topics,
            ("GET", "/dead-letters"): self.find_letters,
            ("GET", "/dead-letters/{topic}/{partition}/{offset}"): self.show_letter,
            ("GET", "/replays"): self.list_replays,
            ("POST", "/replays"): self.create_replay,
            ("GET", "/replays/{replay}"): self.show_replay,
            ("POST", "/replays/{replay}/start"): self.start_replay,
            ("POST", "/replays/{replay}/abort"): self.abort_replay,
            ("GET", "/audit"): self.list_entries,
        }
        return [
            openapi_route("/operator/openapi.yaml", self.openapi),
            *(web.route(method, BASE + path, self._wrap(handler)) for (method, path), handler in handlers.items()),
        ]

    def _wrap(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def wrapped(request: web.Request) -> web.Response:
            token = await self.authenticator.token(request)
            require_scope(token, SCOPE)
            if not self.is_started():
                raise StartingError("the service")
            try:
                return await handler(request, Operator(token.client_id, get_source_address(request, self.proxies)))
            except ReplayNotFoundError:
                raise _not_found("replay") from None
            except WrongStateError as error:
                raise Problem(409, "NOT_POSSIBLE", str(error)) from None

        return wrapped

    async def list_topics(self, _request: web.Request, _operator: Operator) -> web.Response:
        """All declared topics."""
        now_us = self.deps.now_us()
        return _json({"topics": [topic_to_json(each, now_us=now_us) for each in await self.topics.describe()]})

    async def find_letters(self, request: web.Request, _operator: Operator) -> web.Response:
        """Groups of dead letters."""
        return _json(findings_to_json(await self.deps.letters.find(selection_from_query(request.query))))

    async def show_letter(self, request: web.Request, operator: Operator) -> web.Response:
        """One dead letter; who looks at it is in the audit trail."""
        name = "/".join(request.match_info[part] for part in ("topic", "partition", "offset"))
        decoded = await self.deps.letters.decode(name)
        if decoded is None:
            raise _not_found("dead letter")
        await self.deps.audit.record(
            "dead letter shown", actor=operator.client_id, source=operator.source, details={"deadLetter": name}
        )
        return _json(decoded_to_json(decoded))

    async def list_replays(self, _request: web.Request, _operator: Operator) -> web.Response:
        """The newest replays."""
        return _json({"replays": [replay_to_json(each) for each in await self.deps.replays.newest(limit=MAX_REPLAYS)]})

    async def create_replay(self, request: web.Request, operator: Operator) -> web.Response:
        """Add a replay, a dry run until it is started."""
        replay = await replays.create(await read_selection(request), operator, self.deps)
        return _json(replay_to_json(replay), status=201)

    async def show_replay(self, request: web.Request, _operator: Operator) -> web.Response:
        """One replay."""
        found = await self.deps.replays.find(request.match_info["replay"])
        if found is None:
            raise ReplayNotFoundError
        return _json(replay_to_json(found))

    async def start_replay(self, request: web.Request, operator: Operator) -> web.Response:
        """Start or resume a replay."""
        return _json(replay_to_json(await replays.start(request.match_info["replay"], operator, self.deps)))

    async def abort_replay(self, request: web.Request, operator: Operator) -> web.Response:
        """Abort a replay."""
        return _json(replay_to_json(await replays.abort(request.match_info["replay"], operator, self.deps)))

    async def list_entries(self, request: web.Request, _operator: Operator) -> web.Response:
        """The audit trail, newest first."""
        limit = parse_limit(request.query)
        entries = await self.deps.audit.entries(before=request.query.get("before", ""), limit=limit)
        return _json({"entries": [entry_to_json(entry) for entry in entries]})


def _json(body: Any, *, status: int = 200) -> web.Response:
    return json_response(body, status=status, headers={"Cache-Control": "no-store"})


def _not_found(what: str) -> Problem:
    return Problem(404, "NOT_FOUND", f"there is no such {what}")
