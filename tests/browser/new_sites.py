"""Sites of single tests: what these import is on no page that the others look at."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.installation import REPOSITORY, Installation

PRODUCT = "4556"


@dataclass(frozen=True, slots=True)
class NewSite:
    """A site with one product; its API keys by channel, None for the key without one."""

    site: int
    client: tuple[str, str]
    api_keys: Mapping[str | None, str]


def add_site(installation: Installation, directory: Path, site: int, *, channels: tuple[str, ...] = ()) -> NewSite:
    """Add a site without imports, with an API key for each channel."""
    api_keys = {channel: f"{site}{number}" for number, channel in enumerate(channels or (None,))}
    new = NewSite(site, (f"{site:016x}", f"a-secret-of-site-{site}-in-tests-only"), api_keys)
    tenants = json.loads((REPOSITORY / "sandbox/demo/tenants.json").read_text())
    # The second one: it has no invoice address, and needs none here.
    keys = [{"apiKey": key} | ({"channel": channel} if channel else {}) for channel, key in api_keys.items()]
    sites = [tenants["sites"][1] | {"site": site, "name": "New", "apiKeys": keys}]
    credentials = {"clientId": new.client[0], "secret": new.client[1]}
    clients = [tenants["clients"][1] | credentials | {"site": site, "apiKeys": list(api_keys.values())}]
    document, catalogue = directory / "tenants.json", directory / "catalogue.csv"
    document.write_text(json.dumps({"sites": sites, "clients": clients}))
    catalogue.write_text(f"site,productId,name\n{site},{PRODUCT},Socks\n")
    installation.run_cli("init", "--tenants", str(document), "--catalogue", str(catalogue))
    return new
