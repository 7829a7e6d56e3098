"""The address that a request comes from, behind trusted proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp import web
from pydantic import Field, field_validator

from services.chassis.runtime.settings import EnvironmentSettings

Networks = tuple[IPv4Network | IPv6Network, ...]


class ProxySettings(EnvironmentSettings):
    """Proxies in front of a service."""

    trusted_proxies: str = Field(
        "127.0.0.0/8,::1/128", description="Networks of the proxies whose `X-Forwarded-For` header is trusted."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _validate_networks(cls, value: str) -> str:
        parse_networks(value)
        return value


def get_source_address(request: web.Request, proxies: Networks) -> str:
    """Return the address that a request comes from, for rate limits and audit lines."""
    return source_address(request.remote or "", request.headers.getall("X-Forwarded-For", []), proxies)


def parse_networks(text: str) -> Networks:
    """Parse a list like `127.0.0.0/8,::1/128`. Raises `ValueError`."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def source_address(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> str:
    """Return the last address that is not a trusted proxy's.

    `forwarded_for` are the `X-Forwarded-For` headers. Each proxy appends the address it saw, so they are read from
    the end, and only while the proxies are trusted: a client can forge everything before that.
    """
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    source = peer
    while hops and _is_in(source, trusted):
        hop = hops.pop()
        if not _is_address(hop):
            break
        source = hop
    return source


def _is_in(address: str, trusted: Networks) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
