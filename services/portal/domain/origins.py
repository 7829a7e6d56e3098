"""Where browsers reach the portal, and where they may be sent."""

from ipaddress import IPv6Address, ip_address

PREFIX = "/portal/"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_be_loopback(host: str) -> bool:
    """Whether a host can be this machine, however it is written."""
    name = host.removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        # Resolvers take addresses like 127.1 and 0x7f000001. No top-level domain begins with a digit.
        return name.rpartition(".")[2][:1].isdigit()
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def own_path(target: str) -> str:
    """Return a path of the portal to go on to; the home page if the target is anything else."""
    path, _, _ = target.partition("?")
    is_own = path.startswith(PREFIX) and "//" not in path and "\\" not in target and target.isprintable()
    return target if is_own else PREFIX
