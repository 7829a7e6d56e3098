"""A document of sites and clients, as an operator writes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec

from services.auth.domain.audience import ADMIN, DEFAULT_SCOPES, SCOPES
from services.auth.domain.client import Client
from services.auth.domain.site import ApiKey, Site
from services.values.identifiers import validate_text

MAX_NAME_LENGTH = 128
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
D = TypeVar("D")

# Spelled the same with and without form-encoding: libraries differ in whether they encode for Basic (RFC 6749, 2.3.1).
# Patterns end in \Z, for $ would let a line break pass behind them.
ClientId = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{1,128}\\Z")]
PlainSecret = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{16,256}\\Z")]
MAX_NUMBER = 2**63 - 1
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class InvalidDocumentError(ValueError):
    """The document is at fault; the text says where, and repeats no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredClient:
    """A client as the document wants it: without revision or hashes, with its secret in the clear."""

    client: Client
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChange:
    """What is to be otherwise about a client; None leaves it as it is."""

    api_keys: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """All that a document wants."""

    sites: tuple[Site, ...] = ()
    clients: tuple[DeclaredClient, ...] = ()


class _ApiKey(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    api_key: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{1,128}\\Z")]
    channel: Name | None = None


class _Site(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    site: Number
    name: Name
    app_id: Number
    root_source: Name
    datacenter: Name
    time_zone: Name = "UTC"
    api_keys: list[_ApiKey] = []
    records_per_second: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    invoice_email: Name | None = None


class _NewClient(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    client_id: ClientId
    site: Number = 0
    api_keys: list[Name] = []
    scopes: list[str] = []


class _ClientChange(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    api_keys: list[Name] | None = None
    scopes: list[str] | None = None


class _Client(_NewClient, rename="camel", forbid_unknown_fields=True, kw_only=True):
    secret: PlainSecret


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    sites: list[_Site] = []
    clients: list[_Client] = []


def parse_tenants(document: bytes, *, time_zones: Iterable[str]) -> Tenants:
    """The tenants in a JSON document; raises `BadDocument`. A client without scopes gets those of all APIs."""
    raw = _decode(document, _Document)
    _require_unique("site", [site.site for site in raw.sites])
    _require_unique("client", [client.client_id for client in raw.clients])
    _require_unique("API key", [key.api_key for site in raw.sites for key in site.api_keys])
    known_zones = frozenset(time_zones)
    return Tenants(
        sites=tuple(_site(site, known_zones) for site in raw.sites),
        clients=tuple(DeclaredClient(client=_build_client(client), secret=client.secret) for client in raw.clients),
    )


def parse_site(document: bytes, *, time_zones: Iterable[str]) -> Site:
    """One site; raises `BadDocument`."""
    return _site(_decode(document, _Site), frozenset(time_zones))


def parse_client(document: bytes) -> Client:
    """One client, without secret; raises `BadDocument`. Without scopes it gets those of all APIs."""
    return _build_client(_decode(document, _NewClient))


def parse_client_change(document: bytes) -> ClientChange:
    """What is to change about a client; raises `BadDocument`."""
    raw = _decode(document, _ClientChange)
    _require_known_scopes(raw.scopes or [])
    return ClientChange(
        api_keys=None if raw.api_keys is None else tuple(raw.api_keys),
        scopes=None if raw.scopes is None else tuple(raw.scopes),
    )


def _decode(document: bytes, declared: type[D]) -> D:
    try:
        return msgspec.json.decode(document, type=declared)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocumentError(str(error)) from None


def _require_unique(what: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InvalidDocumentError(f"{what} {value} is there twice")


def _site(raw: _Site, known_zones: frozenset[str]) -> Site:
    _require_unique("API key", [key.api_key for key in raw.api_keys])
    _no_control_characters(raw)
    if raw.time_zone not in known_zones:
        raise InvalidDocumentError(f"site {raw.site}: there is no time zone of this name")
    return Site(
        site=raw.site,
        name=raw.name,
        app_id=raw.app_id,
        root_source=raw.root_source,
        datacenter=raw.datacenter,
        time_zone=raw.time_zone,
        api_keys=tuple(ApiKey(api_key=key.api_key, channel=key.channel) for key in raw.api_keys),
        records_per_second=raw.records_per_second,
        invoice_email=raw.invoice_email,
    )


def _no_control_characters(raw: _Site) -> None:
    """In names and addresses: they go into mails and headers."""
    texts = [
        ("name", raw.name),
        ("rootSource", raw.root_source),
        ("datacenter", raw.datacenter),
        ("invoiceEmail", raw.invoice_email),
        *(("channel", key.channel) for key in raw.api_keys),
    ]
    for what, text in texts:
        wrong = validate_text(text or "", max_length=MAX_NAME_LENGTH)
        if wrong is not None:
            raise InvalidDocumentError(f"site {raw.site}: {what} {wrong.phrase}")


def _build_client(raw: _NewClient) -> Client:
    _require_known_scopes(raw.scopes)
    return Client(
        client_id=raw.client_id,
        site=raw.site,
        api_keys=tuple(raw.api_keys),
        scopes=tuple(raw.scopes) or DEFAULT_SCOPES,
    )


def _require_known_scopes(scopes: Sequence[str]) -> None:
    unknown = set(scopes) - {*SCOPES, *ADMIN.scopes}
    if unknown:
        raise InvalidDocumentError(f"there is no scope {min(unknown)}")
