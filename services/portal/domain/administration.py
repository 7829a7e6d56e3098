"""Sites, clients and signing keys, as auth's admin API has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

# In the order of the APIs that they belong to.
SCOPES: Mapping[str, str] = {
    "orders:write": "Import orders",
    "returns:write": "Import returns",
    "status:read": "Read what became of imports",
    "sales:read": "Read orders by user, and reports",
    "sales:erase": "Erase users",
    "orders:create": "Order codes",
    "orders:read": "Read orders of codes",
    "codes:read": "Read codes",
    "invoices:read": "Read invoices",
    "stock:write": "Load products and codes",
    "events:read": "Read events",
    "webhooks:write": "Change endpoints of events",
    "admin": "Administer the installation",
}
TEXT_FIELDS = (
    "name",
    "appId",
    "rootSource",
    "datacenter",
    "timeZone",
    "recordsPerSecond",
    "reportCurrency",
    "invoiceEmail",
    "invoiceAddress",
    "taxId",
)
_NUMBERS = frozenset({"appId", "recordsPerSecond"})


class SecretView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A secret, without its text. Times are Unix time."""

    id: str
    created_at: int
    expires_at: int | None


class ClientView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A client."""

    client_id: str
    site: int
    api_keys: Sequence[str]
    scopes: Sequence[str]
    secrets: Sequence[SecretView]

    @property
    def is_disabled(self) -> bool:
        """Whether it gets no tokens."""
        return not self.scopes


class KeyView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A key that signs tokens. `signs_from` is Unix time."""

    number: int
    kid: str
    algorithm: str
    signs_from: int


class DescribedKey(Struct, frozen=True, kw_only=True):
    """A key, and what it does now."""

    key: KeyView
    text: str
    tone: str


def describe_keys(keys: Sequence[KeyView], *, now_s: float) -> list[DescribedKey]:
    """Return what each key does: the newest one whose time has come signs, older ones only verify."""
    signing = max((key.signs_from for key in keys if key.signs_from <= now_s), default=None)
    return [_describe_key(key, signing, now_s) for key in keys]


def _describe_key(key: KeyView, signing: int | None, now_s: float) -> DescribedKey:
    if key.signs_from > now_s:
        return DescribedKey(key=key, text="Signs later", tone="info")
    if key.signs_from == signing:
        return DescribedKey(key=key, text="Signs", tone="good")
    return DescribedKey(key=key, text="Verifies only", tone="neutral")


def read_site_form(form: Mapping[str, str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the site that a form describes; fields that it does not have stay as stored."""
    site = dict(stored)
    for name in TEXT_FIELDS:
        text = form.get(name, "").strip().replace("\r\n", "\n")
        # What is no number is for the API to refuse: it says which field.
        site[name] = int(text) if name in _NUMBERS and text.isascii() and text.isdigit() else text
    # The empty string counts as absent, but not where a number is expected.
    site = {name: value for name, value in site.items() if not (value == "" and name in _NUMBERS)}
    site["apiKeys"] = parse_api_keys(form.get("apiKeys", ""))
    return site


def parse_api_keys(text: str) -> list[dict[str, str]]:
    """Return API keys, one a line, each with its channel behind it if it has one."""
    keys = []
    for line in text.splitlines():
        key, _, channel = line.strip().partition(" ")
        if key:
            keys.append({"apiKey": key} | ({"channel": channel.strip()} if channel.strip() else {}))
    return keys


def write_api_keys(keys: Sequence[Mapping[str, Any]]) -> str:
    """Return API keys as `parse_api_keys` reads them."""
    return "\n".join(f"{key['apiKey']} {key.get('channel') or ''}".strip() for key in keys)


def parse_words(text: str) -> list[str]:
    """Return words that are separated by blanks or commas."""
    return text.replace(",", " ").split()
