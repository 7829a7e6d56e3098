"""Orders from other processes to a running sandbox: one JSON line each way over a socket in its directory."""

import asyncio
import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sandbox.layout import Layout

Order = dict[str, Any]
SOCKET = "control.socket"
TIMEOUT_S = 30.0


class NotRunning(Exception):  # noqa: N818 - says what happened
    """There is no sandbox running in this directory."""


class AlreadyRunning(Exception):  # noqa: N818 - says what happened
    """There is one already."""


@contextmanager
def sole_owner(layout: Layout) -> Iterator[None]:
    """While inside, no other process runs a sandbox in this directory."""
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"A sandbox is already running in {layout.root}") from None
        yield


def is_running(layout: Layout) -> bool:
    """Whether some process runs a sandbox in this directory."""
    if not layout.lock.exists():
        return False
    try:
        with sole_owner(layout):
            return False
    except AlreadyRunning:
        return True


@asynccontextmanager
async def listening(layout: Layout, answer: Callable[[Order], Order]) -> AsyncIterator[None]:
    """While inside, orders are answered by `answer`."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                writer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    with _short_path(layout.root) as path:
        _remove(path)
        server = await asyncio.start_unix_server(converse, path)
        try:
            yield
        finally:
            server.close()
            _remove(path)


def send(layout: Layout, order: Order) -> Order:
    """The answer of the sandbox that runs in this directory. Raises `NotRunning`."""
    with _short_path(layout.root) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
        except OSError:
            raise NotRunning(f"No sandbox is running in {layout.root}") from None
        connection.sendall(json.dumps(order).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise NotRunning(f"The sandbox in {layout.root} is going away")
    answer: Order = json.loads(line)
    return answer


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


@contextmanager
def _short_path(root: Path) -> Iterator[str]:
    """The socket's path through an open directory: the direct one may be too long for a socket's address."""
    if not root.is_dir():
        raise NotRunning(f"No sandbox is running in {root}")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)
