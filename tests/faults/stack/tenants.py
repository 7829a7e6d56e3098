"""Sites and clients of an installation under test: one for each round, so that rounds do not see each other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_SITE = 700
PRODUCT = "4556"
RECORDS_PER_SECOND = 20_000
SCOPES = (
    "orders:write",
    "returns:write",
    "status:read",
    "orders:create",
    "orders:read",
    "codes:read",
    "invoices:read",
    "stock:write",
    "events:read",
    "sales:read",
)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A site with one API key and one client."""

    site: int

    @property
    def api_key(self) -> str:
        """The key in the paths of its requests."""
        return f"key-{self.site}"

    @property
    def client_id(self) -> str:
        """The client that gets its tokens."""
        return f"client-{self.site}"

    @property
    def secret(self) -> str:
        """The client's secret: a canary that no log may show."""
        return f"canary-of-client-{self.site}-0123456789"


def make_tenants(count: int) -> Sequence[Tenant]:
    """Return this many tenants."""
    return [Tenant(FIRST_SITE + number) for number in range(count)]


def tenants_document(tenants: Sequence[Tenant]) -> str:
    """The document that `init --tenants` loads."""
    sites = [
        {
            "site": tenant.site,
            "name": f"Site {tenant.site}",
            "appId": tenant.site,
            "rootSource": "omnichannel-api/qa",
            "datacenter": "qa",
            "timeZone": "UTC",
            "apiKeys": [{"apiKey": tenant.api_key}],
            "recordsPerSecond": RECORDS_PER_SECOND,
        }
        for tenant in tenants
    ]
    clients = [
        {
            "clientId": tenant.client_id,
            "secret": tenant.secret,
            "site": tenant.site,
            "apiKeys": [tenant.api_key],
            "scopes": list(SCOPES),
        }
        for tenant in tenants
    ]
    return json.dumps({"sites": sites, "clients": clients})


def catalogue_document(tenants: Sequence[Tenant]) -> str:
    """The file that `init --catalogue` loads."""
    return "site,productId,name\n" + "".join(f"{tenant.site},{PRODUCT},Trail shoe\n" for tenant in tenants)
