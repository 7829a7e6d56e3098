"""The control socket of a running sandbox: one JSON line per request and per response over a Unix socket."""

import asyncio
import fcntl
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sandbox.errors import AlreadyRunningError, NotRunningError
from sandbox.layout import Layout

Message = dict[str, Any]
SOCKET_NAME = "control.socket"
TIMEOUT_S = 30.0


@contextmanager
def exclusive_lock(layout: Layout) -> Iterator[None]:
    """While inside, no other process can run a sandbox in this directory. Raises `AlreadyRunningError`."""
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(f"A sandbox is already running in {layout.root}") from None
        yield


def is_running(layout: Layout) -> bool:
    """Whether a process runs a sandbox in this directory."""
    if not layout.lock.exists():
        return False
    try:
        with exclusive_lock(layout):
            return False
    except AlreadyRunningError:
        return True


@asynccontextmanager
async def serve_requests(layout: Layout, handle: Callable[[Message], Message]) -> AsyncIterator[None]:
    """While inside, answer each request with what `handle` returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                writer.write(json.dumps(handle(json.loads(line))).encode() + b"\n")
                await writer.drain()
        finally:
            writer.close()

    with _socket_path(layout.root) as path:
        _remove(path)
        server = await asyncio.start_unix_server(serve, path)
        try:
            yield
        finally:
            server.close()
            _remove(path)


def send(layout: Layout, request: Message) -> Message:
    """Return the response of the sandbox that runs in this directory. Raises `NotRunningError`."""
    with _socket_path(layout.root) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
        except OSError:
            raise NotRunningError(f"No sandbox is running in {layout.root}") from None
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as responses:
            line = responses.readline()
    if not line:
        raise NotRunningError(f"The sandbox in {layout.root} is stopping")
    response: Message = json.loads(line)
    return response


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


@contextmanager
def _socket_path(root: Path) -> Iterator[str]:
    """The socket's path through an open directory: the direct path may be too long for a Unix socket's address."""
    if not root.is_dir():
        raise NotRunningError(f"No sandbox is running in {root}")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
    finally:
        os.close(directory)
