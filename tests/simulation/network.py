"""The simulated network: every message takes a random time, and may get lost on a link that is cut.

A link is named by the process and the server that it connects. Cutting "request" loses what the process sends,
cutting "answer" loses what it would receive: then the server has done what it was asked to.
"""

import asyncio
import random
from dataclasses import dataclass, field

from tests.simulation.virtual_time import CURRENT

# Usual times of a message, and those of one in a hundred.
USUAL_S, SLOW_S = (0.0001, 0.001), (0.005, 0.08)
SLOW_RATIO = 0.01
REQUEST, ANSWER = "request", "answer"


class LostError(Exception):
    """The message did not arrive, which its sender notices only by waiting for the answer."""


@dataclass
class Network:
    """Delays and losses of messages between processes and servers."""

    rng: random.Random
    # Until when a link loses messages, by server, process ("" is every process) and direction.
    cut_until: dict[tuple[str, str, str], float] = field(default_factory=dict)
    # How many of the next messages on a link are lost.
    drops: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def cut(self, server: str, process: str, direction: str, *, until: float) -> None:
        """Lose all messages on the link until that time."""
        self.cut_until[server, process, direction] = until

    def drop(self, server: str, process: str, direction: str, count: int) -> None:
        """Lose the next messages on the link."""
        self.drops[server, process, direction] = self.drops.get((server, process, direction), 0) + count

    def heal(self) -> None:
        """Lose nothing any more."""
        self.cut_until.clear()
        self.drops.clear()

    async def travel(self, server: str, direction: str) -> None:
        """Return when the current process's message has arrived; raises `LostError`."""
        await asyncio.sleep(self._delay_s())
        if not (self.cut_until or self.drops):
            return
        process = CURRENT.get()
        now = asyncio.get_running_loop().time()
        for name in ("", process.name if process else "outside"):
            link = (server, name, direction)
            if self.cut_until.get(link, 0.0) > now:
                raise LostError
            if self.drops.get(link, 0):
                self.drops[link] -= 1
                raise LostError

    def _delay_s(self) -> float:
        low, high = SLOW_S if self.rng.random() < SLOW_RATIO else USUAL_S
        return low + (high - low) * self.rng.random()
