"""Auth's admin API, by the transport of the client library."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from services.portal.adapters.api_clients import AUTH_ADMIN
from services.portal.domain.administration import ClientView, KeyView
from tillstream import AsyncClient
from tillstream.http import decode

T = TypeVar("T")
_JSON = {"Content-Type": "application/json"}


class HttpAdministration:
    """The admin API with the token of one operator."""

    def __init__(self, client: AsyncClient) -> None:
        self._transport = client.transport

    async def sites(self) -> Sequence[Mapping[str, Any]]:
        """Return all sites, by number."""
        return await self._get("/sites", list[dict[str, Any]])

    async def site(self, number: str) -> Mapping[str, Any]:
        """Return one site."""
        return await self._get(_path("sites", number), dict[str, Any])

    async def put_site(self, number: str, site: Mapping[str, Any]) -> None:
        """Add or replace a site."""
        await self._send("PUT", _path("sites", number), site)

    async def clients(self) -> Sequence[ClientView]:
        """Return all clients, by id."""
        return await self._get("/clients", list[ClientView])

    async def client(self, client_id: str) -> ClientView:
        """Return one client."""
        return await self._get(_path("clients", client_id), ClientView)

    async def add_client(self, client: Mapping[str, Any]) -> str:
        """Add a client and return its secret."""
        return _secret(await self._send("POST", "/clients", client, is_repeatable=False))

    async def change_client(self, client_id: str, change: Mapping[str, Any]) -> None:
        """Change a client's API keys and scopes."""
        await self._send("PATCH", _path("clients", client_id), change)

    async def add_secret(self, client_id: str, *, grace_hours: int | None) -> str:
        """Return a further secret."""
        response = await self._transport.request(
            AUTH_ADMIN,
            "POST",
            _path("clients", client_id, "secrets"),
            params={"graceHours": grace_hours},
            is_repeatable=False,
        )
        return _secret(response.body)

    async def remove_secret(self, client_id: str, secret_id: str) -> None:
        """Remove a secret at once."""
        await self._transport.request(AUTH_ADMIN, "DELETE", _path("clients", client_id, "secrets", secret_id))

    async def revoke_client(self, client_id: str) -> None:
        """Revoke all tokens that were issued to a client."""
        await self._transport.request(AUTH_ADMIN, "POST", _path("clients", client_id, "revocations"))

    async def revoke_token(self, token_id: str) -> None:
        """Revoke one token."""
        await self._transport.request(AUTH_ADMIN, "POST", _path("tokens", token_id, "revocations"))

    async def keys(self) -> Sequence[KeyView]:
        """Return the signing keys, by number."""
        return await self._get("/keys", list[KeyView])

    async def add_key(self) -> None:
        """Add the next signing key."""
        await self._transport.request(AUTH_ADMIN, "POST", "/keys", is_repeatable=False)

    async def _get(self, path: str, type_: type[T]) -> T:
        return decode((await self._transport.request(AUTH_ADMIN, "GET", path)).body, type_)

    async def _send(self, method: str, path: str, body: Mapping[str, Any], *, is_repeatable: bool = True) -> bytes:
        content = msgspec.json.encode(body)
        response = await self._transport.request(
            AUTH_ADMIN, method, path, content=content, headers=_JSON, is_repeatable=is_repeatable
        )
        return response.body


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _secret(body: bytes) -> str:
    return str(decode(body, dict[str, Any])["secret"])
