"""`python -m bench.tokens`: the cost of verifying a token, cached and not."""

import asyncio
import json
import time
import timeit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.jwks import Jwks
from services.chassis.security.revocations import Revocations
from services.chassis.security.tokens import TokenVerifier

ISSUER, AUDIENCE = "https://bench.tillstream.example", "omnichannel-api"
# Short rounds: some of them are not interrupted by other processes.
ROUNDS, CHECKS, VERIFICATIONS = 1_000, 200, 2
TARGET_US = 2.0


def main() -> None:
    """Print the fastest round of each."""
    token, verifier = asyncio.run(prepare())
    assert verifier.cached(token) is not None
    hit = min(timeit.repeat(lambda: verifier.cached(token), number=CHECKS, repeat=ROUNDS)) / CHECKS

    async def fastest_miss() -> float:
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(VERIFICATIONS):
                verifier._cached.clear()  # noqa: SLF001 - make the next call a cache miss
                await verifier.verify(token)
            best = min(best, time.perf_counter() - began)
        return best / VERIFICATIONS

    miss = asyncio.run(fastest_miss())
    print(f"token check, cached: {hit * 1e6:.2f} us (target {TARGET_US:g} us), {len(token)} bytes")
    print(f"token check, not cached: {miss * 1e6:.0f} us")


async def prepare() -> tuple[str, TokenVerifier]:
    """Return a token like auth's, and a verifier that has it in its cache."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k" * 43, "use": "sig", "alg": "RS256"}

    async def fetch() -> bytes:
        return json.dumps({"keys": [jwk]}).encode()

    revocations = Revocations(Schemas.load(REPOSITORY / "schemas"))
    keys = Jwks("", "RS256", fetch=fetch)
    await keys.refresh()
    verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, is_revoked=revocations.is_revoked)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "5934de97c95e1ced",
        "client_id": "5934de97c95e1ced",
        "site": 608,
        "api_keys": ["12345"],
        "scope": "orders:write returns:write",
        "iat": now,
        "exp": now + 28_800,
        "jti": "0" * 32,
    }
    headers = {"kid": "k" * 43, "typ": "at+jwt"}
    token = jwt.api_jws.encode(json.dumps(claims).encode(), key, "RS256", headers=headers)
    await verifier.verify(token)
    return token, verifier


if __name__ == "__main__":
    main()
