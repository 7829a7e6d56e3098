"""Management of sites and clients."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from services.auth import wire
from services.auth.domain.audience import DEFAULT_SCOPES
from services.auth.domain.client import Client, RuleViolationError
from services.auth.domain.revocation import CLOCK_TOLERANCE_S, Revocation
from services.auth.domain.site import ApiKeyConflictError
from services.auth.domain.tenants import ClientChange, InvalidDocumentError, Tenants, parse_tenants
from services.auth.flows import management
from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from tests.auth.harness import SCHEMAS, SITE, ManagementHarness, apply_sites

CANARY = "canary-0123456789"


def the_document(*, name: str = "Demo", secret: str = CANARY, api_key: str = "12345") -> Tenants:
    site = {"site": 608, "name": name, "appId": 1078, "rootSource": "r", "datacenter": "qa"}
    return parse_tenants(
        json.dumps(
            {
                "sites": [{**site, "apiKeys": [{"apiKey": "12345"}]}],
                "clients": [{"clientId": "c", "secret": secret, "site": 608, "apiKeys": [api_key]}],
            }
        ).encode(),
        time_zones=["UTC"],
    )


async def test_loading_a_document_twice_changes_nothing(harness: ManagementHarness) -> None:
    assert await management.load_tenants(the_document(), harness.deps) == (1, 1)
    assert await management.load_tenants(the_document(), harness.deps) == (0, 0)
    assert [site.site for site in harness.publisher.sites] == [608]
    assert len(harness.hasher.hashed_secrets) == 1


async def test_only_what_changed_is_published(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    assert await management.load_tenants(the_document(name="Renamed"), harness.deps) == (1, 0)
    assert [site.name for site in harness.publisher.sites] == ["Demo", "Renamed"]


async def test_another_secret_in_the_document_takes_the_place_of_the_old(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    assert await management.load_tenants(the_document(secret="canary-another-one"), harness.deps) == (0, 1)
    assert [secret.hash for secret in harness.clients.by_id["c"].secrets] == ["hash of canary-another-one"]


async def test_a_secret_of_the_document_that_has_expired_is_stored_again(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    await management.add_secret("c", harness.deps, grace_s=60)
    harness.clock.at += 60
    assert await management.load_tenants(the_document(), harness.deps) == (0, 1)
    active = harness.clients.by_id["c"].active_secrets(harness.clock.at)
    assert [secret.hash for secret in active] == [f"hash of {CANARY}"]


async def test_a_second_secret_survives_the_document(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    await management.add_secret("c", harness.deps, grace_s=None)
    assert await management.load_tenants(the_document(), harness.deps) == (0, 0)
    assert len(harness.clients.by_id["c"].secrets) == 2


async def test_a_client_cannot_have_keys_of_others(harness: ManagementHarness) -> None:
    with pytest.raises(InvalidDocumentError, match="does not belong to site 608"):
        await management.load_tenants(the_document(api_key="67890"), harness.deps)
    with pytest.raises(InvalidDocumentError, match="no site 9"):
        await management.add_client(Client(client_id="x", site=9), harness.deps)


@pytest.mark.parametrize(
    ("scopes", "api_keys", "is_taken"),
    [
        (("admin",), (), True),
        (("admin", "orders:write"), (), False),
        (("status:read",), (), False),
        (("admin",), ("12345",), False),
    ],
)
async def test_only_who_administers_and_no_more_belongs_to_no_site(
    harness: ManagementHarness, scopes: tuple[str, ...], api_keys: tuple[str, ...], *, is_taken: bool
) -> None:
    client = Client(client_id="x", site=0, scopes=scopes, api_keys=api_keys)
    if is_taken:
        await management.add_client(client, harness.deps)
        return
    with pytest.raises(InvalidDocumentError, match="no site 0"):
        await management.add_client(client, harness.deps)


async def test_a_key_of_another_site_is_not_taken(harness: ManagementHarness) -> None:
    await management.add_site(SITE, harness.deps)
    with pytest.raises(ApiKeyConflictError):
        await management.add_site(structs.replace(SITE, site=609), harness.deps)


async def test_what_was_kept_but_not_published_is_published_later(harness: ManagementHarness) -> None:
    harness.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.add_site(SITE, harness.deps)
    harness.publisher.is_unavailable = False
    topic = Sites(SCHEMAS)
    assert await management.publish_missing_sites(topic.get, harness.deps) == 1
    apply_sites(topic, harness.publisher.sites)
    assert await management.publish_missing_sites(topic.get, harness.deps) == 0
    await harness.sites.save(structs.replace(SITE, name="Renamed"), expected_revision=1)
    assert await management.publish_missing_sites(topic.get, harness.deps) == 1


async def test_a_new_client_gets_a_secret_that_is_shown_once(harness: ManagementHarness) -> None:
    await management.add_site(SITE, harness.deps)
    plain = await management.add_client(Client(client_id="c", site=608, api_keys=("12345",)), harness.deps)
    assert plain == "canary-0"
    assert harness.clients.by_id["c"].secrets[0].hash == "hash of canary-0"
    with pytest.raises(RuleViolationError, match="already"):
        await management.add_client(Client(client_id="c", site=608), harness.deps)


async def test_secrets_come_and_go_and_leave_lines(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    first = harness.clients.by_id["c"].secrets[0].secret_id
    await management.add_secret("c", harness.deps, grace_s=3_600)
    with pytest.raises(RuleViolationError, match="remove one first"):
        await management.add_secret("c", harness.deps, grace_s=None)
    await management.remove_secret("c", first, harness.deps)
    remaining = harness.clients.by_id["c"].secrets
    assert [secret.hash for secret in remaining] == ["hash of canary-1"]
    with pytest.raises(RuleViolationError, match="the last"):
        await management.remove_secret("c", remaining[0].secret_id, harness.deps)
    with pytest.raises(RuleViolationError, match="no such client"):
        await management.remove_secret("nobody", "s", harness.deps)
    assert [line["action"] for line in harness.audit.lines] == [
        "site saved",
        "client saved",
        "secret added",
        "secret removed",
    ]
    assert {(line["actor"], line["source"]) for line in harness.audit.lines} == {("an operator", "a terminal")}
    assert "canary" not in str(harness.audit.lines)


@pytest.mark.parametrize(
    ("change", "line", "scopes", "secrets"),
    [
        (
            lambda harness: management.change_client("c", ClientChange(scopes=("status:read",)), harness.deps),
            "client changed",
            ("status:read",),
            ["id-1", "id-2"],
        ),
        (
            lambda harness: management.add_secret("c", harness.deps, grace_s=None),
            "secret added",
            DEFAULT_SCOPES,
            ["id-2", "id-4"],
        ),
        (
            lambda harness: management.remove_secret("c", "id-1", harness.deps),
            "secret removed",
            DEFAULT_SCOPES,
            ["id-2"],
        ),
    ],
    ids=["change", "add", "remove"],
)
async def test_of_what_two_operators_do_at_once_nothing_is_lost(
    harness: ManagementHarness,
    change: Callable[[ManagementHarness], Awaitable[object]],
    line: str,
    scopes: Sequence[str],
    secrets: Sequence[str],
) -> None:
    """The other operator removes the client's API keys between our read and write."""
    await management.load_tenants(the_document(), harness.deps)
    await management.add_secret("c", harness.deps, grace_s=60)
    harness.clock.at += 60
    harness.audit.lines.clear()
    save = harness.clients.save

    async def second_to_save(client: Client) -> bool:
        harness.clients.save = save  # type: ignore[method-assign]
        stored = harness.clients.by_id["c"]
        assert await save(replace(stored, api_keys=()))
        return await save(client)

    harness.clients.save = second_to_save  # type: ignore[method-assign]
    await change(harness)
    client = harness.clients.by_id["c"]
    assert (client.api_keys, client.scopes) == ((), scopes)
    assert [secret.secret_id for secret in client.secrets] == secrets
    assert [entry["action"] for entry in harness.audit.lines] == [line]


async def test_one_token_can_be_revoked_by_the_id_that_its_audit_line_tells(harness: ManagementHarness) -> None:
    await management.revoke_token("0f" * 16, harness.deps)
    assert harness.publisher.revocations == [Revocation(token_id="0f" * 16, until=harness.clock.at + 28_860)]
    assert list(harness.revocations.by_key) == ["0f" * 16]
    (line,) = harness.audit.lines
    assert line == {"action": "token revoked", "actor": "an operator", "source": "a terminal", "tokenId": "0f" * 16}


@pytest.mark.parametrize("pasted", ["eyJhbGciOiJSUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmVk", "", "canary canary", "c" * 129])
async def test_what_is_no_tokens_id_is_refused_and_not_repeated(harness: ManagementHarness, pasted: str) -> None:
    """Somebody may paste the token itself."""
    with pytest.raises(RuleViolationError) as refusal:
        await management.revoke_token(pasted, harness.deps)
    assert "canary" not in str(refusal.value)
    assert "eyJ" not in str(refusal.value)
    assert harness.publisher.revocations == []
    assert harness.audit.lines == []


async def test_each_change_of_a_client_leaves_a_line(harness: ManagementHarness) -> None:
    await management.add_site(SITE, harness.deps)
    await management.add_client(Client(client_id="c", site=608), harness.deps)
    await management.change_client("c", ClientChange(api_keys=("12345",)), harness.deps)
    assert [(line["action"], line.get("site", line.get("client"))) for line in harness.audit.lines] == [
        ("site saved", 608),
        ("client added", "c"),
        ("client changed", "c"),
    ]


async def test_all_that_a_client_was_given_can_be_revoked(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    await management.revoke_client("c", harness.deps)
    before = harness.clock.at + CLOCK_TOLERANCE_S
    revocation = Revocation(client_id="c", issued_before=before, until=before + 28_860)
    assert harness.publisher.revocations == [revocation]
    assert harness.audit.lines[-1]["action"] == "client's tokens revoked"
    with pytest.raises(RuleViolationError, match="no such client"):
        await management.revoke_client("nobody", harness.deps)


async def test_a_tokens_revocation_is_kept_before_others_are_told(harness: ManagementHarness) -> None:
    """A published revocation that is not stored would be lost with the topic's segment; a stored one is republished."""
    harness.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.revoke_token("0f0f", harness.deps)
    assert list(harness.revocations.by_key) == ["0f0f"]


async def test_a_revocation_that_was_kept_but_not_published_is_published_later(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    harness.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.revoke_client("c", harness.deps)
    harness.publisher.is_unavailable = False
    topic = Revocations(SCHEMAS)

    def is_published(revocation: Revocation) -> bool:
        return topic.issued_before(revocation.client_id or "") == revocation.issued_before

    assert await management.publish_missing_revocations(is_published, harness.deps) == 1
    for revocation in harness.publisher.revocations:
        topic.apply(revocation.key.encode(), wire.encode_revocation(revocation, SCHEMAS["revocation"]))
    assert await management.publish_missing_revocations(is_published, harness.deps) == 0
    harness.clock.at += 40_000
    assert await management.publish_missing_revocations(lambda _: False, harness.deps) == 0, "it has expired"


ANOTHER_SECRET = the_document(secret="canary-another-one")
Change = Callable[[ManagementHarness], Awaitable[object]]
CONTENDED: dict[str, tuple[Change, str]] = {
    "site": (lambda harness: management.save_site(structs.replace(SITE, name="Renamed"), harness.deps), "site 608"),
    "document": (
        lambda harness: management.load_tenants(the_document(secret="canary-another-one"), harness.deps),
        "client c",
    ),
    "change": (lambda harness: management.change_client("c", ClientChange(scopes=()), harness.deps), "client c"),
    "add secret": (lambda harness: management.add_secret("c", harness.deps, grace_s=None), "client c"),
    "remove secret": (lambda harness: management.remove_secret("c", "id-1", harness.deps), "client c"),
}


@pytest.mark.parametrize("kind", CONTENDED)
async def test_a_change_that_others_overtake_every_time_ends_and_says_so(
    harness: ManagementHarness, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    await management.load_tenants(the_document(), harness.deps)
    if kind == "remove secret":
        await management.add_secret("c", harness.deps, grace_s=None)
    attempts: list[object] = []

    async def lose(changed: object, **_: object) -> bool:
        attempts.append(changed)
        return False

    monkeypatch.setattr(harness.sites if kind == "site" else harness.clients, "save", lose)
    change, subject = CONTENDED[kind]
    with pytest.raises(ContentionError, match=f"{subject} is busy"):
        await change(harness)
    assert len(attempts) == management.MAX_ATTEMPTS
