"""Keys of sites, derived from one secret: of fingerprints, and of the list of erased users."""

import hmac
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256


class SiteKeys:
    """Derives a key for each site."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.of_site = lru_cache(maxsize=4_096)(self._of_site)

    def _of_site(self, site: int) -> bytes:
        return hmac.digest(self._secret, str(site).encode(), "sha256")

    def user_fingerprint(self, site: int, user_id: str) -> str:
        """Return how the list of erased users names a user: nobody can tell who it is without the key."""
        digest = hmac.digest(self.of_site(site), user_id.encode("utf-8", "surrogatepass"), sha256)
        return f"{site}|{b64encode(digest).decode()}"
