"""How clients use a connection: `Expect: 100-continue` and a closed sending side, on every API."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.e2e.customer import BASES, DEMO, Customer
from tests.e2e.installation import Installation

FORM = {"grant_type": "client_credentials", "client_id": DEMO.client_id, "client_secret": DEMO.secret}


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request and the service that answers it with a 2xx."""

    service: str
    path: str
    body: bytes
    content_type: str = "application/json"
    token: str = ""

    def head(self, *lines: str, length: int | None = None) -> bytes:
        size = len(self.body) if length is None else length
        own = [f"Content-Type: {self.content_type}", f"Content-Length: {size}", f"Authorization: Bearer {self.token}"]
        sent = own if self.token else own[:2]
        return "\r\n".join([f"POST {self.path} HTTP/1.1", "Host: x", *sent, *lines, "", ""]).encode()


ENDPOINTS = f"{BASES['events']}/{DEMO.api_key}/endpoints"


@pytest.fixture(params=["token", "orders", "codes", "endpoint"])
async def request_(request: pytest.FixtureRequest, customer: Customer) -> AsyncIterator[Request]:
    match request.param:
        case "token":
            form = urlencode(FORM).encode()
            yield Request("auth", BASES["status"] + "/oauth2/token", form, "application/x-www-form-urlencoded")
        case "orders":
            body = json.dumps([customer.order()]).encode()
            path = f"{BASES['import']}/{DEMO.api_key}/orders"
            yield Request("ingest", path, body, token=await customer.token("import"))
        case "codes":
            body = json.dumps({"products": [{"sku": "DEMO-INSTANT", "quantity": 1}]}).encode()
            path = BASES["fulfilment"] + "/orders"
            yield Request("fulfilment", path, body, token=await customer.token("fulfilment"))
        case _:
            body = json.dumps({"url": "https://nobody.example/connections", "types": ["invoice.issued"]}).encode()
            yield Request("webhooks", ENDPOINTS, body, token=await customer.token("events"))
            await delete_endpoints(customer, "https://nobody.example/connections")


async def delete_endpoints(customer: Customer, url: str) -> None:
    """A site may have twenty."""
    headers = {"Authorization": f"Bearer {await customer.token('events')}"}
    found = await customer.call("GET", ENDPOINTS, headers=headers)
    for endpoint in found.json["result"]:
        if endpoint["url"] == url:
            await customer.call("DELETE", f"{ENDPOINTS}/{endpoint['id']}", headers=headers)


async def exchange(address: str, *pieces: bytes, closes: bool = False) -> list[bytes]:
    """Send the pieces, each after the answer to the one before; return the heads of all answers."""
    url = urlsplit(address if "://" in address else f"//{address}")
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    received = b""
    async with asyncio.timeout(20):
        for number, piece in enumerate(pieces):
            if number:
                received += await reader.readuntil(b"\r\n\r\n")
            writer.write(piece)
        if closes:
            writer.write_eof()
        received += await reader.read()
    writer.close()
    return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")] + [received]


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once(base: str, request_: Request) -> None:
    head = request_.head("Expect: 100-continue", "Connection: close")
    asked, answered, _ = await exchange(base, head, request_.body)
    assert asked == b"HTTP/1.1 100 Continue"
    assert answered.startswith(b"HTTP/1.1 20")


async def test_a_body_shorter_than_declared_is_the_clients_mistake(base: str, request_: Request) -> None:
    sent = request_.head(length=len(request_.body) + 9) + request_.body
    status, received = await exchange(base, sent, closes=True)
    assert status.startswith(b"HTTP/1.1 400 ")
    assert b"Retry-After" not in received


async def test_a_client_that_sends_no_more_gets_its_answer_from_the_service(
    installation: Installation, request_: Request
) -> None:
    """Behind the gateway: it cancels the requests of such clients."""
    address = installation.endpoints["services"][request_.service]["api"]
    status, _ = await exchange(address, request_.head() + request_.body, closes=True)
    assert status.startswith(b"HTTP/1.1 20")


JAVA = """
import java.net.URI; import java.net.http.*; import java.net.http.HttpRequest.BodyPublishers;
class Client { public static void main(String[] a) throws Exception {
  var request = HttpRequest.newBuilder(URI.create(a[0])).expectContinue(true).header("Content-Type", a[1])
      .header("Authorization", "Bearer " + a[2]).POST(BodyPublishers.ofString(a[3])).build();
  var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  System.out.print(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode()); } }
"""
NODE = """
const [url, type, token, body] = process.argv.slice(2);
const headers = {"Content-Type": type, Authorization: "Bearer " + token, "Content-Length": Buffer.byteLength(body),
  Expect: "100-continue"};
let asked = 0;
const request = require("http").request(url, {method: "POST", headers}, response => {
  response.resume().on("end", () => process.stdout.write(asked === 1 ? String(response.statusCode) : "asked " + asked));
});
request.on("continue", () => { asked += 1; if (asked === 1) request.end(body); });
request.flushHeaders();
"""


def _java(directory: Path) -> list[str]:
    (directory / "Client.java").write_text(JAVA)
    return ["java", str(directory / "Client.java")]


def _node(directory: Path) -> list[str]:
    (directory / "client.js").write_text(NODE)
    return ["node", str(directory / "client.js")]


@pytest.mark.parametrize(
    ("command", "needed"), [(_java, ("java", "javac")), (_node, ("node",))], ids=["java.net.http", "node"]
)
async def test_clients_that_wait_to_be_asked_get_their_answer(
    base: str, request_: Request, tmp_path: Path, command: Callable[[Path], list[str]], needed: tuple[str, ...]
) -> None:
    if not all(shutil.which(program) for program in needed):
        pytest.skip(f"needs {' and '.join(needed)}")
    arguments = [base + request_.path, request_.content_type, request_.token or "-", request_.body.decode()]
    done = await asyncio.to_thread(
        subprocess.run, [*command(tmp_path), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout in {"200", "201", "202"}, done
