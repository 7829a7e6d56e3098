"""Sends requests that readers have composed, each once, and returns whatever comes back."""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter

import httpx2

from services.chassis.runtime.errors import UnavailableError
from services.portal.adapters.api_clients import AUTH_ADMIN
from services.portal.domain.api_catalogue import API_ENTRIES
from services.portal.domain.api_requests import ApiRequest
from services.portal.domain.api_responses import ApiResponse
from services.portal.domain.session import Session
from tillstream import AsyncClient
from tillstream.http import EVENTS, FULFILMENT, IMPORT, LEDGER, STATUS, Api

MAX_RESPONSE_BYTES = 256 * 1024
# More than the 30 seconds for which `Prefer: wait` may hold a request.
TIMEOUT_S = 40.0
# The audience of a document's tokens. Operations of auth need none that the portal has.
TOKEN_APIS: Mapping[str, Api] = {
    "omnichannel": IMPORT,
    "common-status": STATUS,
    "ledger": LEDGER,
    "fulfilment": FULFILMENT,
    "events": EVENTS,
    "auth-admin": AUTH_ADMIN,
    "operator": AUTH_ADMIN,
}


class HttpApiCaller:
    """Sends requests with the tokens of a session."""

    def __init__(
        self,
        connect: Callable[..., httpx2.AsyncClient],
        client_of: Callable[[Session], AsyncClient],
        admin_of: Callable[[Session], AsyncClient],
    ) -> None:
        """`connect` returns the connections to a server of APIs."""
        self._connect, self._client_of, self._admin_of = connect, client_of, admin_of

    async def call(self, document: str, request: ApiRequest, session: Session, *, has_token: bool) -> ApiResponse:
        """Send a request. Raises `UnavailableError`, and `NotAllowedError` if the client gets no token."""
        entry = API_ENTRIES[document]
        headers = {"Accept": "application/json, */*;q=0.5", **request.headers}
        if has_token:
            client = self._admin_of(session) if entry.is_for_operators else self._client_of(session)
            headers["Authorization"] = f"Bearer {await client.transport.access_token(TOKEN_APIS[document])}"
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await _send(self._connect(entry.server), request, headers)
        except (httpx2.TransportError, httpx2.DecodingError, TimeoutError) as error:
            raise UnavailableError(f"the {document} API") from error


async def _send(http: httpx2.AsyncClient, request: ApiRequest, headers: Mapping[str, str]) -> ApiResponse:
    content = None if request.body is None else request.body.encode()
    started = perf_counter()
    async with http.stream(request.method, request.path, headers=dict(headers), content=content) as response:
        body, is_whole = await _read(response)
        media_type, _, _ = response.headers.get("content-type", "").partition(";")
        return ApiResponse(
            status=response.status_code,
            reason=response.reason_phrase,
            headers=list(response.headers.items()),
            media_type=media_type.strip().lower(),
            body=body,
            is_whole=is_whole,
            duration_ms=1_000 * (perf_counter() - started),
        )


async def _read(response: httpx2.Response) -> tuple[bytes, bool]:
    """Return the body up to the bound, and whether that is all of it."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            return bytes(body[:MAX_RESPONSE_BYTES]), False
    return bytes(body), True
