"""Which IP addresses an endpoint may have: those that are reachable from everywhere, and nothing inside."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# IPv6 addresses that are assigned to hosts; what is outside is mapped, translated, local, multicast or reserved.
_GLOBAL_UNICAST = ip_network("2000::/3")
_RESERVED = "a reserved address"
# Within it: addresses that contain an IPv4 address or belong to no host. `is_global` lets some of these pass.
_EXCLUDED = {
    ip_network("2001::/32"): "a Teredo address",
    ip_network("2001::/23"): _RESERVED,
    ip_network("2001:db8::/32"): _RESERVED,
    ip_network("2002::/16"): "a 6to4 address",
    ip_network("3fff::/20"): _RESERVED,
}
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_RELAYS = ip_network("192.88.99.0/24")


def describe_refusal(text: str, *, allow_loopback: bool = False) -> str | None:
    """Why no endpoint may have this address, such as `a private address`; None if it may."""
    address = ip_address(text.partition("%")[0])
    if allow_loopback and address.is_loopback:
        return None
    if isinstance(address, IPv6Address):
        return _describe_translated(address) or _describe_special(address) or _describe_ipv6(address)
    if address in _RELAYS:
        return "a 6to4 relay"
    return _describe_special(address) or (None if address.is_global else _RESERVED)


def _describe_translated(address: IPv6Address) -> str | None:
    if address.ipv4_mapped is not None:
        return "an IPv4-mapped address"
    if any(address in network for network in _TRANSLATED):
        return "a NAT64 address"
    return None


def _describe_special(address: IPv4Address | IPv6Address) -> str | None:
    kinds = {
        "the unspecified address": address.is_unspecified,
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "a multicast address": address.is_multicast,
        "a private address": address.is_private,
    }
    # Documentation prefixes and the like are private to Python.
    if isinstance(address, IPv6Address) and any(address in network for network in _EXCLUDED):
        return None
    return next((kind for kind, is_kind in kinds.items() if is_kind), None)


def _describe_ipv6(address: IPv6Address) -> str | None:
    for network, kind in _EXCLUDED.items():
        if address in network:
            return kind
    return None if address in _GLOBAL_UNICAST else _RESERVED
