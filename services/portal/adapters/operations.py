"""The operators' API, by the transport of the client library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from services.portal.adapters.api_clients import AUTH_ADMIN
from services.portal.domain.operations import EntryView, FindingsView, LetterView, ReplayView, TopicLoad
from tillstream import AsyncClient
from tillstream.http import Api, decode

_JSON = {"Content-Type": "application/json"}


class _Topics(msgspec.Struct):
    topics: list[TopicLoad]


class _Replays(msgspec.Struct):
    replays: list[ReplayView]


class _Entries(msgspec.Struct):
    entries: list[EntryView]


@dataclass(frozen=True, slots=True)
class OperatorApi(Api):
    """The operators' API: its tokens are those of auth's admin API, at another address."""

    admin_url: str

    @property
    def token_path(self) -> str:
        """The address of auth's token endpoint."""
        return self.admin_url.rstrip("/") + AUTH_ADMIN.token_path


class HttpOperations:
    """The operators' API with the token of one operator."""

    def __init__(self, client: AsyncClient, *, admin_url: str) -> None:
        """`client` calls the operators' API; tokens come from `admin_url`."""
        self._transport = client.transport
        self._api = OperatorApi("operator", "/operator/v1", admin_url)

    async def topics(self) -> Sequence[TopicLoad]:
        """Return all declared topics."""
        return (await self._transport.get(self._api, "/topics", _Topics)).topics

    async def dead_letters(self, criteria: Mapping[str, str]) -> FindingsView:
        """Return groups of dead letters."""
        return await self._transport.get(self._api, "/dead-letters", FindingsView, **criteria)

    async def dead_letter(self, topic: str, partition: str, offset: str) -> LetterView:
        """Return one dead letter with its record."""
        return await self._transport.get(self._api, _path("dead-letters", topic, partition, offset), LetterView)

    async def replays(self) -> Sequence[ReplayView]:
        """Return the newest replays."""
        return (await self._transport.get(self._api, "/replays", _Replays)).replays

    async def replay(self, replay_id: str) -> ReplayView:
        """Return one replay."""
        return await self._transport.get(self._api, _path("replays", replay_id), ReplayView)

    async def create_replay(self, filter_: Mapping[str, Any]) -> str:
        """Add a replay, a dry run until it is started; return its id."""
        response = await self._transport.request(
            self._api, "POST", "/replays", content=msgspec.json.encode(filter_), headers=_JSON, is_repeatable=False
        )
        return decode(response.body, ReplayView).id

    async def start_replay(self, replay_id: str) -> None:
        """Start or resume a replay."""
        await self._transport.request(self._api, "POST", _path("replays", replay_id, "start"), is_repeatable=False)

    async def abort_replay(self, replay_id: str) -> None:
        """Abort a replay."""
        await self._transport.request(self._api, "POST", _path("replays", replay_id, "abort"), is_repeatable=False)

    async def audit(self, *, before: str, limit: int) -> Sequence[EntryView]:
        """Return the newest entries of the audit trail, or those before one."""
        return (await self._transport.get(self._api, "/audit", _Entries, before=before or None, limit=limit)).entries


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)
