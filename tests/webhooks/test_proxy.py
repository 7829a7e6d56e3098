"""Requests through a proxy: it resolves the names and dials; TLS goes through it, up to the endpoint."""

import asyncio
import base64
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.domain.delivery import Outcome
from tests.webhooks.events import NOON_US

NAME = "shop.example"


class ConnectProxy:
    """Tunnels to this machine, whatever the name, except to names that it refuses."""

    def __init__(self, *, refuses: Sequence[str] = ("inside.example",)) -> None:
        self.requests: list[dict[str, str]] = []
        self._refuses = refuses
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        self.requests.append({"method": method, "target": target, **headers})
        host, port = target.rsplit(":", 1)
        if host in self._refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for source, target_writer in ((reader, inner_writer), (inner_reader, writer)):
            tunnel = asyncio.create_task(pump(source, target_writer))
            self._tunnels.add(tunnel)
            tunnel.add_done_callback(self._tunnels.discard)


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends."""
    try:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        return
    finally:
        target.close()


@pytest.fixture
async def proxy() -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy()
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of the endpoint's name, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(built.public_bytes(Encoding.PEM) + private)
    return path


@pytest.fixture
async def endpoint(certificate: Path) -> AsyncIterator[TestServer]:
    """An endpoint that speaks TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.host} {(await request.read()).decode()}")

    app = web.Application()
    app.router.add_post("/hooks", answer)
    server = TestServer(app)
    await server.start_server(ssl=context)
    yield server
    await server.close()


def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
    raise AssertionError(f"{host} was looked up here")


@asynccontextmanager
async def a_transport(proxy_url: str, certificate: Path) -> AsyncIterator[HttpTransport]:
    trusted = ssl.create_default_context(cafile=str(certificate))
    transport = HttpTransport(
        now_us=lambda: NOON_US, proxy=proxy_url, getaddrinfo=getaddrinfo, ssl_context=trusted, timeout_s=5
    )
    await transport.start()
    try:
        yield transport
    finally:
        await transport.stop()


async def post(transport: HttpTransport, url: str) -> Outcome:
    return await transport.post(url, {"webhook-id": "x"}, b"body")


async def test_the_proxy_resolves_and_dials(proxy: ConnectProxy, endpoint: TestServer, certificate: Path) -> None:
    """TLS is with the endpoint, whose certificate is checked; the proxy sees the name and the port."""
    url = f"https://{NAME}:{endpoint.port}/hooks"
    async with a_transport(f"http://{proxy.address}", certificate) as transport:
        outcome = await post(transport, url)
    assert (outcome.status, outcome.answer) == (200, f"{NAME}:{endpoint.port} body")
    (request,) = proxy.requests
    assert (request["method"], request["target"]) == ("CONNECT", f"{NAME}:{endpoint.port}")
    assert "webhook-id" not in request
    assert "proxy-authorization" not in request


async def test_the_proxy_gets_its_password(proxy: ConnectProxy, endpoint: TestServer, certificate: Path) -> None:
    async with a_transport(f"http://me:p%40ss@{proxy.address}", certificate) as transport:
        outcome = await post(transport, f"https://{NAME}:{endpoint.port}/hooks")
    assert outcome.status == 200
    sent = proxy.requests[0]["proxy-authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"me:p@ss"


async def test_a_name_that_the_proxy_refuses(proxy: ConnectProxy, certificate: Path) -> None:
    async with a_transport(f"http://{proxy.address}", certificate) as transport:
        outcome = await post(transport, "https://inside.example/hooks")
    assert (outcome.status, outcome.error) == (None, "proxy: answered 403")


async def test_a_proxy_that_is_not_there(certificate: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with a_transport(f"http://127.0.0.1:{port}", certificate) as transport:
            outcome = await post(transport, f"https://{NAME}/hooks")
    assert (outcome.status, outcome.error) == (None, "proxy: no connection")


async def test_another_names_certificate_is_refused(
    proxy: ConnectProxy, endpoint: TestServer, certificate: Path
) -> None:
    async with a_transport(f"http://{proxy.address}", certificate) as transport:
        outcome = await post(transport, f"https://other.example:{endpoint.port}/hooks")
    assert (outcome.status, (outcome.error or "").partition(":")[0]) == (None, "tls")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254"])
async def test_addresses_inside_do_not_reach_the_proxy(proxy: ConnectProxy, certificate: Path, host: str) -> None:
    async with a_transport(f"http://{proxy.address}", certificate) as transport:
        outcome = await post(transport, f"https://{host}/hooks")
    assert (outcome.error or "").startswith("refused: refused to connect to ")
    assert proxy.requests == []
