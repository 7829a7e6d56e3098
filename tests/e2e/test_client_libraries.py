"""Two popular client libraries get and use tokens with their defaults, by form and by Basic."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as OauthlibSession

from tests.e2e.customer import BASES, DEMO, Customer


def oauthlib_by_form(address: str) -> Any:
    session = OauthlibSession(client=BackendApplicationClient(client_id=DEMO.client_id))
    session.fetch_token(address, client_id=DEMO.client_id, client_secret=DEMO.secret, include_client_id=True)
    return session


def oauthlib_by_basic(address: str) -> Any:
    session = OauthlibSession(client=BackendApplicationClient(client_id=DEMO.client_id))
    session.fetch_token(address, auth=HTTPBasicAuth(DEMO.client_id, DEMO.secret))
    return session


def authlib_by_form(address: str) -> Any:
    session = AuthlibSession(DEMO.client_id, DEMO.secret, token_endpoint_auth_method="client_secret_post")
    session.fetch_token(address, grant_type="client_credentials")
    return session


def authlib_by_basic(address: str) -> Any:
    session = AuthlibSession(DEMO.client_id, DEMO.secret, token_endpoint_auth_method="client_secret_basic")
    session.fetch_token(address, grant_type="client_credentials")
    return session


@pytest.mark.parametrize("library", [oauthlib_by_form, oauthlib_by_basic, authlib_by_form, authlib_by_basic])
async def test_a_library_gets_and_uses_tokens(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, library: Callable[[str], Any]
) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the sandbox's gateway speaks plain HTTP

    def use() -> tuple[int, int, int]:
        with library(f"{customer.base}{BASES['import']}/oauth2/token") as importing:
            sent = importing.post(f"{customer.base}{BASES['import']}/12345/orders", json=[customer.order()])
            strange = importing.get(f"{customer.base}{BASES['status']}/12345/jobs")
        with library(f"{customer.base}{BASES['status']}/oauth2/token") as asking:
            seen = asking.get(customer.base + sent.headers["Location"])
        return sent.status_code, seen.status_code, strange.status_code

    assert await asyncio.to_thread(use) == (202, 200, 401)


async def test_authlib_revokes_and_introspects(customer: Customer) -> None:
    def use() -> tuple[bool, int, bool]:
        with authlib_by_basic(f"{customer.base}{BASES['import']}/oauth2/token") as session:
            token = session.token["access_token"]
            introspection = f"{customer.base}{BASES['import']}/oauth2/introspect"
            before = session.introspect_token(introspection, token=token).json()["active"]
            revoked = session.revoke_token(f"{customer.base}{BASES['import']}/oauth2/revoke", token=token)
            after = session.introspect_token(introspection, token=token).json()["active"]
        return before, revoked.status_code, after

    before, status, after = await asyncio.to_thread(use)
    assert (before, status) == (True, 200)
    assert after in {True, False}, "auth learns of the revocation asynchronously, like the other services"
