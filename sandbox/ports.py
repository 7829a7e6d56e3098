"""Free TCP ports on the loopback interface."""

import secrets
import socket

# Below the kernel's range for outgoing connections: a service that is restarted must find its port still free.
FIRST, LAST = 15_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return an unused port, chosen at random so that concurrent sandboxes rarely collide."""
    for _ in range(200):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(port):
            return port
    raise OSError("no free TCP port found")


def free_ports(count: int) -> list[int]:
    """Return `count` different unused ports."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)
