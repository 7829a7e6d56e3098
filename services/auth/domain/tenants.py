"""JSON documents in which an operator declares sites and clients."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec

from services.auth.domain.audience import ADMIN, DEFAULT_SCOPES, SCOPES
from services.auth.domain.client import Client
from services.values.identifiers import LONE_SURROGATE, validate_text
from services.values.sites import MAX_ADDRESS_LINES, MAX_NAME_LENGTH, ApiKey, Name, Number, Site
from services.values.strict_json import (
    JsonSyntaxError,
    check_utf8,
    find_lone_surrogates,
    parse,
    replace_lone_surrogates,
)

D = TypeVar("D")

# Only characters that form-encoding leaves alone: libraries differ in whether they encode for Basic (RFC 6749, 2.3.1).
# The patterns end in \Z: $ would allow a line break after them.
ClientId = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{1,128}\\Z")]
PlainSecret = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._~-]{16,256}\\Z")]
# msgspec quotes the name of an unknown field.
_QUOTED_FIELD = re.compile(r"unknown field `.*`(?= - at `\$)|unknown field `.*`\Z", re.DOTALL)


class InvalidDocumentError(ValueError):
    """The document is invalid; the text says where, and quotes no value of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredClient:
    """A client as a document declares it: without revision or hashes, with its secret in plain text."""

    client: Client
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """All sites and clients of a document."""

    sites: tuple[Site, ...] = ()
    clients: tuple[DeclaredClient, ...] = ()


class ClientChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """New values of a client's fields; None keeps the stored one."""

    api_keys: tuple[Name, ...] | None = None
    scopes: tuple[str, ...] | None = None


class _NewClient(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    client_id: ClientId
    site: Number = 0
    api_keys: tuple[Name, ...] = ()
    scopes: tuple[str, ...] = ()


_OPTIONAL = frozenset(
    field.encode_name
    for declared in (Site, ApiKey, ClientChange)
    for field in msgspec.structs.fields(declared)
    if not field.required
)


class _ClientWithSecret(_NewClient, rename="camel", forbid_unknown_fields=True, kw_only=True):
    secret: PlainSecret


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    sites: tuple[Site, ...] = ()
    clients: tuple[_ClientWithSecret, ...] = ()


def parse_tenants(document: bytes, *, time_zones: Iterable[str]) -> Tenants:
    """Parse a document of sites and clients. A client without scopes gets the default scopes of all APIs.

    Raises `InvalidDocumentError`.
    """
    raw = _decode(document, _Document)
    _require_unique("site", [site.site for site in raw.sites])
    _require_unique("client", [client.client_id for client in raw.clients])
    _require_unique("API key", [key.api_key for site in raw.sites for key in site.api_keys])
    known_zones = frozenset(time_zones)
    for site in raw.sites:
        _validate_site(site, known_zones)
    return Tenants(
        sites=raw.sites,
        clients=tuple(DeclaredClient(client=_build_client(client), secret=client.secret) for client in raw.clients),
    )


def parse_site(document: bytes, *, time_zones: Iterable[str]) -> Site:
    """Parse one site. Raises `InvalidDocumentError`."""
    site = _decode(document, Site)
    _validate_site(site, frozenset(time_zones))
    return site


def parse_client(document: bytes) -> Client:
    """Parse one client, which has no secret yet. Without scopes it gets the default scopes of all APIs.

    Raises `InvalidDocumentError`.
    """
    return _build_client(_decode(document, _NewClient))


def parse_client_change(document: bytes) -> ClientChange:
    """Parse a change of a client. Raises `InvalidDocumentError`."""
    change = _decode(document, ClientChange)
    _require_known_scopes(change.scopes or ())
    return change


def _decode(document: bytes, declared: type[D]) -> D:
    # msgspec cannot convert all values with lone surrogates.
    value = _parse(replace_lone_surrogates(document))
    try:
        decoded = msgspec.convert(_without_empty(value), type=declared)
    except msgspec.MsgspecError as error:
        reason = _QUOTED_FIELD.sub("unknown field", str(error))
        raise InvalidDocumentError(f"invalid document: {reason}") from None
    for pointer in find_lone_surrogates(_parse(document)):
        raise InvalidDocumentError(f"invalid document: {pointer} {LONE_SURROGATE.phrase}")
    return decoded


def _parse(document: bytes) -> Any:
    try:
        check_utf8(document)
    except JsonSyntaxError as error:
        raise InvalidDocumentError(f"invalid document: {error}") from None
    try:
        return parse(document, keep_surrogates=True)
    except JsonSyntaxError as error:
        raise InvalidDocumentError(f"invalid document: JSON is malformed: {error}") from None


def _without_empty(value: Any) -> Any:
    """Return the value without optional fields that are null or an empty string: they count as absent."""
    if isinstance(value, dict):
        return {
            name: _without_empty(child)
            for name, child in value.items()
            if name not in _OPTIONAL or (child is not None and child != "")
        }
    return [_without_empty(child) for child in value] if isinstance(value, list) else value


def _require_unique(noun: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InvalidDocumentError(f"{noun} {value} is declared twice")


def _validate_site(site: Site, known_zones: frozenset[str]) -> None:
    """Check what the types of the fields cannot express."""
    _require_unique("API key", [key.api_key for key in site.api_keys])
    if site.time_zone not in known_zones:
        raise InvalidDocumentError(f"site {site.site}: timeZone is not a known time zone")
    address_lines = (site.invoice_address or "").split("\n")
    if len(address_lines) > MAX_ADDRESS_LINES:
        raise InvalidDocumentError(
            f"site {site.site}: invoiceAddress must not have more than {MAX_ADDRESS_LINES} lines"
        )
    # Names and addresses go into mails and headers: no control characters.
    texts = [
        ("name", site.name),
        ("rootSource", site.root_source),
        ("datacenter", site.datacenter),
        ("invoiceEmail", site.invoice_email),
        ("taxId", site.tax_id),
        *(("invoiceAddress", line) for line in address_lines),
        *(("channel", key.channel) for key in site.api_keys),
    ]
    for name, text in texts:
        invalid = validate_text(text or "", max_length=MAX_NAME_LENGTH)
        if invalid is not None:
            raise InvalidDocumentError(f"site {site.site}: {name} {invalid.phrase}")


def _build_client(raw: _NewClient) -> Client:
    _require_known_scopes(raw.scopes)
    return Client(client_id=raw.client_id, site=raw.site, api_keys=raw.api_keys, scopes=raw.scopes or DEFAULT_SCOPES)


def _require_known_scopes(scopes: Sequence[str]) -> None:
    unknown = set(scopes) - {*SCOPES, *ADMIN.scopes}
    if unknown:
        raise InvalidDocumentError(f"scope {min(unknown)} does not exist")
