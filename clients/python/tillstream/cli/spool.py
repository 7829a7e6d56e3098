"""Keeps what comes through a pipe in a file while a command runs: an import reads it several times."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

_CHUNK = 1 << 20


def is_pipe(path: Path) -> bool:
    """Return whether it can be read only once: `-`, and what a shell makes of `<(…)`."""
    return str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir())


@contextmanager
def spooled(path: Path, directory: Path) -> Iterator[Path]:
    """Yield a file with all that comes through the pipe; it is deleted at the end.

    A run that is killed leaves it to the next one to delete, which has its own: its pipe brings the same again.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file, name = _new_file(directory)
    try:
        # Open until the end: its lock, on Windows that it is open, keeps others from deleting it.
        with file:
            if str(path) == "-":
                shutil.copyfileobj(sys.stdin.buffer, file, _CHUNK)
            else:
                with path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, file, _CHUNK)
            file.flush()
            yield name
    finally:
        name.unlink(missing_ok=True)


def _new_file(directory: Path) -> tuple[IO[bytes], Path]:
    """Return a new file that is locked, and delete those that no running command has locked."""
    if sys.platform == "win32":
        _delete(list(directory.iterdir()))
        descriptor, name = tempfile.mkstemp(dir=directory)
        return os.fdopen(descriptor, "wb"), Path(name)
    lock = os.open(directory, os.O_RDONLY)
    try:
        # Nobody finds a file between its creation and its lock.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _delete([path for path in directory.iterdir() if not _is_locked(path)])
        descriptor, name = tempfile.mkstemp(dir=directory)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(lock)
    return os.fdopen(descriptor, "wb"), Path(name)


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
