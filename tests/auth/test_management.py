"""What operators do to sites and clients."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.auth import wire
from services.auth.domain.audience import DEFAULT_SCOPES
from services.auth.domain.client import Client, RuleViolationError
from services.auth.domain.revocation import Revocation
from services.auth.domain.site import ApiKey, ApiKeyConflictError, Site
from services.auth.domain.tenants import ClientChange, InvalidDocumentError, Tenants, parse_tenants
from services.auth.flows import management
from services.auth.flows.management import ManagementDeps
from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.revocations import Revocations
from services.chassis.security.sites import Sites
from tests.auth.fakes import (
    Clock,
    Counter,
    FakeAuditLog,
    FakeClientStore,
    FakeHasher,
    FakePublisher,
    FakeRevocationStore,
    FakeSiteStore,
)

SITE = Site(
    site=608,
    name="Demo",
    app_id=1078,
    root_source="omnichannel-api/qa",
    datacenter="qa",
    api_keys=(ApiKey(api_key="12345", channel="web"),),
)
CANARY = "canary-0123456789"
SCHEMAS = Schemas.load(Path(__file__).parents[2] / "schemas")


@dataclass
class ManagementFixture:
    """An office and what is behind it."""

    clock: Clock = field(default_factory=Clock)
    sites: FakeSiteStore = field(default_factory=FakeSiteStore)
    clients: FakeClientStore = field(default_factory=FakeClientStore)
    revocations: FakeRevocationStore = field(default_factory=FakeRevocationStore)
    hasher: FakeHasher = field(default_factory=FakeHasher)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    audit: FakeAuditLog = field(default_factory=FakeAuditLog)
    ids: Counter = field(default_factory=Counter)

    @property
    def deps(self) -> ManagementDeps:
        return ManagementDeps(
            sites=self.sites,
            clients=self.clients,
            revocations=self.revocations,
            hasher=self.hasher,
            publisher=self.publisher,
            audit=self.audit,
            now=self.clock,
            new_id=self.ids,
            new_secret=lambda: f"canary-{len(self.hasher.hashed_secrets)}",
            actor="an operator",
            source="a terminal",
        )


@pytest.fixture
def desk() -> ManagementFixture:
    return ManagementFixture()


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


async def test_loading_a_document_twice_changes_nothing(desk: ManagementFixture) -> None:
    assert await management.load_tenants(the_document(), desk.deps) == (1, 1)
    assert await management.load_tenants(the_document(), desk.deps) == (0, 0)
    assert [site.site for site in desk.publisher.sites] == [608]
    assert len(desk.hasher.hashed_secrets) == 1


async def test_only_what_changed_is_published(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    assert await management.load_tenants(the_document(name="Renamed"), desk.deps) == (1, 0)
    assert [site.name for site in desk.publisher.sites] == ["Demo", "Renamed"]


async def test_another_secret_in_the_document_takes_the_place_of_the_old(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    assert await management.load_tenants(the_document(secret="canary-another-one"), desk.deps) == (0, 1)
    assert [secret.hash for secret in desk.clients.by_id["c"].secrets] == ["hash of canary-another-one"]


async def test_a_secret_of_the_document_that_has_ended_is_given_anew(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    await management.add_secret("c", desk.deps, grace_s=60)
    desk.clock.at += 60
    assert await management.load_tenants(the_document(), desk.deps) == (0, 1)
    active = desk.clients.by_id["c"].active_secrets(desk.clock.at)
    assert [secret.hash for secret in active] == [f"hash of {CANARY}"]


async def test_a_second_secret_survives_the_document(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    await management.add_secret("c", desk.deps, grace_s=None)
    assert await management.load_tenants(the_document(), desk.deps) == (0, 0)
    assert len(desk.clients.by_id["c"].secrets) == 2


async def test_a_client_cannot_have_keys_of_others(desk: ManagementFixture) -> None:
    with pytest.raises(InvalidDocumentError, match="not of site 608"):
        await management.load_tenants(the_document(api_key="67890"), desk.deps)
    with pytest.raises(InvalidDocumentError, match="no site 9"):
        await management.add_client(Client(client_id="x", site=9), desk.deps)


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
    desk: ManagementFixture, scopes: tuple[str, ...], api_keys: tuple[str, ...], *, is_taken: bool
) -> None:
    client = Client(client_id="x", site=0, scopes=scopes, api_keys=api_keys)
    if is_taken:
        await management.add_client(client, desk.deps)
        return
    with pytest.raises(InvalidDocumentError, match="no site 0"):
        await management.add_client(client, desk.deps)


async def test_a_key_of_another_site_is_not_taken(desk: ManagementFixture) -> None:
    await management.add_site(SITE, desk.deps)
    with pytest.raises(ApiKeyConflictError):
        await management.add_site(replace(SITE, site=609), desk.deps)


async def test_what_was_kept_but_not_published_is_published_later(desk: ManagementFixture) -> None:
    desk.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.add_site(SITE, desk.deps)
    desk.publisher.is_unavailable = False
    topic = Sites(SCHEMAS)
    assert await management.publish_missing_sites(published_by(topic), desk.deps) == 1
    feed(topic, desk.publisher.sites)
    assert await management.publish_missing_sites(published_by(topic), desk.deps) == 0
    await desk.sites.save(replace(SITE, name="Renamed", revision=1))
    assert await management.publish_missing_sites(published_by(topic), desk.deps) == 1


def published_by(topic: Sites) -> Callable[[int], Site | None]:
    def known(number: int) -> Site | None:
        site = topic.get(number)
        return wire.published_site(site) if site else None

    return known


def feed(topic: Sites, published: list[Site]) -> None:
    for site in published:
        topic.apply(wire.site_key(site.site), wire.encode_site(site, SCHEMAS["site"]))


async def test_a_new_client_gets_a_secret_that_is_shown_once(desk: ManagementFixture) -> None:
    await management.add_site(SITE, desk.deps)
    plain = await management.add_client(Client(client_id="c", site=608, api_keys=("12345",)), desk.deps)
    assert plain == "canary-0"
    assert desk.clients.by_id["c"].secrets[0].hash == "hash of canary-0"
    with pytest.raises(RuleViolationError, match="already"):
        await management.add_client(Client(client_id="c", site=608), desk.deps)


async def test_secrets_come_and_go_and_leave_lines(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    first = desk.clients.by_id["c"].secrets[0].secret_id
    await management.add_secret("c", desk.deps, grace_s=3_600)
    with pytest.raises(RuleViolationError, match="remove one first"):
        await management.add_secret("c", desk.deps, grace_s=None)
    await management.remove_secret("c", first, desk.deps)
    remaining = desk.clients.by_id["c"].secrets
    assert [secret.hash for secret in remaining] == ["hash of canary-1"]
    with pytest.raises(RuleViolationError, match="the last"):
        await management.remove_secret("c", remaining[0].secret_id, desk.deps)
    with pytest.raises(RuleViolationError, match="no such client"):
        await management.remove_secret("nobody", "s", desk.deps)
    assert [line["action"] for line in desk.audit.lines] == [
        "site saved",
        "client saved",
        "secret added",
        "secret removed",
    ]
    assert {(line["actor"], line["source"]) for line in desk.audit.lines} == {("an operator", "a terminal")}
    assert "canary" not in str(desk.audit.lines)


@pytest.mark.parametrize(
    ("change", "line", "scopes", "secrets"),
    [
        (
            lambda desk: management.change_client("c", ClientChange(scopes=("status:read",)), desk.deps),
            "client changed",
            ("status:read",),
            ["id-1", "id-2"],
        ),
        (
            lambda desk: management.add_secret("c", desk.deps, grace_s=None),
            "secret added",
            DEFAULT_SCOPES,
            ["id-2", "id-4"],
        ),
        (lambda desk: management.remove_secret("c", "id-1", desk.deps), "secret removed", DEFAULT_SCOPES, ["id-2"]),
    ],
    ids=["change", "add", "remove"],
)
async def test_of_what_two_operators_do_at_once_nothing_is_lost(
    desk: ManagementFixture,
    change: Callable[[ManagementFixture], Awaitable[object]],
    line: str,
    scopes: Sequence[str],
    secrets: Sequence[str],
) -> None:
    """The other takes the client's API keys while we read and write it."""
    await management.load_tenants(the_document(), desk.deps)
    await management.add_secret("c", desk.deps, grace_s=60)
    desk.clock.at += 60
    desk.audit.lines.clear()
    save = desk.clients.save

    async def second_to_save(client: Client) -> bool:
        desk.clients.save = save  # type: ignore[method-assign]
        kept = desk.clients.by_id["c"]
        assert await save(replace(kept, api_keys=()))
        return await save(client)

    desk.clients.save = second_to_save  # type: ignore[method-assign]
    await change(desk)
    client = desk.clients.by_id["c"]
    assert (client.api_keys, client.scopes) == ((), scopes)
    assert [secret.secret_id for secret in client.secrets] == secrets
    assert [one["action"] for one in desk.audit.lines] == [line]


async def test_one_token_can_be_revoked_by_the_id_that_its_audit_line_tells(desk: ManagementFixture) -> None:
    await management.revoke_token("0f" * 16, desk.deps)
    assert desk.publisher.revocations == [Revocation(token_id="0f" * 16, until=desk.clock.at + 28_860)]
    assert list(desk.revocations.by_id) == ["0f" * 16]
    (line,) = desk.audit.lines
    assert line == {"action": "token revoked", "actor": "an operator", "source": "a terminal", "tokenId": "0f" * 16}


@pytest.mark.parametrize("pasted", ["eyJhbGciOiJSUzI1NiJ9.eyJjYW5hcnkiOjF9.c2lnbmVk", "", "canary canary", "c" * 129])
async def test_what_is_no_tokens_id_is_refused_and_not_repeated(desk: ManagementFixture, pasted: str) -> None:
    """Somebody may paste the token itself."""
    with pytest.raises(RuleViolationError) as refusal:
        await management.revoke_token(pasted, desk.deps)
    assert "canary" not in str(refusal.value)
    assert "eyJ" not in str(refusal.value)
    assert desk.publisher.revocations == []
    assert desk.audit.lines == []


async def test_each_change_of_a_client_leaves_a_line(desk: ManagementFixture) -> None:
    await management.add_site(SITE, desk.deps)
    await management.add_client(Client(client_id="c", site=608), desk.deps)
    await management.change_client("c", ClientChange(api_keys=("12345",)), desk.deps)
    assert [(line["action"], line.get("site", line.get("client"))) for line in desk.audit.lines] == [
        ("site saved", 608),
        ("client added", "c"),
        ("client changed", "c"),
    ]


async def test_all_that_a_client_was_given_can_be_revoked(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    await management.revoke_client("c", desk.deps)
    now = desk.clock.at
    revocation = Revocation(client_id="c", issued_before=now, until=now + 28_860)
    assert desk.publisher.revocations == [revocation]
    assert desk.audit.lines[-1]["action"] == "client's tokens revoked"
    with pytest.raises(RuleViolationError, match="no such client"):
        await management.revoke_client("nobody", desk.deps)


async def test_a_tokens_revocation_is_kept_before_others_are_told(desk: ManagementFixture) -> None:
    """What is told and not kept would be forgotten with the topic's segment; what is kept will be told."""
    desk.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.revoke_token("0f0f", desk.deps)
    assert list(desk.revocations.by_id) == ["0f0f"]


async def test_a_revocation_that_was_kept_but_not_published_is_published_later(desk: ManagementFixture) -> None:
    await management.load_tenants(the_document(), desk.deps)
    desk.publisher.is_unavailable = True
    with pytest.raises(UnavailableError):
        await management.revoke_client("c", desk.deps)
    desk.publisher.is_unavailable = False
    topic = Revocations(SCHEMAS)

    def is_published(revocation: Revocation) -> bool:
        return topic.issued_before(revocation.client_id or "") == revocation.issued_before

    assert await management.publish_missing_revocations(is_published, desk.deps) == 1
    for one in desk.publisher.revocations:
        topic.apply(one.key.encode(), wire.encode_revocation(one, SCHEMAS["revocation"]))
    assert await management.publish_missing_revocations(is_published, desk.deps) == 0
    desk.clock.at += 40_000
    assert await management.publish_missing_revocations(lambda _: False, desk.deps) == 0, "it matters no more"
