import io
import time
from pathlib import Path

import pytest
from fastavro import schemaless_writer

from services.chassis.avro.schemas import Schemas
from services.chassis.security.revocations import MAX_REVOCATION_S, PURGE_EVERY, Revocations
from services.chassis.security.tokens import Token

SCHEMAS = Schemas.load(Path(__file__).parents[3] / "schemas")
SCHEMA = SCHEMAS["revocation"]
NOW = 1_700_000_000


def record(
    *, token: str | None = None, client: str | None = None, before: float | None = None, until: float = NOW + 60
) -> bytes:
    fields = {
        "tokenId": token,
        "clientId": client,
        "issuedBefore": None if before is None else int(before * 1_000_000),
        "until": int(until * 1_000_000),
    }
    body = io.BytesIO()
    schemaless_writer(body, SCHEMA.plain, fields, strict=True)
    return SCHEMA.prefix + body.getvalue()


def a_token(jti: str = "t", *, client_id: str = "c", issued_at: float = NOW) -> Token:
    return Token(
        client_id=client_id,
        site=608,
        api_keys=frozenset(),
        scopes=frozenset(),
        issued_at=issued_at,
        expires_at=issued_at + 28_800,
        token_id=jti,
    )


@pytest.fixture
def revocations() -> Revocations:
    return Revocations(SCHEMAS)


def test_one_token_is_revoked_and_no_other(revocations: Revocations) -> None:
    revocations.apply(b"t", record(token="t"))
    assert revocations.is_revoked(a_token("t"))
    assert not revocations.is_revoked(a_token("u"))
    assert revocations.has_token("t")


def test_of_a_client_only_earlier_tokens_are_revoked(revocations: Revocations) -> None:
    revocations.apply(b"c", record(client="c", before=NOW + 0.5))
    assert revocations.is_revoked(a_token(issued_at=NOW))
    assert not revocations.is_revoked(a_token(issued_at=NOW + 1))
    assert not revocations.is_revoked(a_token(issued_at=NOW, client_id="d"))
    assert revocations.issued_before("c") == NOW + 0.5
    assert revocations.issued_before("d") == 0


def test_an_earlier_record_read_again_takes_nothing_back(revocations: Revocations) -> None:
    revocations.apply(b"c", record(client="c", before=NOW + 10))
    revocations.apply(b"c", record(client="c", before=NOW))
    assert revocations.is_revoked(a_token(issued_at=NOW + 9))


def test_a_tombstone_takes_nothing_back(revocations: Revocations) -> None:
    revocations.apply(b"t", record(token="t"))
    revocations.apply(b"t", None)
    assert revocations.is_revoked(a_token("t"))


@pytest.mark.parametrize("clock_s", [NOW, NOW + 9 * 3_600, 0], ids=["right", "ahead", "behind"])
def test_what_matters_no_more_is_forgotten(
    revocations: Revocations, monkeypatch: pytest.MonkeyPatch, clock_s: float
) -> None:
    """Whatever the local clock: what is revoked now is as long as any token that may be valid."""
    monkeypatch.setattr(time, "time", lambda: clock_s)
    revocations.apply(b"c", record(client="old", before=NOW - 90_000, until=NOW - 1))
    revocations.apply(b"", record(token="live", until=NOW + 1))
    for number in range(PURGE_EVERY - 3):
        revocations.apply(b"", record(token=f"t{number}", until=NOW - 1))
    revocations.apply(b"", record(client="new", before=NOW, until=NOW + MAX_REVOCATION_S))
    assert len(revocations) == 2
    assert revocations.has_token("live")
    assert revocations.issued_before("new") == NOW


@pytest.mark.parametrize(
    "value", [b"", b"\x00\x00\x00\x00\x01\x00", record(token="t")[:-2], record(token="t") + b"\x00"]
)
def test_a_record_that_is_no_revocation_changes_nothing(revocations: Revocations, value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the table counts them alike
        revocations.apply(b"t", value)
    assert len(revocations) == 0
