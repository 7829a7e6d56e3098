"""Checks whether a server answers. Each probe returns within a second and never raises."""

import http.client
import socket
import struct
from urllib.parse import urlsplit

TIMEOUT_S = 1.0
MAX_BODY_BYTES = 10_000
METADATA, VERSION = 3, 4


def http_get(url: str) -> tuple[int, str] | None:
    """Return status and body of a GET, or None without a response."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read(MAX_BODY_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def http_status(url: str) -> int | None:
    """Return the status of a GET, or None without a response."""
    response = http_get(url)
    return response[0] if response else None


def broker_count(port: int) -> int:
    """Return how many brokers the Kafka broker on this port knows; 0 while it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
            connection.sendall(_metadata_request())
            (size,) = struct.unpack(">i", _receive_exactly(connection, 4))
            # correlation id, throttle time, number of brokers
            _, _, brokers = struct.unpack(">iii", _receive_exactly(connection, size)[:12])
            return int(brokers)
    except (OSError, struct.error):
        return 0


def _metadata_request() -> bytes:
    client = b"sandbox"
    header = struct.pack(f">hhih{len(client)}s", METADATA, VERSION, 1, len(client), client)
    body = header + struct.pack(">i?", 0, False)  # no topics, create none  # noqa: FBT003 - struct takes positions
    return struct.pack(">i", len(body)) + body


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionResetError
        received += chunk
    return received
