"""Tokens of ours, read as the services that take them read them."""

import json
from collections.abc import Callable, Sequence

from services.auth.domain.audience import ADMIN, AUDIENCES
from services.auth.domain.revocation import ActiveToken
from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security.tokens import Token, TokenVerifier


class JwtIntrospector:
    """One verifier for each audience, with the keys that are at hand here.

    Nothing can be said of a token before all revocations are known: `knows_revocations`.
    """

    def __init__(
        self,
        *,
        issuer: str,
        algorithm: str,
        key_set: Callable[[], dict[str, object]],
        is_revoked: Callable[[Token], bool],
        revocations_loaded: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        def verifier(audience: str) -> TokenVerifier:
            return TokenVerifier(
                issuer=issuer,
                audience=audience,
                jwks_url="own keys",
                algorithm=algorithm,
                is_revoked=is_revoked,
                now=now,
                fetch=self._fetch_own_keys,
            )

        self._key_set = key_set
        self._known_keys: dict[str, object] = {}
        self._revocations_loaded = revocations_loaded
        self._verifiers = {audience.name: verifier(audience.name) for audience in AUDIENCES}
        self._admin = verifier(ADMIN.name)

    async def introspect(self, token: str) -> ActiveToken | None:
        """What the token says, if any of our services would take it. Raises `Away` while that is unknown."""
        if not self._revocations_loaded():
            raise UnavailableError("Kafka")
        for audience, verifier in self._verifiers.items():
            try:
                read = await self._verify(token, verifier)
            except UnauthorizedError:
                continue
            return _to_active_token(read, audience)
        return None

    async def verify_admin(self, token: str) -> Token:
        """What a token for the admin API says; raises `Unauthorized`, or `Away` while that is unknown."""
        if not self._revocations_loaded():
            raise UnavailableError("Kafka")
        return await self._verify(token, self._admin)

    async def _verify(self, token: str, verifier: TokenVerifier) -> Token:
        published = self._key_set()
        # Elsewhere a change is learnt of in time; here a key is good, or good no more, from one call to the next.
        if published != self._known_keys:
            self._known_keys = published
            for each in (*self._verifiers.values(), self._admin):
                await each.refresh()
        return await verifier.verify(token)

    async def _fetch_own_keys(self) -> bytes:
        return json.dumps(self._known_keys).encode()


def _to_active_token(read: Token, audience: str) -> ActiveToken:
    scopes: Sequence[str] = next(each.scopes for each in AUDIENCES if each.name == audience)
    return ActiveToken(
        token_id=read.token_id,
        client_id=read.client_id,
        audience=audience,
        site=read.site,
        scopes=tuple(scope for scope in scopes if scope in read.scopes),
        issued_at=int(read.issued_at),
        expires_at=int(read.expires_at),
    )
