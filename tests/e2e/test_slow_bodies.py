"""A body that does not arrive is answered in time, with the same status by every API."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from tests.e2e.customer import DEMO, Customer, Tenant
from tests.e2e.installation import REPOSITORY, Installation

pytestmark = pytest.mark.timeout(120)

DOCUMENTS = REPOSITORY / "schemas" / "openapi"
# Services wait ten seconds; the gateway adds little.
ANSWERED_WITHIN_S = 14.0
TOKENS = {
    "omnichannel": "/omnichannel/api/v1/oauth2/token",
    "fulfilment": "/fulfilment/v1/oauth2/token",
    "events": "/events/v1/oauth2/token",
    "auth-admin": "/auth-admin/v1/oauth2/token",
}
SCOPES = ("orders:write", "returns:write", "orders:create", "stock:write", "webhooks:write")
PARAMETERS = {"apiKey": DEMO.api_key, "site": "608", "client": DEMO.client_id}


@dataclass(frozen=True, slots=True)
class Operation:
    """A request with a body, as a document describes it."""

    api: str
    method: str
    path: str

    @property
    def is_oauth(self) -> bool:
        """Whether errors are those of RFC 6749."""
        return "/oauth2/" in self.path

    @property
    def expected(self) -> tuple[int, str]:
        """Status and code of the answer; the registry speaks Confluent's protocol."""
        if self.is_oauth:
            return 400, "invalid_request"
        if "{endpointId}" in self.path:
            # No such endpoint, which is known without the body.
            return 404, "ENDPOINT_NOT_FOUND"
        return 408, "408" if self.api == "registry" else "BODY_TIMEOUT"

    @property
    def target(self) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: PARAMETERS.get(match[1], "1"), self.path)


def operations() -> Iterator[Operation]:
    for file in sorted(DOCUMENTS.glob("*.yaml")):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        base = urlsplit(document.get("servers", [{"url": ""}])[0]["url"]).path.rstrip("/")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if isinstance(operation, dict) and "requestBody" in operation:
                    yield Operation(file.stem, method.upper(), base + path)
    yield Operation("registry", "POST", "/registry/compatibility/subjects/orders.submitted.v1-value/versions/latest")


async def test_a_body_that_does_not_arrive_is_a_408(installation: Installation, session: aiohttp.ClientSession) -> None:
    """With a declared length and in chunks. Token endpoints report their own kind of error."""
    admin = installation.endpoints["services"]["auth"]["admin"]
    operator = installation.endpoints["services"]["operator"]["api"]
    bases = {
        name: address if "://" in address else f"http://{address}"
        for name, address in {"auth-admin": admin, "operator": operator}.items()
    }
    tokens = await all_tokens(installation, session, bases["auth-admin"])
    # The operators' API takes those of auth's admin API.
    tokens["operator"] = tokens["auth-admin"]
    found = list(operations())
    assert {each.api for each in found} == {
        "auth",
        "auth-admin",
        "events",
        "fulfilment",
        "omnichannel",
        "operator",
        "registry",
    }
    cases = [(each, framing) for each in found for framing in ("Content-Length: 1000", "Transfer-Encoding: chunked")]
    answers = await asyncio.gather(
        *(
            answer_to_slow_body(bases.get(each.api, installation.base), each, tokens.get(each.api), framing)
            for each, framing in cases
        )
    )
    assert dict(zip(cases, answers, strict=True)) == {case: case[0].expected for case in cases}


async def all_tokens(installation: Installation, session: aiohttp.ClientSession, admin: str) -> dict[str, str]:
    """Return a token of each API that may send bodies everywhere."""
    tenants = {
        "customer": await add_client(installation, "--site", "608", "--api-key", DEMO.api_key, scopes=SCOPES),
        "admin": await add_client(installation, "--site", "0", scopes=("admin",)),
    }
    tokens = {}
    for api, path in TOKENS.items():
        tenant = tenants["admin" if api == "auth-admin" else "customer"]
        base = admin if api == "auth-admin" else installation.base
        form = {
            "grant_type": "client_credentials",
            "client_id": tenant.client_id,
            "client_secret": tenant.secret,
        }
        reply = await Customer(base, session, tenant).call("POST", path, data=form)
        assert reply.status == 200, reply
        tokens[api] = reply.json["access_token"]
    return tokens


async def add_client(installation: Installation, *arguments: str, scopes: tuple[str, ...]) -> Tenant:
    options = [option for scope in scopes for option in ("--scope", scope)]
    done = await asyncio.to_thread(installation.run_cli, "clients", "add", *arguments, *options)
    added = json.loads(done.stdout)
    return Tenant(client_id=added["clientId"], secret=added["secret"], api_key=DEMO.api_key)


async def answer_to_slow_body(base: str, operation: Operation, token: str | None, framing: str) -> tuple[int, str]:
    """Send the head and the first byte of the body; return status and code of the answer."""
    address = urlsplit(base)
    media_type = "application/x-www-form-urlencoded" if operation.is_oauth else "application/json"
    head = [
        f"{operation.method} {operation.target} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Content-Type: {media_type}",
        framing,
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    first = "1\r\n[\r\n" if "chunked" in framing else "["
    async with asyncio.timeout(ANSWERED_WITHIN_S):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(("\r\n".join(head) + "\r\n\r\n" + first).encode())
        status = int((await reader.readline()).split()[1])
        headers = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", headers, re.IGNORECASE)
        body: dict[str, Any] = json.loads(await reader.readexactly(int(length[1]))) if length else {}
        writer.close()
    return status, str(body.get("code") or body.get("error") or body.get("error_code"))
