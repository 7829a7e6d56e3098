"""URLs that endpoints may have. They are parsed by the library that will call them: two parsers may disagree."""

import re
from ipaddress import ip_address

from yarl import URL

from services.webhooks.domain.address import describe_refusal

MAX_LENGTH = 2_048
PORTS = (443, 8443)
_NO_PUBLIC_HOST = "must have a public host name or an ordinary IP address"
# Backslashes, spaces and control characters mean different things to different parsers.
_SUSPICIOUS = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
# A name that the whole internet may know has several labels (RFC 1123; some use underscores).
MAX_NAME_LENGTH = 253
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# The last label of a name is never numeric; `0x7f.1`, `2130706433` and `0177.0.0.1` are addresses to some resolvers.
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")


def describe_invalid_url(text: str, *, allow_loopback: bool = False) -> str | None:
    """What is wrong with the URL of an endpoint; None if nothing is.

    `allow_loopback` admits http and every port for loopback addresses and `localhost`, and nothing else in addition.
    """
    if len(text) > MAX_LENGTH:
        return f"must have at most {MAX_LENGTH} characters"
    if _SUSPICIOUS.search(text):
        return "must not contain spaces, control characters, backslashes or halves of surrogate pairs"
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        return "is not a URL"
    # The parser drops an empty user.
    authority = re.split("[/?#]", text.partition("//")[2], maxsplit=1)[0]
    return _describe_invalid_parts(url, port, authority, has_fragment="#" in text, allow_loopback=allow_loopback)


def _describe_invalid_parts(
    url: URL, port: int | None, authority: str, *, has_fragment: bool, allow_loopback: bool
) -> str | None:
    # One dot at the end makes a name absolute.
    host = (url.raw_host or "").removesuffix(".")
    is_local = allow_loopback and _is_loopback(host)
    checks = {
        "must be an https URL": url.scheme == "https" or (is_local and url.scheme == "http"),
        "must have a host": bool(host),
        "must not contain a user or a password": "@" not in authority,
        "must not contain a fragment": not has_fragment,
        f"must have port {PORTS[0]} or {PORTS[1]}": is_local or port in PORTS,
    }
    # An address in brackets is one of IPv6, without a zone.
    if "[" in authority and (":" not in host or "%" in host):
        return _NO_PUBLIC_HOST
    wrong = next((text for text, is_right in checks.items() if not is_right), None)
    return wrong or (None if is_local else _describe_invalid_host(host))


def _describe_invalid_host(host: str) -> str | None:
    try:
        ip_address(host)
    except ValueError:
        return _describe_invalid_name(host)
    refusal = describe_refusal(host)
    return None if refusal is None else f"must not have {refusal}"


def _describe_invalid_name(host: str) -> str | None:
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "must not have a loopback address"
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]) or not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        return _NO_PUBLIC_HOST
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
