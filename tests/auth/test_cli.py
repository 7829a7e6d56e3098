"""The operator's commands: their effect, output and exit status."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import typer
from typer.testing import CliRunner, Result

from services.auth import cli
from services.auth.domain.client import Client, Secret
from services.auth.domain.site import StoredSite
from services.auth.flows.management import ManagementDeps
from tests.auth.fakes import FakeKeyGenerator, FakeKeyStore
from tests.auth.harness import SITE, ManagementHarness
from tests.auth.test_key_rotation import key_rotation_deps
from tests.support.audit_log import FakeAuditLog

CLIENT = Client(
    client_id="c",
    site=608,
    api_keys=("12345",),
    scopes=("orders:write",),
    secrets=(Secret(secret_id="s-1", hash="hash of the first", created_at=0),),
    revision=1,
)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> ManagementHarness:
    """Management with one site and one client, used by the commands."""
    harness = ManagementHarness()
    harness.sites.by_number[608] = StoredSite(SITE, revision=1)
    harness.clients.by_id["c"] = CLIENT

    @asynccontextmanager
    async def open_management() -> AsyncIterator[ManagementDeps]:
        yield harness.deps

    monkeypatch.setattr(cli, "_open_management", open_management)
    return harness


def run_cli(commands: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments)


@pytest.mark.parametrize(("hours", "seconds"), [("24", 86_400), ("0.5", 1_800), ("0", 0)])
def test_secrets_before_the_new_one_end_after_so_many_hours(
    harness: ManagementHarness, hours: str, seconds: int
) -> None:
    result = run_cli(cli.clients, "add-secret", "c", "--grace-hours", hours)
    assert json.loads(result.stdout) == {"clientId": "c", "secret": "canary-0"}
    first, second = harness.clients.by_id["c"].secrets
    assert (first.expires_at, second.expires_at) == (int(harness.clock.at) + seconds, None)


def test_without_a_grace_the_secrets_before_it_stay(harness: ManagementHarness) -> None:
    assert run_cli(cli.clients, "add-secret", "c").exit_code == 0
    assert [secret.expires_at for secret in harness.clients.by_id["c"].secrets] == [None, None]


CHANGES: dict[str, tuple[Sequence[str], dict[str, Any]]] = {
    "scopes": (("--scope", "status:read", "--scope", "returns:write"), {"scopes": ("status:read", "returns:write")}),
    "no scopes": (("--no-scopes",), {"scopes": ()}),
    "keys and no scopes": (("--no-scopes", "--api-key", "12345"), {"scopes": ()}),
    "keys": (("--api-key", "12345"), {}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_client_is_changed_in_what_is_named_and_in_nothing_else(harness: ManagementHarness, what: str) -> None:
    arguments, changed = CHANGES[what]
    assert run_cli(cli.clients, "change", "c", *arguments).exit_code == 0
    client = replace(harness.clients.by_id["c"], revision=CLIENT.revision)
    assert set(client.scopes) == set(changed.get("scopes", CLIENT.scopes))
    assert replace(client, scopes=CLIENT.scopes) == CLIENT


REFUSED: dict[str, tuple[typer.Typer, Sequence[str], int, str]] = {
    "a client that is not there": (cli.clients, ("show", "nobody"), 1, "there is no client nobody"),
    "a site that is not there": (cli.sites, ("show", "7"), 1, "there is no site 7"),
    "a secret for nobody": (cli.clients, ("add-secret", "nobody"), 1, "there is no such client"),
    "a client that is there": (cli.clients, ("add", "--site", "608", "--client-id", "c"), 1, "already"),
    "the last secret": (cli.clients, ("remove-secret", "c", "s-1"), 1, "secret"),
    "nothing to change": (cli.clients, ("change", "c"), 2, "give at least one"),
    "scopes and none": (cli.clients, ("change", "c", "--scope", "status:read", "--no-scopes"), 2, "either"),
    "a grace before now": (cli.clients, ("add-secret", "c", "--grace-hours", "-1"), 2, "--grace-hours"),
    "a grace that is no number": (cli.clients, ("add-secret", "c", "--grace-hours", "nan"), 2, "--grace-hours"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_possible_is_printed_in_a_line_and_changes_nothing(harness: ManagementHarness, what: str) -> None:
    commands, arguments, code, words = REFUSED[what]
    result = run_cli(commands, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert harness.clients.by_id == {"c": CLIENT}
    assert harness.audit.lines == []


def test_a_server_that_is_away_is_told_in_a_line(harness: ManagementHarness) -> None:
    harness.clients.is_unavailable = True
    result = run_cli(cli.clients, "show", "c")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "MongoDB is unavailable\n")


def test_nothing_that_is_shown_later_has_a_secret_in_it(harness: ManagementHarness) -> None:
    secret = json.loads(run_cli(cli.clients, "add-secret", "c").stdout)["secret"]
    shown = [run_cli(cli.clients, *arguments).output for arguments in (("show", "c"), ("list",))]
    assert all('"c"' in each for each in shown)
    assert not [each for each in shown if secret in each or "hash" in each]
    assert harness.audit.lines


async def test_a_rotation_is_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = key_rotation_deps(FakeKeyStore(), FakeKeyGenerator())
    monkeypatch.setattr(cli, "build_key_rotation", lambda *_, now: (replace(world, now=now), None))
    monkeypatch.setattr(cli, "verify_encryption_key", AsyncMock())
    monkeypatch.setattr(cli, "_operator", lambda: ("an operator", "a terminal"))
    nothing: Any = None
    assert [key.number for key in await cli._rotate(nothing, nothing, now=world.now)] == [1]
    assert isinstance(world.audit, FakeAuditLog)
    assert [(line["actor"], line["source"]) for line in world.audit.lines] == [("an operator", "a terminal")]
