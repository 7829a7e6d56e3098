"""Producers with other client libraries, and the documents' examples."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid1

import pytest

from sandbox.jars import class_path
from sandbox.java import find_java
from tests.e2e.confluent_producer import serialize_orders
from tests.e2e.customer import Customer
from tests.e2e.installation import REPOSITORY, Installation

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("external_producer.py")
DOCUMENT = REPOSITORY / "docs" / "producers.md"
EXAMPLES = REPOSITORY / "docs" / "examples"
ORDERS = 10_000


async def run_program(command: Sequence[str], directory: Path = REPOSITORY, **environment: str) -> str:
    """Run a program, which must succeed; return its output."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout).strip()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", ["registering", "latest", "headers"])
async def test_orders_of_confluents_client_are_judged_come_back_and_show_in_status(
    installation: Installation, customer: Customer, mode: str
) -> None:
    """10,000 orders from an independent process, with each configuration of its serializer."""
    job_id = str(uuid1())
    endpoints = installation.endpoints
    arguments = [endpoints["kafka_bootstrap_servers"], endpoints["registry_url"], job_id, str(ORDERS), mode]
    await run_program([sys.executable, str(PROGRAM), *arguments])
    final = await customer.wait_for_job(job_id, within_s=60, rows="1")
    assert final["summary"]["job"]["baggage"]["records"] == {"total": ORDERS, "failed": 0, "success": ORDERS}
    assert final["summary"]["job"]["state"] == "COMPLETED"


def commands_under(title: str) -> list[str]:
    """Return the blocks of commands under a heading of the document."""
    (part,) = re.findall(
        rf"^## {title}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return [commands for language, commands in blocks if not language]


async def run_commands(
    commands: str, installation: Installation, directory: Path, *, registry_end: str = "", **paths: Path
) -> str:
    """Run commands of the document with this machine's addresses and files."""
    endpoints = installation.endpoints
    replacements = {
        "127.0.0.1:…": endpoints["kafka_bootstrap_servers"],
        "http://127.0.0.1:8080/registry": endpoints["registry_url"] + registry_end,
        **{f"{name.replace('_', '-')}.jar": str(path) for name, path in paths.items()},
        "docs/examples/": f"{EXAMPLES}/",
    }
    for documented, actual in replacements.items():
        commands = commands.replace(documented, actual)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(find_java().program.parent), os.environ["PATH"]])
    return await run_program(["sh", "-euc", commands], directory, PATH=path, PYTHONPATH=str(REPOSITORY))


@pytest.mark.parametrize("registry_end", ["", "/"])
async def test_the_documents_python_example_does_what_it_says(
    installation: Installation, customer: Customer, tmp_path: Path, registry_end: str
) -> None:
    (commands,) = commands_under("Python")
    job_id = await run_commands(commands, installation, tmp_path, registry_end=registry_end)
    final = await customer.wait_for_job(job_id)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 2, "failed": 0, "success": 2}


@pytest.mark.skipif(shutil.which("javac") is None, reason="javac is not installed")
@pytest.mark.parametrize("registry_end", ["", "/"])
async def test_the_documents_java_example_does_what_it_says(
    installation: Installation, customer: Customer, tmp_path: Path, registry_end: str
) -> None:
    """A program of forty lines with Avro and Kafka's own client."""
    (commands,) = commands_under("Java")
    jars = {name: jar for jar in class_path() for name in ("kafka_clients", "slf4j_api") if is_jar_of(jar, name)}
    output = await run_commands(commands, installation, tmp_path, registry_end=registry_end, **jars)
    job_id = output.splitlines()[-1]
    final = await customer.wait_for_job(job_id)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 3, "failed": 0, "success": 3}


def is_jar_of(jar: Path, name: str) -> bool:
    return re.fullmatch(rf"{name.replace('_', '-')}-[0-9.]+\.jar", jar.name) is not None


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
async def test_the_documents_kcat_examples_do_what_they_say(
    installation: Installation, customer: Customer, tmp_path: Path
) -> None:
    """A job of two orders, one of them invalid."""
    send, look = commands_under("kcat")
    job_id = str(uuid1())
    values = await asyncio.to_thread(serialize_orders, installation, job_id, [{}, {"currency": "usd"}])
    for index, value in enumerate(values):
        (tmp_path / "order.bin").write_bytes(value)
        await run_commands(send.replace("till 7|1", f"{job_id}|{index}"), installation, tmp_path)
    final = await customer.wait_for_job(job_id)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 2, "failed": 1, "success": 1}
    output = await run_commands(look, installation, tmp_path)
    (accepted,) = [line for line in output.splitlines() if line.startswith(f"608|{job_id}|")]
    assert accepted == f"608|{job_id}|0 verdict=accepted"
    assert '"faults": [' in output


def test_what_the_document_quotes_is_in_the_examples() -> None:
    (quoted_lines,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert quoted_lines in (EXAMPLES / "produce.py").read_text(encoding="utf-8")
