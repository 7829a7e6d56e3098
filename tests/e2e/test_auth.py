"""An operator manages sites, clients, secrets and keys; the effects on customers."""

import asyncio
import json
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import aiohttp
import jwt
import pytest
from pymongo import MongoClient

from tests.chassis.eventually import until
from tests.e2e.customer import BASES, Customer, Reply, Tenant
from tests.e2e.installation import REPOSITORY, Installation

# Each CLI command starts a Python process, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)

REVOKED_WITHIN_S = 5.0
WRONG_CLOCK = REPOSITORY / "tests" / "support" / "wrong_clock"
DOCUMENTS = REPOSITORY / "schemas" / "openapi"
SITE = {"site": 701, "name": "Corner", "appId": 1, "rootSource": "r", "datacenter": "qa", "timeZone": "Europe/Paris"}


@pytest.fixture(scope="module")
async def client_id(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Add a new site with the CLI; return the id of a client to add to it."""
    file = tmp_path_factory.mktemp("sites") / "sites.json"
    file.write_text(json.dumps({"sites": [{**SITE, "apiKeys": [{"apiKey": "corner-1"}]}]}))
    await command(installation, "sites", "add", str(file))
    return "corner"


async def command(installation: Installation, *arguments: str) -> tuple[str, str]:
    """Run a CLI command; return its output and its log."""
    done = await asyncio.to_thread(installation.run_cli, *arguments)
    return done.stdout, done.stderr


async def shown(installation: Installation, *arguments: str) -> Any:
    """Run a CLI command; return its JSON output."""
    return json.loads((await command(installation, *arguments))[0])


async def token(customer: Customer, client_id: str, secret: str) -> Reply:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return await customer.call("POST", f"{BASES['import']}/oauth2/token", data=form)


async def test_a_client_comes_changes_its_secret_and_loses_the_old_one(
    customer: Customer, installation: Installation, session: aiohttp.ClientSession, client_id: str
) -> None:
    out, log = await command(
        installation, "clients", "add", "--client-id", client_id, "--site", "701", "--api-key", "corner-1"
    )
    first = json.loads(out)["secret"]
    assert "client added" in log, "the audit line is in the log, and the secret is not"
    assert first not in log
    corner = Customer(installation.base, session, Tenant(client_id=client_id, secret=first, api_key="corner-1"))
    assert (await corner.send_with_retry([corner.order()])).status == 202
    second = (await shown(installation, "clients", "add-secret", client_id, "--grace-hours", "24"))["secret"]
    assert [(await token(customer, client_id, secret)).status for secret in (first, second)] == [200, 200]
    secrets = (await shown(installation, "clients", "show", client_id))["secrets"]
    assert [secret["expiresAt"] is None for secret in secrets] == [False, True]
    await command(installation, "clients", "remove-secret", client_id, secrets[0]["id"])
    assert [(await token(customer, client_id, secret)).status for secret in (first, second)] == [401, 200]
    await one_token_is_revoked(corner, (await token(customer, client_id, second)).json["access_token"], installation)
    await command(installation, "clients", "change", client_id, "--scope", "status:read")
    assert (await token(customer, client_id, second)).json["error"] == "unauthorized_client"


async def one_token_is_revoked(customer: Customer, other: str, installation: Installation) -> None:
    """Revoke by the id of the audit line; another token of the same client stays valid."""
    lost = customer.tokens["import"]
    token_id = jwt.decode(lost, options={"verify_signature": False})["jti"]
    assert f'"tokenId": "{token_id}"' in (installation.directory / "logs" / "auth.log").read_text()
    await command(installation, "clients", "revoke-token", token_id)
    until = monotonic() + REVOKED_WITHIN_S
    while await limits(customer, lost) != 401:
        assert monotonic() < until, "the token is still accepted"
    assert await limits(customer, other) == 200


async def limits(customer: Customer, bearer: str) -> int:
    path = f"{BASES['import']}/{customer.tenant.api_key}/limits"
    return (await customer.call("GET", path, headers={"Authorization": f"Bearer {bearer}"})).status


@pytest.fixture
async def administrator(installation: Installation, session: aiohttp.ClientSession) -> Customer:
    """A client with the scope `admin`, at auth's internal port."""
    made = await shown(installation, "clients", "add", "--site", "0", "--scope", "admin")
    admin_client = Customer(installation.endpoints["services"]["auth"]["admin"], session)
    form = {"grant_type": "client_credentials", "client_id": made["clientId"], "client_secret": made["secret"]}
    reply = await admin_client.call("POST", "/auth-admin/v1/oauth2/token", data=form)
    admin_client.tokens["admin"] = reply.json["access_token"]
    return admin_client


async def test_an_administrator_does_the_same_over_http(customer: Customer, administrator: Customer) -> None:
    async def ask(method: str, path: str, **options: Any) -> Reply:
        headers = {"Authorization": f"Bearer {administrator.tokens['admin']}"}
        return await administrator.call(method, f"/auth-admin/v1{path}", headers=headers, **options)

    site = {**SITE, "site": 702, "apiKeys": [{"apiKey": "corner-2"}]}
    assert (await ask("PUT", "/sites/702", json=site)).status == 200
    made = await ask("POST", "/clients", json={"clientId": "corner-2", "site": 702, "apiKeys": ["corner-2"]})
    assert made.status == 201
    assert (await token(customer, "corner-2", made.json["secret"])).status == 200
    added = await ask("POST", "/clients/corner-2/secrets", params={"graceHours": "1"})
    first, second = (await ask("GET", "/clients/corner-2")).json["secrets"]
    assert (await ask("DELETE", f"/clients/corner-2/secrets/{first['id']}")).status == 204
    assert (await ask("DELETE", f"/clients/corner-2/secrets/{second['id']}")).code == "NOT_POSSIBLE"
    assert (await token(customer, "corner-2", added.json["secret"])).status == 200
    assert (await ask("POST", "/clients/corner-2/revocations")).status == 204
    keys = (await ask("POST", "/keys")).json
    assert [key["number"] for key in keys] == list(range(1, len(keys) + 1))


async def test_nobody_reaches_the_admin_api_through_the_front_door(customer: Customer) -> None:
    for path in ("/auth-admin/v1/sites", "/auth-admin/v1/oauth2/token", "/auth/../auth-admin/v1/sites"):
        assert (await customer.call("GET", path)).status == 404


async def test_documents_are_served(customer: Customer, administrator: Customer) -> None:
    for reader, path, name in (
        (customer, "/auth/openapi.yaml", "auth.yaml"),
        (administrator, "/auth-admin/openapi.yaml", "auth-admin.yaml"),
    ):
        served = await reader.call("GET", path)
        assert served.body == (DOCUMENTS / name).read_bytes()


@pytest.mark.parametrize("offset_s", [-120, 4 * 3_600])
async def test_a_revocation_takes_effect_whatever_the_clock_of_the_operators_machine(
    installation: Installation, session: aiohttp.ClientSession, client_id: str, offset_s: int
) -> None:
    """F20: tokens issued before the command are refused, tokens issued after it are accepted."""
    corner = await add_client(installation, session, f"{client_id}-revoked{offset_s}")
    assert await limits(corner, await corner.token("import")) == 200
    await command_with_wrong_clock(installation, offset_s, "clients", "revoke-tokens", corner.tenant.client_id)
    await until(lambda: is_refused(corner), deadline_s=REVOKED_WITHIN_S)
    corner.tokens.clear()
    assert await limits(corner, await corner.token("import")) == 200


async def test_a_revoked_token_stays_revoked_although_the_operators_clock_is_behind(
    installation: Installation, session: aiohttp.ClientSession, client_id: str
) -> None:
    """F20: nine hours behind, the end of the revocation would be in the past."""
    corner = await add_client(installation, session, f"{client_id}-token")
    token_id = jwt.decode(await corner.token("import"), options={"verify_signature": False})["jti"]
    await command_with_wrong_clock(installation, -9 * 3_600, "clients", "revoke-token", token_id)
    await until(lambda: is_refused(corner), deadline_s=REVOKED_WITHIN_S)
    stored = await asyncio.to_thread(stored_revocations, installation)
    assert [each["until"] > datetime.now(UTC) for each in stored if each["_id"] == token_id] == [True]


async def add_client(installation: Installation, session: aiohttp.ClientSession, client_id: str) -> Customer:
    out, _ = await command(
        installation, "clients", "add", "--client-id", client_id, "--site", "701", "--api-key", "corner-1"
    )
    tenant = Tenant(client_id=client_id, secret=json.loads(out)["secret"], api_key="corner-1")
    corner = Customer(installation.base, session, tenant)
    await until(lambda: has_site(corner))
    return corner


async def has_site(customer: Customer) -> bool:
    """Ingest learns of a new site from its topic."""
    return await limits(customer, await customer.token("import")) == 200


async def is_refused(customer: Customer) -> bool:
    return await limits(customer, await customer.token("import")) == 401


async def command_with_wrong_clock(installation: Installation, offset_s: int, *arguments: str) -> None:
    settings = {"PYTHONPATH": str(WRONG_CLOCK), "CLOCK_OFFSET_S": str(offset_s)}
    done = await asyncio.to_thread(installation.try_cli, *arguments, settings=settings)
    assert done.returncode == 0, done.stderr[-3000:]


def stored_revocations(installation: Installation) -> list[dict[str, Any]]:
    with MongoClient[dict[str, Any]](installation.endpoints["mongodb_uri"], tz_aware=True) as client:
        return list(client.get_database("tillstream").get_collection("auth_revocations").find())
