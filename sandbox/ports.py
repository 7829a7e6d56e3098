"""Free TCP ports on the loopback interface."""

import secrets
import socket

# Below the range from which the kernel takes ports for outgoing connections: a service that is stopped for a
# moment must find its port free when it comes back.
FIRST, LAST = 15_000, 32_000


class PortTaken(Exception):  # noqa: N818 - says what happened
    """A port belongs to somebody else."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on, chosen at random so that several sandboxes seldom want the same."""
    for _ in range(200):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(port):
            return port
    raise OSError("no free TCP port found")


def free_ports(count: int) -> list[int]:
    """As many different free ports."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)
