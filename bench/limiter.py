"""`python -m bench.limiter`: the cost of a local rate-limit decision, allowed and refused."""

import asyncio
import time

from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.shared_rate_limit import SharedRateLimit

# Short rounds: some of them are not interrupted by other processes.
ROUNDS, DECISIONS = 500, 200
TARGET_US = 5.0


def main() -> None:
    """Print the fastest round of each."""
    for outcome, limit in (("refused", 100), ("allowed", 10**9)):
        print(f"rate limit, {outcome}: {asyncio.run(fastest_us(limit)):.2f} us (target {TARGET_US:g} us)")


async def fastest_us(limit: int) -> float:
    """Return the microseconds of one decision for a site that has already spent 100 records."""
    best = float("inf")
    for _ in range(ROUNDS):
        rate_limit = SharedRateLimit(RateLimit(), url=None)
        await rate_limit.acquire("608", limit=limit, cost=100)
        began = time.perf_counter()
        for _ in range(DECISIONS):
            await rate_limit.acquire("608", limit=limit, cost=1)
        best = min(best, time.perf_counter() - began)
    return best / DECISIONS * 1e6


if __name__ == "__main__":
    main()
