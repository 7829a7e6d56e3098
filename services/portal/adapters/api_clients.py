"""Calls of the public APIs: one set of connections for all, tokens for each session."""

import base64
from collections import OrderedDict
from collections.abc import Sequence

import httpx2
import msgspec

from services.chassis.runtime.errors import UnavailableError
from services.portal.domain.api_catalogue import Server
from services.portal.domain.session import Grant, Session
from tillstream import AsyncClient, NotAllowedError, RetryPolicy, TillstreamError
from tillstream.http import EVENTS, FULFILMENT, IMPORT, LEDGER, STATUS, USER_AGENT, Api

AUTH_ADMIN = Api("auth-admin", "/auth-admin/v1")
APIS = (STATUS, IMPORT, FULFILMENT, LEDGER, EVENTS)
# A page shows an error soon instead of a result late.
RETRY = RetryPolicy(max_wait_s=4.0, timeout_s=35.0)
MAX_CLIENTS = 5_000
MAX_CONNECTIONS = 200


class _Claims(msgspec.Struct):
    """What a token says of its client."""

    scope: str = ""
    site: int = 0
    api_keys: tuple[str, ...] = ()


class ApiClients:
    """Clients of the installation; a session's keeps its tokens until it is dropped."""

    def __init__(
        self,
        api_url: str,
        admin_url: str | None,
        *,
        operator_url: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        retry: RetryPolicy = RETRY,
    ) -> None:
        """`transport` replaces the connections, for tests."""
        self._api_url, self._admin_url, self._operator_url = api_url, admin_url, operator_url
        self._transport, self._retry = transport, retry
        self._http: dict[str, httpx2.AsyncClient] = {}
        self._clients: OrderedDict[str, AsyncClient] = OrderedDict()
        self._admin_clients: OrderedDict[str, AsyncClient] = OrderedDict()
        self._operator_clients: OrderedDict[str, AsyncClient] = OrderedDict()

    async def start(self) -> None:
        """Do nothing: connections are opened when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        for http in self._http.values():
            await http.aclose()

    def of(self, session: Session) -> AsyncClient:
        """Return the client of a session, for the APIs of customers."""
        return self._get(self._clients, self._api_url, session)

    def admin_of(self, session: Session) -> AsyncClient:
        """Return the client of an operator's session, for auth's admin API; raises `UnavailableError` without one."""
        if self._admin_url is None:
            raise UnavailableError("the admin API")
        return self._get(self._admin_clients, self._admin_url, session)

    def operator_of(self, session: Session) -> AsyncClient:
        """Return the client of an operator's session, for the operators' API; raises `UnavailableError` without one."""
        if self._admin_url is None or self._operator_url is None:
            raise UnavailableError("the operators' API")
        return self._get(self._operator_clients, self._operator_url, session)

    def connect(self, server: Server = "gateway") -> httpx2.AsyncClient:
        """Return the connections, for requests without a client's token; raises `UnavailableError` without that API."""
        url = {"gateway": self._api_url, "admin": self._admin_url, "operator": self._operator_url}[server]
        if url is None:
            raise UnavailableError(f"the {server} API")
        return self._http_of(url)

    def drop(self, session_id: str) -> None:
        """Forget the tokens of a session that has ended."""
        self._clients.pop(session_id, None)
        self._admin_clients.pop(session_id, None)
        self._operator_clients.pop(session_id, None)

    async def inspect(self, client_id: str, client_secret: str) -> Grant | None:
        """Return what a client may do, by the tokens that it gets; None if its id or secret is wrong."""
        client = self._connect(self._api_url, client_id, client_secret, "")
        try:
            claims = [*await self._claims(client, APIS), *await self._admin_claims(client_id, client_secret)]
        except NotAllowedError:
            return None
        except TillstreamError as error:
            raise UnavailableError("auth") from error
        scopes = frozenset(scope for each in claims for scope in each.scope.split())
        site = max((each.site for each in claims), default=0)
        api_keys = next((each.api_keys for each in claims if each.api_keys), ())
        time_zone = await self._time_zone(client_id, client_secret, api_keys, scopes)
        return Grant(site=site, api_keys=api_keys, scopes=scopes, time_zone=time_zone)

    async def _admin_claims(self, client_id: str, client_secret: str) -> list[_Claims]:
        if self._admin_url is None:
            return []
        return await self._claims(self._connect(self._admin_url, client_id, client_secret, ""), [AUTH_ADMIN])

    @staticmethod
    async def _claims(client: AsyncClient, apis: Sequence[Api]) -> list[_Claims]:
        """Return the claims of the tokens that the client gets; raises `NotAllowedError` if its secret is wrong."""
        found = []
        for api in apis:
            try:
                token = await client.transport.access_token(api)
            except NotAllowedError as error:
                if error.status == 401:
                    raise
                continue
            found.append(_read_claims(token))
        return found

    async def _time_zone(
        self, client_id: str, client_secret: str, api_keys: Sequence[str], scopes: frozenset[str]
    ) -> str:
        """Return the zone of the site, as its reports name it."""
        if not api_keys or "sales:read" not in scopes:
            return "UTC"
        client = self._connect(self._api_url, client_id, client_secret, api_keys[0])
        try:
            return (await client.ledger.report(by=["month"])).zone
        except TillstreamError:
            return "UTC"

    def _get(self, clients: OrderedDict[str, AsyncClient], url: str, session: Session) -> AsyncClient:
        client = clients.get(session.id)
        if client is None:
            client = clients[session.id] = self._connect(url, session.client_id, session.client_secret, session.api_key)
            if len(clients) > MAX_CLIENTS:
                clients.popitem(last=False)
        clients.move_to_end(session.id)
        return client

    def _connect(self, url: str, client_id: str, client_secret: str, api_key: str) -> AsyncClient:
        # Never closed one by one: they share the connections.
        return AsyncClient(url, client_id, client_secret, api_key, retry=self._retry, http=self._http_of(url))

    def _http_of(self, url: str) -> httpx2.AsyncClient:
        http = self._http.get(url)
        if http is None:
            limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
            timeout = httpx2.Timeout(RETRY.timeout_s, connect=3.0)
            headers = {"User-Agent": f"tillstream-portal {USER_AGENT}"}
            http = httpx2.AsyncClient(
                base_url=url.rstrip("/"), timeout=timeout, limits=limits, headers=headers, transport=self._transport
            )
            self._http[url] = http
        return http


def _read_claims(token: str) -> _Claims:
    """Return what a token says. It came from auth itself, which is why its signature need not be checked here."""
    _, payload, _ = token.split(".")
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
