"""Questions to a server that show whether it is there. Each answers within a second and never raises."""

import http.client
import socket
import struct
from urllib.parse import urlsplit

TIMEOUT_S = 1.0
LONGEST_BODY = 10_000
METADATA, VERSION = 3, 4


def http_answer(url: str) -> tuple[int, str] | None:
    """Status and body of a GET, or None when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read(LONGEST_BODY).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def http_status(url: str) -> int | None:
    """The status of a GET, or None when nobody answers."""
    answer = http_answer(url)
    return answer[0] if answer else None


def known_brokers(port: int) -> int:
    """How many brokers a Kafka broker on this port names in its cluster; 0 while it does not answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
            connection.sendall(_metadata_request())
            (size,) = struct.unpack(">i", _exactly(connection, 4))
            # correlation id, throttle time, number of brokers
            _, _, brokers = struct.unpack(">iii", _exactly(connection, size)[:12])
            return int(brokers)
    except (OSError, struct.error):
        return 0


def _metadata_request() -> bytes:
    client = b"sandbox"
    header = struct.pack(f">hhih{len(client)}s", METADATA, VERSION, 1, len(client), client)
    body = header + struct.pack(">i?", 0, False)  # no topics, create none  # noqa: FBT003 - struct takes positions
    return struct.pack(">i", len(body)) + body


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionResetError
        received += part
    return received
