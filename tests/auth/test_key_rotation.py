"""Rotation of the signing keys, on a virtual clock."""

import base64
import json
from dataclasses import replace

import pytest
from pydantic import SecretStr

from services.auth import metrics
from services.auth.app import build_key_rotation, key_check_interval_s
from services.auth.domain.audience import OMNICHANNEL
from services.auth.domain.credentials import FORM, TokenEndpointRequest
from services.auth.domain.signing import SigningKey
from services.auth.flows.key_rotation import KeyRotationDeps, add_key, ensure_current_key
from services.auth.flows.tokens import issue
from services.auth.settings import AuthSettings
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.jwks import Jwks
from services.chassis.security.tokens import TokenVerifier
from tests.auth.fakes import Clock, FakeKeyGenerator, FakeKeyStore, FakeSigner, a_key
from tests.auth.harness import ISSUER, SECRET, AuthHarness
from tests.support.audit_log import FakeAuditLog

NOW = 1_700_000_000
BODY = f"grant_type=client_credentials&client_id=client-1&client_secret={SECRET}".encode()


def key_rotation_deps(
    keys: FakeKeyStore, generator: FakeKeyGenerator, *, clock: Clock | None = None
) -> tuple[KeyRotationDeps, FakeSigner]:
    signer = FakeSigner()
    deps = KeyRotationDeps(
        keys=keys,
        generator=generator,
        signer=signer,
        audit=FakeAuditLog(),
        lifetime_s=86_400,
        activation_delay_s=600,
        algorithm="RS256",
        now=clock or Clock(NOW),
    )
    return deps, signer


async def test_the_first_key_is_made_once_and_signs_at_once() -> None:
    deps, signer = key_rotation_deps(FakeKeyStore(), FakeKeyGenerator())
    await ensure_current_key(deps)
    await ensure_current_key(deps)
    assert [(key.number, key.signs_from) for key in signer.keys] == [(1, NOW)]


async def test_of_two_replicas_at_first_start_one_makes_the_key_and_both_use_it() -> None:
    keys = FakeKeyStore()

    def other_is_faster() -> None:
        keys.by_number[1] = a_key(1, signs_from=NOW - 1)

    deps, signer = key_rotation_deps(keys, FakeKeyGenerator(before_adding=other_is_faster))
    await ensure_current_key(deps)
    assert signer.keys == [a_key(1, signs_from=NOW - 1)]
    assert isinstance(deps.audit, FakeAuditLog)
    assert deps.audit.lines == [], "the other replica writes the line"


async def test_where_the_next_key_cannot_be_kept_the_old_one_signs_and_is_known_to_be_overdue() -> None:
    """Also in a process that has just started."""

    def refused() -> None:
        raise UnavailableError("MongoDB")

    keys = FakeKeyStore()
    keys.by_number[1] = a_key(1, signs_from=NOW - 90_000)
    deps, signer = key_rotation_deps(keys, FakeKeyGenerator(before_adding=refused))
    with pytest.raises(UnavailableError):
        await ensure_current_key(deps)
    assert signer.keys == [keys.by_number[1]]
    assert metrics.SIGNING_KEY_DUE._value.get() == NOW - 90_000 + 86_400


async def test_keys_of_another_algorithm_are_left_alone() -> None:
    keys = FakeKeyStore()
    keys.by_number[1] = SigningKey(
        number=1, kid="curve", algorithm="ES256", public={}, wrapped_private_key=b"", created_at=0, signs_from=NOW - 10
    )
    deps, signer = key_rotation_deps(keys, FakeKeyGenerator())
    await ensure_current_key(deps)
    assert [(key.number, key.algorithm) for key in signer.keys] == [(2, "RS256")]


async def test_rotation_under_traffic_refuses_nobody(auth: AuthHarness) -> None:
    """For three days a client uses its newest and its oldest live token, at a verifier whose keys are 299 s old."""

    async def fetch() -> bytes:
        return json.dumps(auth.signer.key_set()).encode()

    keys = Jwks("", "RS256", monotonic=lambda: 0.0, fetch=fetch)
    verifier = TokenVerifier(
        keys, issuer=ISSUER, audience="omnichannel-api", is_revoked=lambda _token: False, now=auth.clock
    )
    live: list[tuple[float, str]] = []
    kids = set()
    request = TokenEndpointRequest(query="", body=BODY, content_type=FORM)
    start = auth.clock.at
    for elapsed_s in range(0, 3 * 86_400, 1_500):
        auth.clock.at = start + elapsed_s
        await ensure_current_key(auth.key_rotation)
        await verifier.keys.refresh()
        auth.clock.at += 299  # the fetched keys are at their oldest
        issued = await issue(request, OMNICHANNEL, source="", deps=auth.deps)
        assert isinstance(issued, dict)
        kids.add(issued["access_token"].partition(".")[0])
        live = [(until, token) for until, token in live if until > auth.clock.at]
        live.append((auth.clock.at + 28_800, issued["access_token"]))
        for _, token in live[:: max(len(live) - 1, 1)]:
            verifier._cached.clear()
            await verifier.verify(token)
    assert len(kids) == 3


async def test_a_key_asked_for_by_the_operator_waits_its_time() -> None:
    keys, clock = FakeKeyStore(), Clock(NOW)
    deps, _ = key_rotation_deps(keys, FakeKeyGenerator(), clock=clock)
    await ensure_current_key(deps)
    assert await add_key(deps)
    assert [key.signs_from for key in keys.by_number.values()] == [NOW, NOW + 600]


@pytest.mark.parametrize("refresh_s", [1, 300])
async def test_the_last_replica_publishes_a_key_two_refresh_periods_before_it_signs(refresh_s: int) -> None:
    settings = AuthSettings(
        auth_issuer=ISSUER,
        auth_jwks_url="http://127.0.0.1:1/keys",
        auth_key_encryption_key=SecretStr(base64.b64encode(b"k" * 32).decode()),
        auth_jwks_refresh_s=refresh_s,
        mongodb_uri="mongodb://127.0.0.1:1",
    )
    mongo = Mongo.connect(settings)
    deps, _ = build_key_rotation(settings, mongo, now=Clock(NOW))
    keys, clock = FakeKeyStore(), Clock(NOW)
    deps = replace(deps, keys=keys, generator=FakeKeyGenerator(), signer=FakeSigner(), audit=FakeAuditLog(), now=clock)
    await ensure_current_key(deps)
    await add_key(deps)
    published_by = clock.at + key_check_interval_s(settings)
    assert keys.by_number[2].signs_from >= published_by + 2 * refresh_s
    await mongo.close()
