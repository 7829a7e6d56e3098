"""Sessions: who is signed in, with what rights, and for how long."""

from msgspec import Struct

MINUTE_US = 60_000_000
# Without a request of a person; what a page fetches by itself does not count.
IDLE_US = 30 * MINUTE_US
LIFETIME_US = 8 * 60 * MINUTE_US
# A session's last use is stored at most this often.
TOUCH_US = MINUTE_US // 2
ADMIN_SCOPE = "admin"


class Grant(Struct, frozen=True, kw_only=True):
    """What auth says of a client: its site (0 of an operator), API keys and scopes, and the site's time zone."""

    site: int
    api_keys: tuple[str, ...]
    scopes: frozenset[str]
    time_zone: str = "UTC"


class Identity(Struct, frozen=True, kw_only=True):
    """The person of an OpenID Connect issuer who has signed in.

    `account` is a pseudonym, for the audit log. `id_token` is what the issuer wants to see again at sign-out.
    """

    account: str
    id_token: str

    def __repr__(self) -> str:
        return f"Identity(account={self.account!r})"


class Session(Struct, frozen=True, kw_only=True):
    """A signed-in client. `id` is a digest of the cookie, so that who reads the store cannot sign in with it."""

    id: str
    client_id: str
    client_secret: str
    grant: Grant
    created_us: int
    seen_us: int
    identity: Identity | None = None

    def __repr__(self) -> str:
        return f"Session(client_id={self.client_id!r}, site={self.grant.site})"

    @property
    def api_key(self) -> str:
        """The API key that pages use; empty of an operator."""
        return self.grant.api_keys[0] if self.grant.api_keys else ""

    @property
    def is_operator(self) -> bool:
        """Whether the client administers the installation."""
        return ADMIN_SCOPE in self.grant.scopes

    @property
    def ends_us(self) -> int:
        """When the session ends unless it is used before."""
        return min(self.created_us + LIFETIME_US, self.seen_us + IDLE_US)

    @property
    def audit_details(self) -> dict[str, int | str]:
        """What lines of the audit log say of a session besides its client: the site, and the person's pseudonym."""
        person = {} if self.identity is None else {"account": self.identity.account}
        return {"site": self.grant.site, **person}

    def may(self, *scopes: str) -> bool:
        """Whether the client has one of these scopes."""
        return not self.grant.scopes.isdisjoint(scopes)
