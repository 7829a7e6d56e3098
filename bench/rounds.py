"""Interleaved rounds: what each program took in each of them, and which rounds the machine disturbed."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.environment import REPOSITORY

# CPU time that the host took, and the share of the machine that foreign processes took.
MAX_STEAL_S = 0.3
MAX_FOREIGN_SHARE = 0.1


@dataclass
class Measurements:
    """What one program took in each round that counts."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    busy_shares: list[float] = field(default_factory=list)

    def add(self, records: int, wall_s: float, cpu_s: float) -> None:
        """Add one run."""
        self.rates.append(records / wall_s)
        self.cpu_us.append(cpu_s / records * 1e6)
        self.busy_shares.append(cpu_s / wall_s)

    def drop_last(self) -> None:
        """Discard the last run."""
        del self.rates[-1], self.cpu_us[-1], self.busy_shares[-1]

    @property
    def rate(self) -> float:
        """The median of records per second."""
        return statistics.median(self.rates)

    def cost_ratios_to(self, other: "Measurements") -> list[float]:
        """Return how many records this one processes in the CPU time of one of the other, in ascending order."""
        return sorted(theirs / ours for ours, theirs in zip(self.cpu_us, other.cpu_us, strict=True))

    def ratios_to(self, other: "Measurements") -> list[float]:
        """Return the ratios of the rates, round by round, in ascending order."""
        return sorted(ours / theirs for ours, theirs in zip(self.rates, other.rates, strict=True))


class MachineWatch:
    """Measures from its creation how much CPU time the host and foreign processes took.

    `own` are the benchmark's processes; this one and its children that have ended are counted anyway.
    """

    def __init__(self, own: Iterable[int]) -> None:
        self._own = list(own)
        self._own_before = _cpu_seconds(self._own)
        self._busy_before, self._steal_before = _machine_seconds()
        self._started_at = time.perf_counter()

    def disturbance(self, *, max_foreign_share: float) -> str | None:
        """Return what disturbed the machine, or None."""
        busy_s, steal_s = _machine_seconds()
        own_s = _cpu_seconds(self._own) - self._own_before
        available_s = (time.perf_counter() - self._started_at) * (os.cpu_count() or 1)
        foreign = (busy_s - self._busy_before - own_s) / available_s
        if steal_s - self._steal_before > MAX_STEAL_S:
            return f"the host took {steal_s - self._steal_before:.1f} s"
        return f"foreign processes took {foreign:.0%} of the machine" if foreign > max_foreign_share else None


def describe_machine() -> str:
    """Name the interpreter and its build, and the machine's cores."""
    command = [str(REPOSITORY / "tools" / "find-python"), "--describe", sys.executable]
    build = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return f"{build}; {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"


def _machine_seconds() -> tuple[float, float]:
    """Return the busy and the stolen seconds of all cores since boot."""
    ticks = [int(value) for value in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    per_second = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, interrupts, soft_interrupts, steal, *_ = ticks
    return (user + nice + system + interrupts + soft_interrupts) / per_second, steal / per_second


def _cpu_seconds(pids: Iterable[int]) -> float:
    return sum(os.times()[:4]) + sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)
