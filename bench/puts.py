"""`python -m bench.puts`: the response times of PUTs of one order at half of what ingest can do; it has a core."""

import asyncio
from itertools import cycle
from typing import Annotated

import typer

from bench.closed_loop import closed_loop
from bench.environment import quantile, running_sandbox
from bench.open_loop import Rate, open_loop
from bench.stages import PUT_CONNECTIONS, build_requests, pin_to_cores

WARM_UP_S = 4.0
QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def main(
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 10,
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 3,
) -> None:
    """Measure and print."""
    with running_sandbox() as sandbox:
        pin_to_cores(sandbox.processes())
        port = int(sandbox.endpoints["services"]["ingest"]["api"].rsplit(":", 1)[1])
        _, puts = build_requests(sandbox.endpoints["gateway"])
        send_all(port, puts, WARM_UP_S)
        for _ in range(rounds):
            full = send_all(port, puts, seconds)
            rates = {"PUT": Rate(cycle(puts), full / 2)}
            times_s = open_loop(port, rates, repeats=int(full / 2 * seconds))["PUT"]
            figures = ", ".join(f"{name} {quantile(times_s, share) * 1e3:.1f}" for name, share in QUANTILES.items())
            print(f"PUT of one: {full:,.0f}/s over {PUT_CONNECTIONS} connections; at {full / 2:,.0f}/s: {figures} ms")


def send_all(port: int, requests: list[bytes], seconds: float) -> float:
    """Send as many as possible; return how many per second were accepted."""
    statuses, took_s = asyncio.run(closed_loop(port, requests, connections=PUT_CONNECTIONS, seconds=seconds))
    if set(statuses) != {202}:
        raise SystemExit(f"not every request was accepted: {statuses}")
    return statuses[202] / took_s


if __name__ == "__main__":
    typer.run(main)
