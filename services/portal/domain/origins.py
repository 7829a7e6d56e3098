"""Where browsers reach the portal, and where they may be sent."""

from ipaddress import ip_address

PREFIX = "/portal/"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_path(target: str) -> str:
    """Return a path of the portal to go on to; the home page if the target is anything else."""
    path, _, _ = target.partition("?")
    is_own = path.startswith(PREFIX) and "//" not in path and "\\" not in target and target.isprintable()
    return target if is_own else PREFIX
