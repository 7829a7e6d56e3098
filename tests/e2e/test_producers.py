"""Teams that write our topics with clients of their own."""

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
from tests.e2e.customer import Customer
from tests.e2e.installation import REPOSITORY, Installation

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("outside_producer.py")
EXAMPLES = REPOSITORY / "docs" / "examples"
ORDERS = 10_000


async def output(command: Sequence[str], **told: str) -> str:
    """What a program says; it has to succeed."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=REPOSITORY,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout).strip()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("manner", ["registering", "latest"])
async def test_orders_of_confluents_client_are_judged_come_back_and_show_in_status(
    installation: Installation, customer: Customer, manner: str
) -> None:
    """10,000 orders from a process that knows nothing of ours; the serializer as it comes, and as we advise."""
    job_id = str(uuid1())
    there = installation.endpoints
    arguments = [there["kafka_bootstrap_servers"], there["registry_url"], job_id, str(ORDERS), manner]
    await output([sys.executable, str(PROGRAM), *arguments])
    final = await customer.settled(job_id, within_s=60, rows="1")
    assert final["summary"]["job"]["baggage"]["records"] == {"total": ORDERS, "failed": 0, "success": ORDERS}
    assert final["summary"]["job"]["state"] == "COMPLETED"


async def test_the_documents_python_example_does_what_it_says(installation: Installation, customer: Customer) -> None:
    there = installation.endpoints
    job_id = await output(
        [sys.executable, str(EXAMPLES / "produce.py")],
        KAFKA=there["kafka_bootstrap_servers"],
        REGISTRY=there["registry_url"],
    )
    final = await customer.settled(job_id)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 2, "failed": 0, "success": 2}


@pytest.mark.skipif(shutil.which("javac") is None, reason="there is no javac here")
async def test_the_documents_java_example_does_what_it_says(
    installation: Installation, customer: Customer, tmp_path: Path
) -> None:
    """A program of forty lines of Avro and Kafka's own client."""
    jars = os.pathsep.join(map(str, class_path()))
    await output(["javac", "--release", "17", "-cp", jars, "-d", str(tmp_path), str(EXAMPLES / "Producer.java")])
    there = installation.endpoints
    java, path = str(find_java().program), os.pathsep.join([str(tmp_path), jars])
    arguments = [there["kafka_bootstrap_servers"], there["registry_url"], "3"]
    job_id = (await output([java, "-cp", path, "Producer", *arguments])).splitlines()[-1]
    final = await customer.settled(job_id)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 3, "failed": 0, "success": 3}


def test_what_the_document_quotes_is_in_the_examples() -> None:
    text = (REPOSITORY / "docs" / "producers.md").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert quoted in (EXAMPLES / "produce.py").read_text(encoding="utf-8")
