"""The APIs that tokens are for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Audience:
    """One API: its name in tokens, where its tokens are had, and its scopes.

    A client has the scopes called default unless the operator says otherwise, and the special ones only if he does.
    """

    name: str
    token_path: str
    default_scopes: tuple[str, ...]
    restricted_scopes: tuple[str, ...] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """All that its tokens can carry."""
        return self.default_scopes + self.restricted_scopes

    @property
    def revocation_path(self) -> str:
        """Where its tokens are revoked."""
        return self.token_path.removesuffix("token") + "revoke"

    @property
    def introspection_path(self) -> str:
        """Where its tokens are asked about."""
        return self.token_path.removesuffix("token") + "introspect"


OMNICHANNEL = Audience("omnichannel-api", "/omnichannel/api/v1/oauth2/token", ("orders:write", "returns:write"))
COMMON_STATUS = Audience("common-status", "/common-status/v1/oauth2/token", ("status:read",))
FULFILMENT = Audience(
    "fulfilment",
    "/fulfilment/v1/oauth2/token",
    ("orders:create", "orders:read", "codes:read", "invoices:read"),
    ("stock:write",),
)

# Only on the internal port.
ADMIN = Audience("auth-admin", "/auth-admin/v1/oauth2/token", ("admin",))

AUDIENCES = (OMNICHANNEL, COMMON_STATUS, FULFILMENT)
DEFAULT_SCOPES = tuple(scope for audience in AUDIENCES for scope in audience.default_scopes)
SCOPES = tuple(scope for audience in AUDIENCES for scope in audience.scopes)
