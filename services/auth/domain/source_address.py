"""Where a request comes from, seen through our own proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Networks = tuple[IPv4Network | IPv6Network, ...]


def parse_networks(text: str) -> Networks:
    """Networks from a text like `127.0.0.0/8,::1/128`; raises `ValueError`."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def source_address(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> str:
    """The last address that is not one of our proxies'.

    `forwarded` are the `X-Forwarded-For` headers. Each proxy appends the address it saw, so they are read from the
    end, and only as far as the proxies can be trusted: what stands before may be invented.
    """
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    seen = peer
    while hops and _is_in(seen, trusted):
        hop = hops.pop()
        if not _is_address(hop):
            break
        seen = hop
    return seen


def _is_in(address: str, trusted: Networks) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
