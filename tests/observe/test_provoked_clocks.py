"""Alerts about what a process believes: a wrong clock, and tables that nobody confirms."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.installation import Installation
from tests.e2e.test_clocks import running
from tests.observe.alert_watch import AlertWatch

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


async def test_a_clock_ten_minutes_behind(broken: Installation, watch: AlertWatch, tmp_path: Path) -> None:
    """Another process of status takes the place of the usual one, whose clock is right."""
    address: str = broken.endpoints["services"]["status"]["operations"]
    port = address.rpartition(":")[2]
    await asyncio.to_thread(broken.run, "stop", "status")
    try:
        with running(broken, "status", clock_offset_s=-600, log=tmp_path / "log", OPERATIONS_PORT=port):
            await watch.wait_for_alert("ClockWrong", job="status")
            await watch.wait_for_panel("runtime: Clock offset", predicate=lambda value: value < -500)
    finally:
        await asyncio.to_thread(broken.run, "start", "status")
    await watch.wait_for_resolved("ClockWrong", job="status")


async def test_brokers_that_confirm_nothing(broken: Installation, watch: AlertWatch) -> None:
    """The broker is frozen for longer than a service may lack revocations."""
    broker = psutil.Process(broken.status()["kafka"]["pid"])
    broker.send_signal(signal.SIGSTOP)
    try:
        await watch.wait_for_alert("TableStale", job="ingest", topic="auth.revocations.v1")
        await watch.wait_for_panel("runtime: Table staleness", predicate=lambda value: value > 30)
    finally:
        broker.send_signal(signal.SIGCONT)
    await watch.wait_for_resolved("TableStale", job="ingest", topic="auth.revocations.v1")
