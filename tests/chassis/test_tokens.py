import base64
import hmac
import json
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from structlog.testing import capture_logs

from services.chassis.errors import Away, Forbidden, Unauthorized
from services.chassis.tokens import Token, Verifier, bearer

NOW = 1_700_000_000
ISSUER = "https://test.tillstream.example"
AUDIENCE = "omnichannel-api"
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "client-1",
    "site": 608,
    "api_keys": ["12345"],
    "scope": "orders:write returns:write",
    "iat": NOW,
    "exp": NOW + 28_800,
    "jti": "token-1",
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: rsa.RSAPrivateKey, kid: str, **more: object) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256", **more}


def key_set(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@dataclass
class Issuer:
    """What the issuer's address answers, and how often it was asked."""

    document: bytes | Exception = field(default_factory=lambda: key_set(jwk(KEY, "k1")))
    asked: int = 0

    async def fetch(self) -> bytes:
        self.asked += 1
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


@dataclass
class Clock:
    at: float = NOW

    def __call__(self) -> float:
        return self.at


@dataclass
class Bench:
    issuer: Issuer
    clock: Clock
    verifier: Verifier
    revoked: set[str]
    informed: list[bool]


def a_bench(algorithm: str = "RS256") -> Bench:
    issuer, clock, revoked, informed = Issuer(), Clock(), set[str](), [True]
    verifier = Verifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks_url="http://issuer.invalid/",
        algorithm=algorithm,
        is_revoked=lambda token: token.token_id in revoked,
        is_informed=lambda: informed[0],
        now=clock,
        monotonic=clock,
        fetch=issuer.fetch,
    )
    return Bench(issuer, clock, verifier, revoked, informed)


@pytest.fixture
async def bench() -> Bench:
    made = a_bench()
    await made.verifier.refresh()
    return made


def a_token(
    *,
    key: Any = KEY,
    algorithm: str = "RS256",
    without: str = "",
    header: Mapping[str, Any] | None = None,
    **claims: object,
) -> str:
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if name != without}
    return jwt.api_jws.encode(
        json.dumps(payload).encode(), key, algorithm, headers={"kid": "k1", "typ": "at+jwt", **(header or {})}
    )


def by_hand(header: str, payload: str, *, key: rsa.RSAPrivateKey = KEY) -> str:
    """A token of any two texts, signed properly."""
    signing_input = f"{_b64(header.encode())}.{_b64(payload.encode())}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signing_input.encode(), key)
    return f"{signing_input}.{_b64(signature)}"


def _b64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


HEADER = '{"alg":"RS256","typ":"at+jwt","kid":"k1"}'


def hmac_with_the_public_key() -> str:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{_b64(HEADER.replace('RS256', 'HS256').encode())}.{_b64(json.dumps(CLAIMS).encode())}"
    return f"{signing_input}.{_b64(hmac.digest(public, signing_input.encode(), 'sha256'))}"


def unsigned() -> str:
    return f"{_b64(HEADER.replace('RS256', 'none').encode())}.{_b64(json.dumps(CLAIMS).encode())}."


def with_another_last_letter() -> str:
    """The same bytes, spelled differently: the last letter carries bits that decode to nothing."""
    token = a_token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def tampered() -> str:
    token = a_token()
    return token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")


def with_other_claims() -> str:
    head, _, signature = a_token().split(".")
    return f"{head}.{_b64(json.dumps({**CLAIMS, 'site': 609}).encode())}.{signature}"


STRANGE_HEADERS: dict[str, object] = {
    "jku": "https://evil.example/jwks.json",
    "x5u": "https://evil.example/cert.pem",
    "jwk": jwk(OTHER_KEY, "k1"),
    "x5c": ["MIIB"],
    "crit": ["exp"],
    "zip": "DEF",
    "b64": True,
    "cty": "JWT",
}
ATTACKS: dict[str, Callable[[], str]] = {
    "alg none": unsigned,
    "alg none without its dot": lambda: unsigned().rstrip("."),
    "HS256 keyed with the public key": hmac_with_the_public_key,
    "ES256 where RS256 is in use": lambda: a_token(key=CURVE_KEY, algorithm="ES256"),
    "RS512 with the right key": lambda: a_token(algorithm="RS512"),
    "PS256 with the right key": lambda: a_token(algorithm="PS256"),
    "signed with another key": lambda: a_token(key=OTHER_KEY),
    "unknown kid": lambda: a_token(header={"kid": "k9"}),
    "kid that is a path": lambda: a_token(header={"kid": "../../dev/null"}),
    "kid that is a number": lambda: by_hand('{"alg":"RS256","typ":"at+jwt","kid":1}', json.dumps(CLAIMS)),
    "no kid": lambda: by_hand('{"alg":"RS256","typ":"at+jwt"}', json.dumps(CLAIMS)),
    "typ JWT": lambda: a_token(header={"typ": "JWT"}),
    "no typ": lambda: by_hand('{"alg":"RS256","kid":"k1"}', json.dumps(CLAIMS)),
    "typ that is a list": lambda: by_hand('{"alg":"RS256","typ":["at+jwt"],"kid":"k1"}', json.dumps(CLAIMS)),
    "alg twice": lambda: by_hand('{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"k1"}', json.dumps(CLAIMS)),
    "aud of another API": lambda: a_token(aud="common-status"),
    "aud as a list": lambda: a_token(aud=[AUDIENCE]),
    "aud as a list of two": lambda: a_token(aud=[AUDIENCE, "common-status"]),
    "other issuer": lambda: a_token(iss="https://qa.tillstream.example"),
    "issuer with a slash more": lambda: a_token(iss=ISSUER + "/"),
    "expired": lambda: a_token(iat=NOW - 28_860, exp=NOW - 60),
    "not yet valid": lambda: a_token(iat=NOW + 61, exp=NOW + 1_000),
    "nbf to come": lambda: a_token(nbf=NOW + 61),
    "nbf that is a text": lambda: a_token(nbf="now"),
    "lifetime of nine hours": lambda: a_token(exp=NOW + 32_400),
    "lifetime of a second too many": lambda: a_token(exp=NOW + 28_801),
    "expires before it was issued": lambda: a_token(exp=NOW - 1),
    "exp as a text": lambda: a_token(exp=str(NOW + 100)),
    "exp as a float": lambda: a_token(exp=NOW + 100.5),
    "exp as true": lambda: a_token(exp=True),
    "exp infinite": lambda: a_token(exp=float("inf")),
    "site as a text": lambda: a_token(site="608"),
    "site as true": lambda: a_token(site=True),
    "sub empty": lambda: a_token(sub=""),
    "scope as a list": lambda: a_token(scope=["orders:write"]),
    "api_keys as a text": lambda: a_token(api_keys="12345"),
    "api_keys of numbers": lambda: a_token(api_keys=[12345]),
    "claims twice": lambda: by_hand(HEADER, json.dumps(CLAIMS)[:-1] + ', "site": 609}'),
    "aud twice": lambda: by_hand(HEADER, '{"aud": "common-status", ' + json.dumps(CLAIMS)[1:]),
    "claims that are a list": lambda: by_hand(HEADER, "[]"),
    "claims that are no JSON": lambda: by_hand(HEADER, "{"),
    "claims nested deep": lambda: by_hand(HEADER, "[" * 1500),
    "claims that are no text": lambda: by_hand(HEADER, "\x00"),
    "header nested deep": lambda: by_hand("[" * 1500, json.dumps(CLAIMS)),
    "header that is null": lambda: by_hand("null", json.dumps(CLAIMS)),
    "five kilobytes": lambda: a_token(scope="s" * 4_000),
    "five kilobytes of dots": lambda: "." * 5_000,
    "nothing": lambda: "",
    "two dots": lambda: "..",
    "not base64": lambda: "a*b.c.d",
    "four parts": lambda: a_token() + ".x",
    "padded": lambda: a_token() + "==",
    "tampered signature": tampered,
    "tampered claims": with_other_claims,
    "another last letter": with_another_last_letter,
    "surrogates": lambda: "\udc92.\udc92.\udc92",
    **{f"without {name}": lambda name=name: a_token(without=name) for name in CLAIMS},  # type: ignore[misc]
    **{
        f"header {name}": lambda name=name, value=value: a_token(header={name: value})  # type: ignore[misc]
        for name, value in STRANGE_HEADERS.items()
        if name not in {"crit", "b64"}
    },
    **{
        f"header {name}": lambda name=name, value=value: by_hand(  # type: ignore[misc]
            json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "k1", name: value}), json.dumps(CLAIMS)
        )
        for name, value in STRANGE_HEADERS.items()
        if name in {"crit", "b64"}
    },
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_token_that_proves_nothing_is_refused(bench: Bench, attack: Callable[[], str]) -> None:
    token = attack()
    with pytest.raises(Unauthorized) as refusal:
        await bench.verifier.verify(token)
    assert refusal.value.status == 401
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert bench.verifier.remembered(token) is None


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_refusal_never_repeats_the_token(bench: Bench, attack: Callable[[], str]) -> None:
    token = attack()
    with pytest.raises(Unauthorized) as refusal:
        await bench.verifier.verify(token)
    said = f"{refusal.value} {refusal.value.detail} {refusal.value.headers}"
    assert all(part not in said for part in (token, *token.split(".")) if len(part) > 3)


async def test_a_good_token_says_who_may_do_what(bench: Bench) -> None:
    assert await bench.verifier.verify(a_token()) == Token(
        client_id="client-1",
        site=608,
        api_keys=frozenset({"12345"}),
        scopes=frozenset({"orders:write", "returns:write"}),
        issued_at=NOW,
        expires_at=NOW + 28_800,
        token_id="token-1",
    )


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_the_type_is_compared_as_media_types_are(bench: Bench, typ: str) -> None:
    assert (await bench.verifier.verify(a_token(header={"typ": typ}))).client_id == "client-1"


@pytest.mark.parametrize(
    "claims",
    [{"iat": NOW + 60, "exp": NOW + 100}, {"iat": NOW - 28_859, "exp": NOW - 59}, {"nbf": NOW + 60}],
    ids=["issued ahead", "just expired", "nbf ahead"],
)
async def test_clocks_may_differ_by_a_minute(bench: Bench, claims: dict[str, Any]) -> None:
    assert (await bench.verifier.verify(a_token(**claims))).client_id == "client-1"


async def test_es256_is_taken_where_it_is_the_one_algorithm() -> None:
    bench = a_bench("ES256")
    public = ECAlgorithm.to_jwk(CURVE_KEY.public_key(), as_dict=True)
    bench.issuer.document = key_set({**public, "kid": "k1"}, jwk(KEY, "k2"))
    assert await bench.verifier.refresh()
    assert (await bench.verifier.verify(a_token(key=CURVE_KEY, algorithm="ES256"))).site == 608
    with pytest.raises(Unauthorized):
        await bench.verifier.verify(a_token(header={"kid": "k2"}))


async def test_a_verified_token_is_remembered_until_it_expires(bench: Bench) -> None:
    token = a_token()
    assert bench.verifier.remembered(token) is None
    read = await bench.verifier.verify(token)
    assert bench.verifier.remembered(token) is read
    bench.clock.at = NOW + 28_799
    assert bench.verifier.remembered(token) is read
    bench.clock.at = NOW + 28_800
    assert bench.verifier.remembered(token) is None
    bench.clock.at = NOW + 28_860
    with pytest.raises(Unauthorized, match="expired"):
        await bench.verifier.verify(token)


async def test_what_is_remembered_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.tokens.REMEMBERED", 2)
    tokens = [a_token(jti=f"token-{number}") for number in range(3)]
    for token in tokens:
        await bench.verifier.verify(token)
    assert [bench.verifier.remembered(token) is not None for token in tokens] == [False, True, True]


async def test_a_revoked_token_is_refused_even_if_remembered(bench: Bench) -> None:
    token = a_token()
    await bench.verifier.verify(token)
    bench.revoked.add("token-1")
    assert bench.verifier.remembered(token) is None
    with pytest.raises(Unauthorized, match="revoked"):
        await bench.verifier.verify(token)


async def test_before_revocations_are_known_the_answer_is_unknown_not_yes(bench: Bench) -> None:
    bench.revoked.add("token-1")
    bench.informed[0] = False
    with pytest.raises(Away):
        await bench.verifier.verify(a_token())
    bench.informed[0] = True
    with pytest.raises(Unauthorized, match="revoked"):
        await bench.verifier.verify(a_token())


async def test_without_any_key_the_answer_is_unknown_not_no() -> None:
    bench = a_bench()
    bench.issuer.document = OSError("refused")
    assert not bench.verifier.ready
    with pytest.raises(Away):
        await bench.verifier.verify(a_token())
    assert not bench.verifier.ready


async def test_an_unknown_key_is_asked_for_once_in_thirty_seconds(bench: Bench) -> None:
    bench.issuer.document = key_set(jwk(KEY, "k1"), jwk(OTHER_KEY, "k2"))
    fresh = a_token(key=OTHER_KEY, header={"kid": "k2"})
    assert (await bench.verifier.verify(fresh)).site == 608
    assert bench.issuer.asked == 2
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await bench.verifier.verify(a_token(header={"kid": "k9"}))
    assert bench.issuer.asked == 2
    bench.clock.at += 30
    with pytest.raises(Unauthorized):
        await bench.verifier.verify(a_token(header={"kid": "k9"}))
    assert bench.issuer.asked == 3


@pytest.mark.parametrize(
    "answer",
    [OSError("refused"), TimeoutError(), b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [1]}', key_set()],
    ids=["refused", "slow", "empty", "html", "list", "number", "numbers", "no keys"],
)
async def test_old_keys_are_kept_while_the_issuer_is_away(bench: Bench, answer: bytes | Exception) -> None:
    bench.issuer.document = answer
    assert not await bench.verifier.refresh()
    assert bench.verifier.ready
    assert (await bench.verifier.verify(a_token())).site == 608


async def test_an_outage_of_the_issuer_is_told_once(bench: Bench) -> None:
    answers: list[bytes | Exception] = [
        OSError("refused"),
        OSError("refused"),
        TimeoutError(),
        key_set(jwk(KEY, "k1")),
        OSError("refused"),
    ]
    with capture_logs() as lines:
        for bench.issuer.document in answers:
            await bench.verifier.refresh()
    assert [line["reason"] for line in lines] == ["OSError", "TimeoutError", "OSError"]


async def test_a_withdrawn_key_takes_its_remembered_tokens_along(bench: Bench) -> None:
    token = a_token()
    await bench.verifier.verify(token)
    bench.issuer.document = key_set(jwk(OTHER_KEY, "k2"))
    await bench.verifier.refresh()
    assert bench.verifier.remembered(token) is None
    with pytest.raises(Unauthorized):
        await bench.verifier.verify(token)


@pytest.mark.parametrize(
    "strange",
    [
        jwk(KEY, "k1", use="enc"),
        jwk(KEY, "k1", alg="RS512"),
        jwk(KEY, "k1", d="AQAB"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "k1"),  # noqa: S505 - too small on purpose
        {"kty": "oct", "k": "AAAA", "kid": "k1"},
        {"kty": "RSA", "kid": "k1"},
        {name: value for name, value in jwk(KEY, "k1").items() if name != "kid"},
    ],
    ids=["for encryption", "other algorithm", "private", "small", "secret", "empty", "nameless"],
)
async def test_keys_that_cannot_be_meant_are_passed_over(strange: dict[str, Any]) -> None:
    bench = a_bench()
    bench.issuer.document = key_set(strange)
    assert not await bench.verifier.refresh()
    bench.issuer.document = key_set(strange, jwk(OTHER_KEY, "k2"))
    assert await bench.verifier.refresh()
    with pytest.raises(Unauthorized):
        await bench.verifier.verify(a_token())


@pytest.mark.parametrize(
    "header", ["Bearer abc", "bearer abc", "BEARER abc", "BeArEr  abc", "Bearer\tabc ", " Bearer abc"]
)
def test_the_word_bearer_is_read_in_any_case(header: str) -> None:
    assert bearer(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Digest x", "abc"])
def test_without_a_bearer_token_no_error_is_named(header: str | None) -> None:
    with pytest.raises(Unauthorized) as refusal:
        bearer(header)
    assert refusal.value.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("quote", ["\u2019", "\u2018", "\u201d", "'", '"', "\u00b4", "\udc92"])
def test_a_quote_after_the_token_is_answered_with_a_hint(quote: str) -> None:
    with pytest.raises(Unauthorized, match="quotation mark") as refusal:
        bearer(f"Bearer M6w0M0K9QbQGHC8{quote}")
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "M6w0" not in refusal.value.detail


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer é", "Bearerab", "Bearer \x00"]
)
def test_what_cannot_be_a_token_is_refused(header: str) -> None:
    with pytest.raises(Unauthorized) as refusal:
        bearer(header)
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_scope_too_small_is_named_as_such() -> None:
    assert Forbidden("no").headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


async def test_a_remembered_token_costs_next_to_nothing(bench: Bench) -> None:
    """The budget is 2 µs; asserted with room for a busy machine."""
    token = a_token()
    await bench.verifier.verify(token)
    best = min(timeit.repeat(lambda: bench.verifier.remembered(token), number=2_000, repeat=5)) / 2_000
    assert best < 10e-6, f"{best * 1e6:.2f} µs"
