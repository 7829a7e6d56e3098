import json
from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import available_timezones

import pytest

from services.auth.app import MAX_KEY_CHECK_INTERVAL_S
from services.auth.domain.audience import DEFAULT_SCOPES, FULFILMENT, OMNICHANNEL, SCOPES
from services.auth.domain.client import Client, RuleViolationError, Secret, with_secret, without_secret
from services.auth.domain.grant import Grant, build_claims, grant_scopes, issue_time
from services.auth.domain.oauth_error import INVALID_SCOPE, UNAUTHORIZED_CLIENT, OAuthError
from services.auth.domain.signing import (
    PUBLISHED_AFTER_S,
    SigningKey,
    activation_time,
    active_key,
    is_rotation_due,
    published_keys,
)
from services.auth.domain.tenants import (
    ClientChange,
    InvalidDocumentError,
    parse_client,
    parse_client_change,
    parse_tenants,
)
from tests.auth.fakes import a_key

NOW = 1_700_000_000
CLIENT = Client(client_id="client", site=608, api_keys=("12345",), scopes=DEFAULT_SCOPES)


@pytest.mark.parametrize(
    ("held", "asked", "gets"),
    [
        (SCOPES, None, ("orders:write", "returns:write")),
        (SCOPES, ("orders:write",), ("orders:write",)),
        (SCOPES, ("returns:write", "orders:write"), ("orders:write", "returns:write")),
        (("orders:write",), None, ("orders:write",)),
        (("orders:write",), ("returns:write",), INVALID_SCOPE),
        (SCOPES, ("orders:write", "admin"), INVALID_SCOPE),
        (SCOPES, ("orders:create",), INVALID_SCOPE),
        (SCOPES, ("",), INVALID_SCOPE),
        (("status:read",), None, UNAUTHORIZED_CLIENT),
        ((), None, UNAUTHORIZED_CLIENT),
    ],
)
def test_a_client_gets_all_that_it_asks_for_or_nothing(
    held: tuple[str, ...], asked: tuple[str, ...] | None, gets: tuple[str, ...] | OAuthError
) -> None:
    granted = grant_scopes(replace(CLIENT, scopes=held), OMNICHANNEL, asked)
    assert (granted.scopes if isinstance(granted, Grant) else granted) == gets


@pytest.mark.parametrize(
    ("asked", "narrowed"), [(None, False), (("orders:write",), True), (("returns:write", "orders:write"), False)]
)
def test_scopes_are_told_only_when_fewer_were_asked_for(asked: tuple[str, ...] | None, *, narrowed: bool) -> None:
    granted = grant_scopes(CLIENT, OMNICHANNEL, asked)
    assert isinstance(granted, Grant)
    assert granted.is_narrowed is narrowed


def test_claims_say_who_where_and_for_how_long() -> None:
    granted = grant_scopes(CLIENT, FULFILMENT, None)
    assert isinstance(granted, Grant)
    assert build_claims(granted, issuer="https://i.example", issued_at=NOW, token_id="t1") == {
        "iss": "https://i.example",
        "aud": "fulfilment",
        "sub": "client",
        "client_id": "client",
        "site": 608,
        "api_keys": ["12345"],
        "scope": "orders:create orders:read codes:read invoices:read",
        "iat": NOW,
        "exp": NOW + 28_800,
        "jti": "t1",
    }


@pytest.mark.parametrize(
    ("now", "revoked_before", "at"),
    [
        (NOW + 0.9, 0.0, NOW),
        (NOW + 0.9, NOW + 0.5, NOW + 1),
        (NOW + 1.0, NOW + 0.5, NOW + 1),
        (NOW + 9.0, NOW + 0.5, NOW + 9),
    ],
)
def test_a_token_from_after_a_revocation_does_not_look_like_one_from_before(
    now: float, revoked_before: float, at: int
) -> None:
    assert issue_time(now, revoked_before=revoked_before) == at


def a_secret(secret_id: str, *, expires_at: int | None = None) -> Secret:
    return Secret(secret_id=secret_id, hash=f"hash {secret_id}", created_at=NOW, expires_at=expires_at)


def test_two_secrets_are_active_at_a_time() -> None:
    client = with_secret(with_secret(CLIENT, a_secret("a"), now=NOW), a_secret("b"), now=NOW)
    assert [secret.secret_id for secret in client.active_secrets(NOW)] == ["a", "b"]
    with pytest.raises(RuleViolationError, match="remove one first"):
        with_secret(client, a_secret("c"), now=NOW)


def test_the_old_secret_ends_after_its_grace() -> None:
    client = with_secret(with_secret(CLIENT, a_secret("a"), now=NOW), a_secret("b"), now=NOW, grace_s=60)
    assert [secret.secret_id for secret in client.active_secrets(NOW + 59)] == ["a", "b"]
    assert [secret.secret_id for secret in client.active_secrets(NOW + 60)] == ["b"]
    assert [secret.secret_id for secret in with_secret(client, a_secret("c"), now=NOW + 60).secrets] == ["b", "c"]


def test_grace_prolongs_no_secret() -> None:
    ending = a_secret("a", expires_at=NOW + 60)
    client = with_secret(replace(CLIENT, secrets=(ending,)), a_secret("b"), now=NOW, grace_s=3_600)
    assert client.secrets[0] == ending


def test_the_last_secret_stays() -> None:
    client = with_secret(CLIENT, a_secret("a"), now=NOW)
    with pytest.raises(RuleViolationError, match="the last"):
        without_secret(client, "a", now=NOW)
    with pytest.raises(RuleViolationError, match="no such secret"):
        without_secret(client, "b", now=NOW)
    ending = replace(client, secrets=(a_secret("a"), a_secret("b", expires_at=NOW + 60)))
    with pytest.raises(RuleViolationError, match="the last"):
        without_secret(ending, "a", now=NOW)
    assert without_secret(ending, "b", now=NOW).secrets == client.secrets


def test_a_new_key_is_known_before_it_signs_and_the_old_one_until_its_last_token_expired() -> None:
    first = a_key(1, signs_from=NOW)
    second = a_key(2, signs_from=NOW + 10_000)
    keys = [first, second]
    assert [active_key(keys, at) for at in (NOW, NOW + 9_999, NOW + 10_000)] == [first, first, second]
    assert published_keys(keys, NOW) == [second, first]
    assert published_keys(keys, NOW + 10_000 + PUBLISHED_AFTER_S - 1) == [second, first]
    assert published_keys(keys, NOW + 10_000 + PUBLISHED_AFTER_S) == [second]
    last_token_is_taken_until = 28_800 + 60
    assert last_token_is_taken_until + MAX_KEY_CHECK_INTERVAL_S <= PUBLISHED_AFTER_S, (
        "also one of a replica that is late in changing keys"
    )


def test_a_clock_before_all_keys_uses_the_oldest() -> None:
    keys = [a_key(2, signs_from=NOW + 1), a_key(1, signs_from=NOW)]
    assert active_key(keys, NOW - 10_800) == keys[1]
    assert active_key([], NOW) is None


@pytest.mark.parametrize(
    ("keys", "at", "due"),
    [
        ([], NOW, True),
        ([a_key(1, signs_from=NOW)], NOW, False),
        ([a_key(1, signs_from=NOW)], NOW + 86_400 - 601, False),
        ([a_key(1, signs_from=NOW)], NOW + 86_400 - 600, True),
        ([a_key(1, signs_from=NOW), a_key(2, signs_from=NOW + 86_400)], NOW + 86_399, False),
    ],
)
def test_a_key_is_due_when_the_newest_gets_old(keys: Sequence[SigningKey], at: int, *, due: bool) -> None:
    assert is_rotation_due(keys, at, lifetime_s=86_400, activation_delay_s=600) is due


def test_only_the_first_key_signs_at_once() -> None:
    assert activation_time([], NOW, activation_delay_s=600) == NOW
    assert activation_time([a_key(1, signs_from=NOW)], NOW, activation_delay_s=600) == NOW + 600
    assert activation_time([a_key(1, signs_from=NOW)], NOW + 0.9, activation_delay_s=0.5) == NOW + 2, "never earlier"


SITE = {"site": 608, "name": "Demo", "appId": 1078, "rootSource": "omnichannel-api/qa", "datacenter": "qa"}
A_CLIENT = {"clientId": "c", "secret": "canary-0123456789abcdef", "site": 608}


def test_a_document_of_tenants_is_read() -> None:
    tenants = parse_tenants(
        json.dumps(
            {
                "sites": [{**SITE, "timeZone": "Europe/Berlin", "apiKeys": [{"apiKey": "12345", "channel": "web"}]}],
                "clients": [{**A_CLIENT, "apiKeys": ["12345"], "scopes": ["status:read"]}],
            }
        ).encode(),
        time_zones=available_timezones(),
    )
    assert [(site.site, site.app_id, site.time_zone, site.records_per_second) for site in tenants.sites] == [
        (608, 1078, "Europe/Berlin", 100)
    ]
    assert tenants.sites[0].api_keys[0].channel == "web"
    assert tenants.clients[0].client.scopes == ("status:read",)
    assert "canary" not in repr(tenants)


@pytest.mark.parametrize(
    "document",
    [
        {"sites": [{**SITE, "site": -1}]},
        {"sites": [{**SITE, "site": "608"}]},
        {"sites": [{**SITE, "timeZone": "Mars/Base"}]},
        {"sites": [{**SITE, "timezone": "UTC"}]},
        {"sites": [{**SITE, "apiKeys": [{"apiKey": "a/b"}]}]},
        {"sites": [{**SITE, "apiKeys": [{"apiKey": "12345\n"}]}]},
        {"sites": [SITE, SITE]},
        {"sites": [{**SITE, "apiKeys": [{"apiKey": "a"}]}, {**SITE, "site": 9, "apiKeys": [{"apiKey": "a"}]}]},
        {"sites": [{**SITE, "apiKeys": [{"apiKey": "a", "channel": "web\n"}]}]},
        {"sites": [{**SITE, "name": "Demo\0"}]},
        {"sites": [{**SITE, "invoiceEmail": "canary@shop.example\n"}]},
        {"sites": [{**SITE, "invoiceAddress": "canary\r\nTown"}]},
        {"sites": [{**SITE, "invoiceAddress": "canary\n" * 8}]},
        {"sites": [{**SITE, "taxId": "canary\n"}]},
        {"sites": [{**SITE, "recordsPerSecond": 0}]},
        {"clients": [{**A_CLIENT, "secret": "canary"}]},
        {"clients": [{**A_CLIENT, "secret": "canary-0123456789abcdef\n"}]},
        {"clients": [{**A_CLIENT, "clientId": "c\n"}]},
        {"clients": [{**A_CLIENT, "scopes": ["root"]}]},
        {"clients": [A_CLIENT, A_CLIENT]},
        {"tenants": []},
        [],
    ],
)
def test_a_document_at_fault_is_refused_without_repeating_secrets(document: object) -> None:
    with pytest.raises(InvalidDocumentError) as fault:
        parse_tenants(json.dumps(document).encode(), time_zones=["UTC"])
    assert "canary" not in str(fault.value)


def test_a_byte_order_mark_is_skipped() -> None:
    document = b"\xef\xbb\xbf" + json.dumps({"sites": [SITE], "clients": [A_CLIENT]}).encode()
    declared = parse_tenants(document, time_zones=["UTC"])
    assert (len(declared.sites), len(declared.clients)) == (1, 1)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_field_counts_as_absent(empty: str | None) -> None:
    fields = ("timeZone", "recordsPerSecond", "invoiceEmail", "invoiceAddress", "taxId", "reportCurrency")
    site = {**SITE, "apiKeys": [{"apiKey": "12345"}]}
    filled = {**SITE, **dict.fromkeys(fields, empty), "apiKeys": [{"apiKey": "12345", "channel": empty}]}
    client = {**A_CLIENT, "apiKeys": empty, "scopes": empty}
    documents = [{"sites": [site], "clients": [A_CLIENT]}, {"sites": [filled], "clients": [client]}]
    absent, found = (parse_tenants(json.dumps(each).encode(), time_zones=["UTC"]) for each in documents)
    assert absent == found
    assert parse_client_change(json.dumps({"scopes": empty, "apiKeys": empty}).encode()) == ClientChange()
    new = {"clientId": "c", "site": 608, "scopes": empty}
    assert parse_client(json.dumps(new).encode()) == parse_client(b'{"clientId": "c", "site": 608}')


@pytest.mark.parametrize(
    "document",
    [
        {"sites": [{**SITE, "name": ""}]},
        {"sites": [{**SITE, "site": None}]},
        {"sites": [{**SITE, "apiKeys": [{"apiKey": ""}]}]},
        {"sites": [{**SITE, "apiKeys": [""]}]},
        {"clients": [{**A_CLIENT, "secret": ""}]},
        {"clients": [{**A_CLIENT, "site": ""}]},
        {"clients": [{**A_CLIENT, "apiKeys": [""]}]},
        {"sites": [{**SITE, "other": ""}]},
    ],
)
def test_an_empty_field_that_is_required_or_unknown_is_refused(document: object) -> None:
    with pytest.raises(InvalidDocumentError):
        parse_tenants(json.dumps(document).encode(), time_zones=["UTC"])


def test_half_of_a_surrogate_pair_in_a_field_that_is_given_again_is_ignored() -> None:
    document = json.dumps({"sites": [SITE]}).encode().replace(b'"name"', b'"name": "\\ud800", "name"')
    (site,) = parse_tenants(document, time_zones=["UTC"]).sites
    assert site.name == "Demo"


def test_an_address_has_up_to_eight_lines() -> None:
    address = "\n".join("12345678")
    document = json.dumps({"sites": [{**SITE, "invoiceAddress": address, "taxId": "DE 1"}]}).encode()
    (site,) = parse_tenants(document, time_zones=["UTC"]).sites
    assert (site.invoice_address, site.tax_id) == (address, "DE 1")


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        (b'{"sites": [], "clients": [{"clientId": "caf\xe9"}]}', "not UTF-8 (byte 43)"),
        (b'{"canary`` - at `": []}', "Object contains unknown field"),
        (b'{"clients": [{"canary": 1}]}', "Object contains unknown field - at `$.clients[0]`"),
        (b'{"sites": [canary]}', "JSON is malformed: invalid character (byte 11)"),
        (
            b'{"sites": [{"site": 1, "name": "canary\\ud800", "appId": 1, "rootSource": "s", "datacenter": "d"}]}',
            "/sites/0/name must not contain half of a surrogate pair",
        ),
        (
            b'{"clients": [{"clientId": "c", "secret": "canary-0123456789abcdef", "apiKeys": ["\\udc00"]}]}',
            "/clients/0/apiKeys/0 must not contain half of a surrogate pair",
        ),
        (b'{"\\ud800": 1}', "Object contains unknown field"),
        (b'{"sites": [], "clients": ["\\ud800"]}', "Expected `object`, got `str` - at `$.clients[0]`"),
    ],
)
def test_a_document_at_fault_is_described_without_quoting_it(document: bytes, detail: str) -> None:
    with pytest.raises(InvalidDocumentError) as fault:
        parse_tenants(document, time_zones=["UTC"])
    assert str(fault.value) == f"invalid document: {detail}"
