"""`python -m bench.limiter`: what a decision of the rate limit costs in process, for what passes and for a 429."""

import asyncio
import time

from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.shared_ratelimit import SharedRateLimit

# Short rounds: of those some fall between the turns of whoever else is on the machine.
ROUNDS, DECISIONS = 500, 200
TARGET_US = 5.0


def main() -> None:
    """Print the fastest round of each."""
    for what, limit in (("refused", 100), ("passed", 10**9)):
        print(f"rate limit, {what}: {asyncio.run(fastest_us(limit)):.2f} us (target {TARGET_US:g} us)")


async def fastest_us(limit: int) -> float:
    """Microseconds of a decision about one record of a site that has spent a hundred."""
    best = float("inf")
    for _ in range(ROUNDS):
        gate = SharedRateLimit(RateLimit(), url=None)
        await gate.acquire("608", limit=limit, cost=100)
        began = time.perf_counter()
        for _ in range(DECISIONS):
            await gate.acquire("608", limit=limit, cost=1)
        best = min(best, time.perf_counter() - began)
    return best / DECISIONS * 1e6


if __name__ == "__main__":
    main()
