"""Metrics of auth, over HTTP and of management."""

from services.auth import metrics
from services.auth.flows import management
from services.auth.flows.key_rotation import add_key, ensure_current_key
from services.chassis.runtime.metrics import REGISTRY
from tests.auth.harness import AuthHarness, ManagementHarness, a_client
from tests.auth.test_management import the_document
from tests.auth.test_oauth import GOOD, IMPORT, get_token, send_token

STATUS = "/common-status/v1/oauth2/token"


async def test_grants_and_refusals_are_counted_by_api_and_reason(auth: AuthHarness) -> None:
    await auth.clients.save(a_client(client_id="status-only", scopes=("status:read",)))
    before = read_counters()
    async with auth.over_http() as http:
        for path in (IMPORT, IMPORT, STATUS):
            await http.post(path, data=GOOD)
        for change in ({"client_secret": "w"}, {"client_id": "n"}, {"scope": "s"}, {"client_id": "status-only"}):
            await http.post(IMPORT, data={**GOOD, **change})
        await http.post(STATUS, data={**GOOD, "client_secret": ""})
        for _ in range(10):
            await http.post(STATUS, data={**GOOD, "client_secret": "w"})
    assert increases(before) == {
        ("auth_tokens_issued_total", "omnichannel-api"): 2,
        ("auth_tokens_issued_total", "common-status"): 1,
        ("auth_tokens_refused_total", "omnichannel-api", "wrong_secret"): 1,
        ("auth_tokens_refused_total", "omnichannel-api", "unknown_client"): 1,
        ("auth_tokens_refused_total", "omnichannel-api", "invalid_scope"): 1,
        ("auth_tokens_refused_total", "omnichannel-api", "unauthorized_client"): 1,
        ("auth_tokens_refused_total", "common-status", "no_credentials"): 1,
        # One of the ten tries in a minute went to another endpoint.
        ("auth_tokens_refused_total", "common-status", "wrong_secret"): 9,
        ("auth_tokens_refused_total", "common-status", "too_many_attempts"): 1,
    }


async def test_revocations_are_counted_once_others_can_know_of_them(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        token = await get_token(http)
        before = read_counters()
        auth.publisher.is_unavailable = True
        await send_token(http, "revoke", token)
        auth.publisher.is_unavailable = False
        await send_token(http, "revoke", token)
    assert increases(before) == {("auth_revocations_total", "token"): 1}


async def test_an_operators_revocations_are_counted(harness: ManagementHarness) -> None:
    await management.load_tenants(the_document(), harness.deps)
    before = read_counters()
    await management.revoke_client("c", harness.deps)
    await management.revoke_token("0f0f", harness.deps)
    assert increases(before) == {("auth_revocations_total", "client"): 1, ("auth_revocations_total", "token"): 1}


async def test_the_age_and_the_end_of_the_key_that_signs_are_told(auth: AuthHarness) -> None:
    """They show the next key once it signs; it is published before."""
    for later, since in ((0, 0), (599, 0), (600, 600)):
        if not later:
            await add_key(auth.key_rotation)
            activated_at = auth.clock.at
        auth.clock.at = activated_at + later
        await ensure_current_key(auth.key_rotation)
        assert metrics.SIGNING_KEY_SINCE._value.get() == activated_at + since
        assert metrics.SIGNING_KEY_DUE._value.get() == activated_at + since + auth.key_rotation.lifetime_s
        assert metrics.PUBLISHED_KEYS._value.get() == 2


def read_counters() -> dict[tuple[str, ...], float]:
    """Auth's counters by name and labels, except for hashes."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in REGISTRY.collect()
        if family.name.startswith("auth_")
        for sample in family.samples
        if sample.name.endswith("_total") and sample.name != "auth_secret_hashes_total"
    }


def increases(before: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    return {
        name: value - before.get(name, 0) for name, value in read_counters().items() if value != before.get(name, 0)
    }
