"""Sends requests to endpoints, and to nothing inside: every address is judged when it is dialled."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from ipaddress import ip_address
from time import monotonic
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.webhooks.domain.address import describe_refusal
from services.webhooks.domain.delivery import MAX_ANSWER_CHARS, Outcome
from services.webhooks.domain.retry import MAX_RETRY_AFTER_US

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 4_096
# Lookups of names that answer nothing block a thread each until the system's resolver gives up.
RESOLVER_THREADS = 64
DNS_CACHE_S = 10
USER_AGENT = "Tillstream-Webhooks/1"
MICROS = 1_000_000
_REFUSED = "refused to connect to"

Resolve = Callable[..., Any]


class AddressRefusedError(OSError):
    """An endpoint's name leads to an address that no endpoint may have."""


class ThreadResolver(AbstractResolver):
    """The system's resolver in threads of its own: names that answer nothing must not hold up other lookups."""

    def __init__(self, *, getaddrinfo: Resolve = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._executor = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        look_up = partial(self._getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family)
        found = await asyncio.get_running_loop().run_in_executor(self._executor, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Abandon lookups in progress."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class HttpTransport:
    """Posts to endpoints. Redirects are not followed; of the response, 4 KB at most are read.

    With a proxy, the proxy dials: it must refuse what `describe_refusal` refuses.
    """

    def __init__(
        self,
        *,
        now_us: Callable[[], int],
        allow_loopback: bool = False,
        proxy: str | None = None,
        timeout_s: float = TIMEOUT_S,
        getaddrinfo: Resolve = socket.getaddrinfo,
        ssl_context: ssl.SSLContext | bool = True,
    ) -> None:
        self._now_us = now_us
        self._allow_loopback = allow_loopback
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._getaddrinfo = getaddrinfo
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._resolver: ThreadResolver | None = None

    async def start(self) -> None:
        """Open the session; connections follow."""
        self._resolver = ThreadResolver(getaddrinfo=self._getaddrinfo)
        # Each endpoint bounds its own requests: a limit here would let one hold up the others.
        connector = aiohttp.TCPConnector(
            limit=0,
            ttl_dns_cache=DNS_CACHE_S,
            resolver=self._resolver,
            socket_factory=None if self._proxy else self._create_socket,
            ssl=self._ssl,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Content-Type": "application/json", "Accept-Encoding": "identity"},
        )

    async def stop(self) -> None:
        """Close all connections, and let the resolver's threads end."""
        if self._session is not None:
            await self._session.close()
        if self._resolver is not None:
            # A session closes only a resolver of its own.
            await self._resolver.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send one request; whatever happens is the outcome."""
        at_us, began_s = self._now_us(), monotonic()
        status: int | None = None
        answer, error, retry_after_us = "", None, 0
        try:
            async with asyncio.timeout(self._timeout_s), self._request(url, headers, body) as response:
                # A receiver that has sent its status has decided; the rest is for people.
                status = response.status
                retry_after_us = parse_retry_after(response.headers.get("Retry-After"), now_us=self._now_us())
                answer = _text(await _read_beginning(response))
                # The rest of a long response is not read: the connection cannot be used again.
                response.close()
        except Exception as failure:  # noqa: BLE001 - the receiver's misbehaviour is an outcome like any other
            error = None if status is not None else describe_failure(failure)
        return Outcome(
            at_us=at_us,
            latency_ms=int((monotonic() - began_s) * 1_000),
            status=status,
            error=error,
            answer=answer,
            retry_after_us=retry_after_us,
        )

    def _request(self, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        if self._session is None:
            raise RuntimeError("the transport is not started")
        if self._proxy is not None:
            self._refuse_literal(url)
        return self._session.post(url, data=body, headers=headers, allow_redirects=False, proxy=self._proxy)

    def _refuse_literal(self, url: str) -> None:
        """The proxy dials, and judges names; an address needs no look-up, so it is judged here, too."""
        with suppress(ValueError):
            self._judge(str(ip_address((URL(url).raw_host or "").removesuffix("."))))

    def _create_socket(self, address_info: Any) -> socket.socket:
        family, type_, protocol, _, address = address_info
        self._judge(address[0])
        return socket.socket(family=family, type=type_, proto=protocol)

    def _judge(self, address: str) -> None:
        refusal = describe_refusal(address, allow_loopback=self._allow_loopback)
        if refusal is not None:
            raise AddressRefusedError(f"{_REFUSED} {refusal}")


async def _read_beginning(response: aiohttp.ClientResponse) -> bytes:
    chunks = b""
    # What had arrived before the connection broke is still worth showing.
    with suppress(aiohttp.ClientError):
        while len(chunks) < MAX_ANSWER_BYTES and (chunk := await response.content.read(MAX_ANSWER_BYTES)):
            chunks += chunk
    return chunks[:MAX_ANSWER_BYTES]


def _text(answer: bytes) -> str:
    return answer.decode("utf-8", "replace").replace("\0", "")[:MAX_ANSWER_CHARS]


_DESCRIPTIONS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.InvalidURL, "refused: the host is not an ordinary name or address"),
    (aiohttp.ClientProxyConnectionError, "proxy: no connection"),
    (aiohttp.ClientConnectorDNSError, "dns: the name has no address"),
    (aiohttp.ClientConnectorCertificateError, "tls: the certificate is not valid"),
    (aiohttp.ClientConnectorSSLError, "tls: no common protocol"),
    (aiohttp.ClientConnectorError, "connect: no connection"),
    (aiohttp.ClientError, "protocol: the connection broke, or the response is not HTTP"),
)


def describe_failure(failure: BaseException) -> str:
    """Why there is no status: a stable word, and a detail where that helps."""
    cause = failure.os_error if isinstance(failure, aiohttp.ClientConnectorError) else failure
    if _REFUSED in (text := str(cause)):
        return "refused: " + text[text.index(_REFUSED) :].partition(",")[0]
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        return f"proxy: answered {failure.status}"
    return next((text for kind, text in _DESCRIPTIONS if isinstance(failure, kind)), "error")


def parse_retry_after(text: str | None, *, now_us: int) -> int:
    """The pause that a `Retry-After` header asks for, in microseconds; 0 for none or an invalid one."""
    if text is None:
        return 0
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:12]) * MICROS, MAX_RETRY_AFTER_US)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0, min(int(at.timestamp() * MICROS) - now_us, MAX_RETRY_AFTER_US))
