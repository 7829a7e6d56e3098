"""The APIs that tokens are issued for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Audience:
    """One API: its name in tokens, the path of its token endpoint, and its scopes.

    A new client gets the default scopes unless the operator lists others; restricted scopes must be listed.
    """

    name: str
    token_path: str
    default_scopes: tuple[str, ...]
    restricted_scopes: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """All scopes that a token can carry."""
        return self.default_scopes + self.restricted_scopes

    @property
    def revocation_path(self) -> str:
        """The path of the revocation endpoint (RFC 7009)."""
        return self.token_path.removesuffix("token") + "revoke"

    @property
    def introspection_path(self) -> str:
        """The path of the introspection endpoint (RFC 7662)."""
        return self.token_path.removesuffix("token") + "introspect"


OMNICHANNEL = Audience("omnichannel-api", "/omnichannel/api/v1/oauth2/token", ("orders:write", "returns:write"))
COMMON_STATUS = Audience("common-status", "/common-status/v1/oauth2/token", ("status:read",))
FULFILMENT = Audience(
    "fulfilment",
    "/fulfilment/v1/oauth2/token",
    ("orders:create", "orders:read", "codes:read", "invoices:read"),
    ("stock:write",),
)
LEDGER = Audience("ledger", "/ledger/v1/oauth2/token", ("sales:read",), ("sales:erase",))
EVENTS = Audience("events", "/events/v1/oauth2/token", ("events:read", "webhooks:write"))

# Only on the internal port.
ADMIN = Audience("auth-admin", "/auth-admin/v1/oauth2/token", ("admin",))

AUDIENCES = (OMNICHANNEL, COMMON_STATUS, FULFILMENT, LEDGER, EVENTS)
DEFAULT_SCOPES = tuple(scope for audience in AUDIENCES for scope in audience.default_scopes)
SCOPES = tuple(scope for audience in AUDIENCES for scope in audience.scopes)
