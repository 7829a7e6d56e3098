"""Disks of the servers that can be filled and made to fail: small file systems in memory, and a preloaded library."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sandbox.kafka import Broker
from sandbox.mongo import Mongod

SIZE_MIB = 700
SOURCE = Path(__file__).with_name("failing_disk.c")
FAILURES = {"writes": b"w", "syncs": b"s"}
CHUNK = 1024 * 1024


@dataclass
class Disk:
    """The disk of one server. `flag` is a byte that the preloaded library reads before each write."""

    mount: Path
    flag: Path

    @property
    def _ballast(self) -> Path:
        return self.mount / "ballast"

    def fill(self) -> None:
        """Leave no byte."""
        zeros = bytes(CHUNK)
        try:
            with self._ballast.open("wb", buffering=0) as file:
                while file.write(zeros) == CHUNK:
                    pass
                while file.write(b"0" * 1024):
                    pass
        except OSError:
            return

    def fail(self, what: str) -> None:
        """Let writes or syncs fail with EIO."""
        self._set(FAILURES[what])

    def free(self) -> None:
        """End all faults."""
        self._ballast.unlink(missing_ok=True)
        self._set(b"-")

    def _set(self, value: bytes) -> None:
        with self.flag.open("r+b") as file:
            file.write(value)


@dataclass
class Disks:
    """The disks of all servers; none where this user cannot mount, or no compiler is found."""

    directory: Path
    why_not: str = ""
    _disks: dict[str, Disk] = field(default_factory=dict)

    def of(self, server: Broker | Mongod) -> Disk:
        """The disk of a server."""
        return self._disks[server.program.name]

    def mount(self, servers: Sequence[Broker | Mongod]) -> None:
        """Give each server a disk, before it is started for the first time."""
        self.why_not = reason_against()
        if self.why_not:
            return
        library = self.directory / "failing_disk.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        for server in servers:
            data = server.data if isinstance(server, Mongod) else server.log_directory
            data.mkdir(parents=True)
            _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0700", "tmpfs", str(data))
            flag = self.directory / f"{server.program.name}.flag"
            flag.write_bytes(b"-")
            self._disks[server.program.name] = Disk(data, flag)
            environment = {"LD_PRELOAD": str(library), "FAILING_DISK_FLAG": str(flag)}
            server.program = replace(server.program, environment={**server.program.environment, **environment})

    def free(self) -> None:
        """End all faults of all disks."""
        for disk in self._disks.values():
            disk.free()

    def unmount(self) -> None:
        """Take all disks away; their servers are dead."""
        for disk in self._disks.values():
            _run("umount", str(disk.mount))


def reason_against() -> str:
    """Why disks cannot fail here; empty if they can."""
    if os.geteuid() != 0:
        return "only root can mount"
    missing = [program for program in ("mount", "umount", "gcc") if shutil.which(program) is None]
    return f"{missing[0]} is missing" if missing else ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
