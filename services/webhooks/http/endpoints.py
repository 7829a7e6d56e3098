"""Handlers of endpoints, their deliveries and their replays."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec, page_token_from_query, pagination, rows_from_query
from services.chassis.http.responses import json_response
from services.chassis.runtime.errors import Problem
from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.audit import AuditLog
from services.chassis.security.authentication import Caller
from services.webhooks.domain.endpoint import MAX_ENDPOINTS, Endpoint
from services.webhooks.domain.replay import Replay
from services.webhooks.flows import manage_endpoints as flow
from services.webhooks.http import responses
from services.webhooks.http.authentication import Authenticator
from services.webhooks.http.bodies import parse_endpoint, parse_overlap, parse_replay, read_object
from services.webhooks.http.feed import BASE, READ

WRITE = "webhooks:write"
ENDPOINTS, ENDPOINT = BASE + "/endpoints", BASE + "/endpoints/{endpointId}"
REPLAY = ENDPOINT + "/replays/{replayId}"
DEFAULT_ROWS, MAX_ROWS = 50, 500
# A page ends with the delivery that reaches this size: each may have fifty tries with what the endpoint answered.
MAX_PAGE_BYTES = 1024 * 1024
# Deliveries that are read at once. Decoding and rendering fifty tries takes a fraction of a millisecond.
PORTION, MANY_TRIES = 10, 10
# The names of an endpoint's fields in the API, where they differ.
_NAMES = {"ordered": "is_ordered"}
_NO_STORE = {"Cache-Control": "no-store"}


class EndpointsApi:
    """Handlers of endpoints; `routes` binds them to their paths."""

    def __init__(
        self,
        *,
        deps: flow.Deps,
        authenticator: Authenticator,
        page_tokens: PageTokenCodec,
        public_keys: Sequence[Mapping[str, str]],
        page_limits: PageLimits,
        audit: AuditLog,
        allow_loopback: bool,
        body_timeout_s: float,
    ) -> None:
        self._deps = deps
        self._authenticator = authenticator
        self._page_tokens = page_tokens
        self._public_keys = public_keys
        self._page_limits = page_limits
        self._audit = audit
        self._allow_loopback = allow_loopback
        self._body_timeout_s = body_timeout_s

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes of endpoints."""
        return [
            web.get("/events/v1/keys", self.keys),
            web.post(ENDPOINTS, self.create),
            web.get(ENDPOINTS, self.list),
            web.get(ENDPOINT, self.show),
            web.patch(ENDPOINT, self.change),
            web.delete(ENDPOINT, self.delete),
            web.post(ENDPOINT + "/rotate", self.rotate),
            web.get(ENDPOINT + "/deliveries", self.deliveries),
            web.post(ENDPOINT + "/replay", self.replay),
            web.get(REPLAY, self.show_replay),
            web.delete(REPLAY, self.stop_replay),
        ]

    async def keys(self, _request: web.Request) -> web.Response:
        """The public keys that verify `v1a` signatures."""
        return json_response({"keys": self._public_keys}, headers={"Cache-Control": "public, max-age=300"})

    async def create(self, request: web.Request) -> web.Response:
        """Create an endpoint; its secret is shown in this response only."""
        caller = await self._authenticator.authenticate(request, WRITE)
        body = await read_object(request, timeout_s=self._body_timeout_s)
        fields = parse_endpoint(body, allow_loopback=self._allow_loopback, is_new=True).present()
        created = await flow.create_endpoint(
            caller.site.site,
            fields["url"],
            self._deps,
            types=fields.get("types", ()),
            description=fields.get("description", ""),
            is_ordered=fields.get("ordered", False),
        )
        if created is None:
            raise Problem(409, "TOO_MANY_ENDPOINTS", f"a site may have at most {MAX_ENDPOINTS} endpoints")
        endpoint, secret = created
        self._record(request, caller, "endpoint-created", endpoint.id)
        headers = {"Location": f"{request.rel_url.raw_path}/{endpoint.id}", "Cache-Control": "no-store"}
        return json_response(responses.endpoint_with_secret(endpoint, secret), status=201, headers=headers)

    async def list(self, request: web.Request) -> web.Response:
        """All endpoints of a site."""
        caller = await self._authenticator.authenticate(request, READ)
        endpoints = await self._deps.endpoints.list_endpoints(caller.site.site)
        return _private({"result": list(map(responses.endpoint, endpoints))})

    async def show(self, request: web.Request) -> web.Response:
        """One endpoint."""
        _, endpoint = await self._find(request, READ)
        return _private(responses.endpoint(endpoint))

    async def change(self, request: web.Request) -> web.Response:
        """Change some fields of an endpoint."""
        caller, endpoint = await self._find(request, WRITE)
        body = await read_object(request, timeout_s=self._body_timeout_s)
        fields = parse_endpoint(body, allow_loopback=self._allow_loopback, is_new=False).present()
        is_enabled = fields.pop("enabled", None)

        def apply(before: Endpoint) -> Endpoint:
            after = replace(before, **{_NAMES.get(name, name): value for name, value in fields.items()})
            return after if is_enabled is None else flow.set_enabled(after, is_enabled=is_enabled)

        changed = await flow.change_endpoint(endpoint.site, endpoint.id, apply, self._deps)
        if changed is None:
            raise _endpoint_not_found()
        self._record(request, caller, "endpoint-changed", endpoint.id)
        return _private(responses.endpoint(changed))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete an endpoint."""
        caller, endpoint = await self._find(request, WRITE)
        await self._deps.endpoints.delete(endpoint.site, endpoint.id)
        self._deps.on_change()
        self._record(request, caller, "endpoint-deleted", endpoint.id)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def rotate(self, request: web.Request) -> web.Response:
        """Give an endpoint a new secret; the old ones sign, too, for a while."""
        caller, endpoint = await self._find(request, WRITE)
        body = await read_object(request, timeout_s=self._body_timeout_s, may_be_empty=True)
        try:
            rotated = await flow.rotate_secret(endpoint.site, endpoint.id, self._deps, overlap_s=parse_overlap(body))
        except flow.TooManySecretsError:
            detail = "the endpoint has too many secrets that still sign; wait, or send an overlap of 0"
            raise Problem(409, "TOO_MANY_SECRETS", detail) from None
        if rotated is None:
            raise _endpoint_not_found()
        self._record(request, caller, "endpoint-secret-rotated", endpoint.id)
        return json_response(responses.endpoint_with_secret(*rotated), headers={"Cache-Control": "no-store"})

    async def deliveries(self, request: web.Request) -> web.Response:
        """What became of events at an endpoint, the newest first."""
        caller, endpoint = await self._find(request, READ)
        client_id = caller.token.client_id
        rows = rows_from_query(request.query, default=DEFAULT_ROWS, maximum=MAX_ROWS)
        token, scope = page_token_from_query(request.query), ["deliveries", endpoint.id]
        before = None if token is None else self._page_tokens.decode(scope, token, parts=1)[0]
        async with self._page_limits.rendering(client_id, is_large=rows > DEFAULT_ROWS):
            page, last = await self._read_deliveries(endpoint.id, before, rows)
            following = None if last is None else self._page_tokens.encode(scope, [last])
            body = {"pagination": pagination(rows, len(page), following), "result": page}
            return self._page_limits.json_response(client_id, body, headers=_NO_STORE)

    async def _read_deliveries(
        self, endpoint_id: str, before: int | None, rows: int
    ) -> tuple[Sequence[msgspec.Raw], int | None]:
        """Deliveries as JSON, and the sequence of the last one if more follow."""
        page: list[msgspec.Raw] = []
        size = 0
        while True:
            portion = min(rows - len(page), PORTION)
            found = await self._deps.deliveries.find_page(endpoint_id, before=before, rows=portion)
            for number, delivery in enumerate(found[:portion], start=1):
                page.append(msgspec.Raw(msgspec.json.encode(responses.delivery(delivery))))
                before = delivery.sequence
                size += len(page[-1])
                if size >= MAX_PAGE_BYTES:
                    return page, before if number < len(found) else None
                if len(delivery.tries) > MANY_TRIES:
                    await asyncio.sleep(0)
            if len(found) <= portion or len(page) >= rows:
                return page, before if len(found) > portion else None
            await asyncio.sleep(0)

    async def replay(self, request: web.Request) -> web.Response:
        """Send events of the past again."""
        caller, endpoint = await self._find(request, WRITE)
        body = await read_object(request, timeout_s=self._body_timeout_s)
        asked = parse_replay(body, zone=load_time_zone(caller.site.time_zone))
        end = None
        if asked.event_id is not None:
            event = await self._deps.feed.find_event(endpoint.site, asked.event_id)
            if event is None:
                raise Problem(404, "EVENT_NOT_FOUND", "there is no such event in the feed")
            start, end = event.sequence - 1, event.sequence
        else:
            # What was recorded at that very time belongs to it.
            start = await self._deps.feed.find_position(endpoint.site, (asked.since_us or 0) - 1)
        if not endpoint.is_enabled:
            raise Problem(409, "ENDPOINT_DISABLED", "the endpoint is disabled; enable it first")
        replay = await flow.start_replay(endpoint, self._deps, start=start, end=end, only_failed=asked.only_failed)
        if replay is None:
            raise Problem(409, "REPLAY_RUNNING", "another replay of the endpoint is running; wait, or stop it")
        self._record(request, caller, "endpoint-replay-started", endpoint.id)
        headers = {"Location": request.rel_url.raw_path.removesuffix("/replay") + f"/replays/{replay.id}"}
        return json_response(responses.replay(replay), status=202, headers=headers)

    async def show_replay(self, request: web.Request) -> web.Response:
        """How far a replay is."""
        _, endpoint = await self._find(request, READ)
        return _private(responses.replay(await self._find_replay(request, endpoint)))

    async def stop_replay(self, request: web.Request) -> web.Response:
        """Stop a replay; one that has ended stays as it is."""
        caller, endpoint = await self._find(request, WRITE)
        replay = await self._find_replay(request, endpoint)
        await self._deps.replays.stop(endpoint.id, replay.id)
        self._deps.on_change()
        self._record(request, caller, "endpoint-replay-stopped", endpoint.id)
        return _private(responses.replay(await self._find_replay(request, endpoint)))

    async def _find(self, request: web.Request, scope: str) -> tuple[Caller, Endpoint]:
        """The caller and its endpoint; raises a 404 for another site's."""
        caller = await self._authenticator.authenticate(request, scope)
        endpoint = await self._deps.endpoints.find(caller.site.site, request.match_info["endpointId"].lower())
        if endpoint is None:
            raise _endpoint_not_found()
        return caller, endpoint

    async def _find_replay(self, request: web.Request, endpoint: Endpoint) -> Replay:
        replay = await self._deps.replays.find(endpoint.id, request.match_info["replayId"].lower())
        if replay is None:
            raise Problem(404, "REPLAY_NOT_FOUND", "there is no such replay")
        return replay

    def _record(self, request: web.Request, caller: Caller, action: str, endpoint_id: str) -> None:
        self._audit.record(
            action,
            actor=caller.token.client_id,
            source=request.remote or "unknown",
            site=caller.site.site,
            endpointId=endpoint_id,
        )


def _private(body: Any) -> web.Response:
    return json_response(body, headers=_NO_STORE)


def _endpoint_not_found() -> Problem:
    return Problem(404, "ENDPOINT_NOT_FOUND", "there is no such endpoint")
