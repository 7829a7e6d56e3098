"""What a fault is: it begins, lasts, and ends; what it leaves is mended when the round is healed."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.stack.installation import Installation


@dataclass
class Scene:
    """What a fault may touch, the draws that decide how, and what it has done, for the report."""

    installation: Installation
    rng: random.Random
    story: list[str]

    def note(self, text: str) -> None:
        """Say what happens."""
        self.story.append(text)

    async def last(self, *choices: float) -> float:
        """Let the fault last one of these times."""
        for_s = self.rng.choice(choices)
        await asyncio.sleep(for_s)
        return for_s


@dataclass(frozen=True)
class Fault:
    """A named kind of fault. `numbers` are those of the list in docs/reliability.md."""

    name: str
    numbers: str
    play: Callable[[Scene], Awaitable[None]]
    # Whether clients may get 401: a wrong clock takes good tokens for expired.
    is_clock: bool = False
    # Kafka and MongoDB need majorities: at most one fault of a round takes some of their nodes away.
    takes_nodes: bool = False
    needs_disks: bool = False
