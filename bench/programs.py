"""The programs that `bench.stages` compares: the service, a limit program, and peers."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.environment import REPOSITORY, TESTED_CORE, pin_to_core, wait_until_listening
from bench.peers import install
from sandbox.ports import free_ports

LIMIT, SERVICE = "limit program", "Tillstream"
NAIVE, FASTAPI, FASTIFY = "aiohttp, pydantic, fastavro", "FastAPI, FastStream", "Fastify, kafkajs"
FASTSTREAM, QUIX = "FastStream, batches", "Quix Streams"

_PEER_PYTHON = str(install.PYTHON)
# By name: the command, to which port, brokers and topic are appended, and its working directory.
INGEST_PROGRAMS: Mapping[str, tuple[list[str], Path]] = {
    LIMIT: ([sys.executable, "-m", "bench.baselines.ingest"], REPOSITORY),
    NAIVE: ([_PEER_PYTHON, "-m", "bench.peers.naive_ingest"], REPOSITORY),
    FASTAPI: ([_PEER_PYTHON, "-m", "bench.peers.fastapi_ingest"], REPOSITORY),
    FASTIFY: (["node", str(install.HERE / "fastify" / "ingest.js")], install.NODE),
}
# By name: the command, to which brokers, two topics and the number of records are appended.
VALIDATE_PROGRAMS: Mapping[str, list[str]] = {
    LIMIT: [sys.executable, "-m", "bench.baselines.validate"],
    FASTSTREAM: [_PEER_PYTHON, "-m", "bench.peers.faststream_validate"],
    QUIX: [_PEER_PYTHON, "-m", "bench.peers.quixstreams_validate"],
}


class HttpProgram(NamedTuple):
    """A running program that answers requests."""

    pid: int
    port: int


@contextmanager
def running_ingest_programs(brokers: str, topic: str, *, with_peers: bool) -> Iterator[dict[str, HttpProgram]]:
    """Run the limit program and, if wanted, the peers, all on the tested core; yield them by name."""
    with ExitStack() as stack:
        running = {}
        for name, (command, directory) in INGEST_PROGRAMS.items():
            if name == LIMIT or (with_peers and (name != FASTIFY or install.has_node())):
                running[name] = stack.enter_context(_running(command, directory, brokers, topic))
        yield running


@contextmanager
def _running(command: list[str], directory: Path, brokers: str, topic: str) -> Iterator[HttpProgram]:
    (port,) = free_ports(1)
    pinned = pin_to_core([*command, str(port), brokers, topic], TESTED_CORE)
    with subprocess.Popen(pinned, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "up\n":
                raise SystemExit(f"{' '.join(command)} did not start")
            wait_until_listening(port)
            yield HttpProgram(process.pid, port)
        finally:
            process.terminate()
