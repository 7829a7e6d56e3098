"""Signs tokens with PyJWT and publishes the key set that verifies them."""

import json
from collections.abc import Callable, Mapping, Sequence

from jwt import PyJWS

from services.auth import metrics
from services.auth.adapters.key_wrapper import PrivateKey
from services.auth.domain.signing import SigningKey, active_key, published_keys
from services.auth.ports import Signer
from services.chassis.runtime.errors import UnavailableError


class JwtSigner(Signer):
    """Signs with the key that is active at the time. `unwrap` decrypts the private key of a signing key."""

    def __init__(self, unwrap: Callable[[SigningKey], PrivateKey], algorithm: str, *, now: Callable[[], float]) -> None:
        self._unwrap = unwrap
        self._algorithm = algorithm
        self._now = now
        self._jws = PyJWS(algorithms=[algorithm])
        self._keys: tuple[SigningKey, ...] = ()
        self._private_keys: dict[str, PrivateKey] = {}

    @property
    def ready(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self._keys)

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign with these keys from now on. Raises what `unwrap` raises, and then keeps the previous keys."""
        published = published_keys(keys, self._now())
        self._private_keys = {key.kid: self._private_keys.get(key.kid) or self._unwrap(key) for key in published}
        self._keys = tuple(published)
        metrics.PUBLISHED_KEYS.set(len(published))

    def sign(self, claims: Mapping[str, object]) -> str:
        key = active_key(self._keys, self._now())
        if key is None:
            raise UnavailableError("the signing key")
        return self._jws.encode(
            json.dumps(claims, separators=(",", ":")).encode(),
            self._private_keys[key.kid],
            self._algorithm,
            headers={"kid": key.kid, "typ": "at+jwt"},
        )

    def key_set(self) -> dict[str, object]:
        """Return the public keys (RFC 7517). Raises `UnavailableError` while there are none."""
        if not self._keys:
            raise UnavailableError("the signing key")
        return {"keys": [dict(key.public) for key in published_keys(self._keys, self._now())]}
