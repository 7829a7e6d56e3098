"""Verifies auth's own tokens as the other services do, for introspection, revocation and the admin API."""

import json
from collections.abc import Callable, Sequence

from services.auth.domain.audience import ADMIN, AUDIENCES
from services.auth.domain.revocation import ActiveToken
from services.auth.ports import Introspector
from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security.jwks import Jwks
from services.chassis.security.tokens import Token, TokenVerifier


class JwtIntrospector(Introspector):
    """One token verifier per audience, with the keys of this process.

    No token can be verified before all revocations are loaded: `revocations_loaded`.
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
        def build_verifier(audience: str) -> TokenVerifier:
            return TokenVerifier(keys, issuer=issuer, audience=audience, is_revoked=is_revoked, now=now)

        keys = self._keys = Jwks("own keys", algorithm, fetch=self._fetch_own_keys)
        self._key_set = key_set
        self._known_keys: dict[str, object] = {}
        self._revocations_loaded = revocations_loaded
        self._verifiers = {audience.name: build_verifier(audience.name) for audience in AUDIENCES}
        self._admin_verifier = build_verifier(ADMIN.name)

    async def introspect(self, token: str) -> ActiveToken | None:
        for audience, verifier in self._verifiers.items():
            try:
                verified = await self._verify(token, verifier)
            except UnauthorizedError:
                continue
            return _to_active_token(verified, audience)
        return None

    async def verify_admin(self, token: str) -> Token:
        """Return the claims of a token for the admin API.

        Raises `UnauthorizedError`, and `UnavailableError` while the revocations are not loaded.
        """
        return await self._verify(token, self._admin_verifier)

    async def _verify(self, token: str, verifier: TokenVerifier) -> Token:
        if not self._revocations_loaded():
            raise UnavailableError("Kafka")
        published = self._key_set()
        # Other services poll for new keys; here the key set can change between two calls, so compare it each time.
        if published != self._known_keys:
            self._known_keys = published
            await self._keys.refresh()
        return await verifier.verify(token)

    async def _fetch_own_keys(self) -> bytes:
        return json.dumps(self._known_keys).encode()


def _to_active_token(token: Token, audience: str) -> ActiveToken:
    ordered: Sequence[str] = next(each.scopes for each in AUDIENCES if each.name == audience)
    return ActiveToken(
        token_id=token.token_id,
        client_id=token.client_id,
        audience=audience,
        site=token.site,
        scopes=tuple(scope for scope in ordered if scope in token.scopes),
        issued_at=int(token.issued_at),
        expires_at=int(token.expires_at),
    )
